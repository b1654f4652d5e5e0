use std::{hint::black_box, time::Instant};

use shape_meta::{NewShape, Relation, prelude::*};

use super::{Chart, Workload};
use crate::{
    Client, Result,
    figure::Target,
    run::{Filling, Measure, Run},
    sample,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "write-fanout",
    about: "a row of one table changed: the handles of the 1 to 100,000 shapes that read it, one question after the \
            other (closed loop); quiet, and with 50,000 changes pending",
    run,
    charts: &[Chart::lines("Shapes of one relation", "handles of a relation")],
};

/// The relation whose readers are 10 to this power.
const RELATION: u32 = 100;
const PENDING: u64 = 50_000;
const NEW: u64 = 1 << 42;

fn shape(number: u64) -> NewShape {
    // 1 shape, then 10, then 100...: after 1, 11, 111...
    let mut power = 0;
    let mut end = 1;
    while number >= end {
        power += 1;
        end += 10_u64.pow(power);
    }
    sample::reading(number, [RELATION + power])
}

fn run(run: &mut Run<'_>) -> Result {
    let most: u32 = run.scale.pick([2, 4, 5, 5]);
    let shapes = (0..=most).map(|power| 10_u64.pow(power)).sum();
    let filling = Filling { name: "fan-out", shapes, shape };
    let mut opened = run.open_filled(&run.candidates(shapes), filling)?;
    measure(run, &mut opened, most, "handles of a relation")?;

    let pending = run.scale.pick([100, PENDING, PENDING, PENDING]);
    opened.retain(|(name, _)| *name == "full stack");
    for (_, subject) in &opened {
        let Some(store) = subject.ours() else { continue };
        store.pause();
        (NEW..NEW + pending)
            .try_for_each(|number| store.add(sample::reading(number, [7]), Wait::No).map(drop))?;
    }
    measure(run, &mut opened, most, "handles of a relation, 50,000 changes pending")?;
    for (_, subject) in &opened {
        let Some(store) = subject.ours() else { continue };
        (NEW..NEW + pending)
            .try_for_each(|number| store.remove(&sample::handle(number), Wait::No).map(drop))?;
        store.resume();
    }
    Ok(())
}

fn measure(
    run: &mut Run<'_>,
    opened: &mut [(&'static str, Box<dyn crate::Subject>)],
    most: u32,
    what: &str,
) -> Result {
    for power in 0..=most {
        let readers = 10_u64.pow(power);
        let rows = run.in_turn(opened, |subject| {
            let times = (10_000 / readers).clamp(3, 200);
            let mut client = subject.client()?;
            let begun = Instant::now();
            for _ in 0..times {
                ask(&mut *client, power, readers)?;
            }
            Ok(begun.elapsed().as_secs_f64() * 1e6 / times as f64)
        })?;
        let measure = Measure::lower(what, "us").at(readers, "shapes");
        run.tell(&rows, measure.target_if(readers == 10_000, Target::Most(1_000.0)), |us| Some(*us))?;
    }
    Ok(())
}

fn ask(client: &mut dyn Client, power: u32, readers: u64) -> Result {
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
