use std::{hint::black_box, time::Instant};

use shape_meta::{NewShape, Relation};

use super::definition::{Chart, Workload};
use crate::{
    Result,
    data::sample,
    result::Measure,
    run::{Filling, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "diverse-shape-fanout",
    about: "a transaction changed rows of 1 to 1,000 of 2,000 tables: the handles of all shapes that read any of \
            them, without duplicates (closed loop). All definitions differ; a shape reads one to five random tables",
    run,
    charts: &[Chart::lines("Shapes of many relations", "handles of some relations")],
};

const RELATIONS: u64 = 2_000;

fn shape(number: u64) -> NewShape {
    let random = sample::mix(number);
    let relations = 1 + random % 5;
    sample::reading(number, (0..relations).map(|at| (sample::mix(random ^ at) % RELATIONS) as u32))
}

fn run(run: &mut Run<'_>) -> Result {
    let shapes = run.scale.pick([500, 10_000, 100_000, 100_000]);
    let filling = Filling { name: "diverse", shapes, shape };
    let mut opened = run.open_filled(&run.candidates(shapes), filling)?;
    for touched in [1, 10, 100, 1_000] {
        let mut found = None;
        let rows = run.measure_rounds(&mut opened, |store| {
            let mut client = store.client()?;
            let times = (1_000 / touched).clamp(3, 100);
            let start = Instant::now();
            for time in 0..times {
                let first = sample::mix(time) % (RELATIONS - touched);
                let relations: Vec<_> =
                    (first..first + touched).map(|oid| Relation::new(oid as u32)).collect();
                let handles = black_box(client.handles_for_relations(&relations)?).len();
                // All candidates must return the same number.
                if time == 0 && *found.get_or_insert(handles) != handles {
                    return Err(format!("{handles} handles instead of {found:?}").into());
                }
            }
            Ok(start.elapsed().as_secs_f64() * 1e6 / times as f64)
        })?;
        let measure = Measure::lower("handles of some relations", "us").at(touched, "relations");
        run.record(&rows, measure, |us| Some(*us));
    }
    Ok(())
}
