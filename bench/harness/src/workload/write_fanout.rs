use std::{hint::black_box, time::Instant};

use shape_meta::{NewShape, Relation, prelude::*};

use super::definition::{Chart, Workload};
use crate::{
    Client, Result, Store,
    data::sample,
    result::{Measure, Target},
    run::{Filling, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "write-fanout",
    about: "a row of one table changed: the handles of the 1 to 100,000 shapes that read it (closed loop), with nothing \
            pending and with 50,000 pending changes",
    run,
    charts: &[Chart::lines("Shapes of one relation", "handles of a relation")],
};

/// The first relation. Relation `RELATION + n` has 10 to the power n readers.
const RELATION: u32 = 100;
const PENDING: u64 = 50_000;
const NEW: u64 = 1 << 42;

fn shape(number: u64) -> NewShape {
    // The first shape, then 10 shapes, then 100: the boundaries are at 1, 11, 111.
    let mut power = 0;
    let mut end = 1;
    while number >= end {
        power += 1;
        end += 10_u64.pow(power);
    }
    sample::reading(number, [RELATION + power])
}

fn run(run: &mut Run<'_>) -> Result {
    let max_power: u32 = run.scale.pick([2, 4, 5, 5]);
    let shapes = (0..=max_power).map(|power| 10_u64.pow(power)).sum();
    let filling = Filling { name: "fan-out", shapes, shape };
    let mut opened = run.open_filled(&run.candidates(shapes), filling)?;
    measure(run, &mut opened, max_power, "handles of a relation")?;

    let pending = run.scale.pick([100, PENDING, PENDING, PENDING]);
    opened.retain(|(name, _)| *name == "full stack");
    for (_, store) in &opened {
        let Some(store) = store.shape_meta() else { continue };
        store.pause();
        (NEW..NEW + pending)
            .try_for_each(|number| store.add(sample::reading(number, [7]), Wait::No).map(drop))?;
    }
    measure(run, &mut opened, max_power, "handles of a relation, 50,000 pending changes")?;
    for (_, store) in &opened {
        let Some(store) = store.shape_meta() else { continue };
        (NEW..NEW + pending)
            .try_for_each(|number| store.remove(&sample::handle(number), Wait::No).map(drop))?;
        store.resume();
    }
    Ok(())
}

fn measure(
    run: &mut Run<'_>,
    opened: &mut [(&'static str, Box<dyn Store>)],
    max_power: u32,
    what: &str,
) -> Result {
    for power in 0..=max_power {
        let readers = 10_u64.pow(power);
        let rows = run.measure_rounds(opened, |store| {
            let times = (10_000 / readers).clamp(3, 200);
            let mut client = store.client()?;
            let start = Instant::now();
            for _ in 0..times {
                read(&mut *client, power, readers)?;
            }
            Ok(start.elapsed().as_secs_f64() * 1e6 / times as f64)
        })?;
        let measure = Measure::lower(what, "us").at(readers, "shapes");
        run.record(&rows, measure.target_if(readers == 10_000, Target::Most(1_000.0)), |us| Some(*us));
    }
    Ok(())
}

fn read(client: &mut dyn Client, power: u32, readers: u64) -> Result {
    let handles = black_box(client.handles_for_relations(&[Relation::new(RELATION + power)])?);
    let found = handles.len() as u64;
    if found == readers { Ok(()) } else { Err(format!("{found} handles instead of {readers}").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_many_shapes_read_the_next_relation() {
        let of = |number| shape(number).relations[0].oid() - RELATION;
        assert_eq!([0, 1, 10, 11, 110, 111, 1_110, 1_111].map(of), [0, 1, 1, 2, 2, 3, 3, 4]);
    }
}
