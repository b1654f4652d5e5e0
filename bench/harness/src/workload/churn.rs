use std::time::{Duration, Instant};

use super::definition::Workload;
use crate::{
    BoxError, Candidate, Result,
    candidate::FULL_STACK,
    data::sample,
    probe::memory,
    result::{Measure, Target},
    run::{Row, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "churn",
    about: "one client adds shapes and removes the oldest, as fast as it can (closed loop), with 20,000 live at any \
            time, for 1 second or (at full scale) a minute: the sizes of memory, database and WAL at the end, \
            relative to their sizes after a quarter of the time",
    run,
    charts: &[],
};

#[derive(Clone, Copy)]
struct Sizes {
    memory: f64,
    database: f64,
    wal: f64,
}

fn run(run: &mut Run<'_>) -> Result {
    if !run.has_full_stack() {
        return Ok(());
    }
    let directory = run.directory()?;
    let live: u64 = run.scale.pick([100, 20_000, 20_000, 20_000]);
    let duration = Duration::from_millis(run.scale.pick([100, 1_000, 60_000, 60_000]));
    let store = FULL_STACK.open(directory.path(), live)?;
    let sizes = || {
        Ok::<_, BoxError>(Sizes {
            memory: memory::resident()? as f64,
            database: memory::on_disk(directory.path(), ".sqlite3")? as f64,
            wal: memory::on_disk(directory.path(), "-wal")? as f64,
        })
    };
    let mut client = store.client()?;
    (0..live).try_for_each(|number| client.add(sample::shape(number)))?;
    let start = Instant::now();
    let mut next = live;
    let mut early = None;
    // The size of the WAL varies between flushes, so the maximum of each part counts.
    let mut largest = 0.0_f64;
    while start.elapsed() < duration {
        for _ in 0..1_000 {
            client.add(sample::shape(next))?;
            client.remove(&sample::handle(next - live))?;
            next += 1;
        }
        largest = largest.max(sizes()?.wal);
        if early.is_none() && start.elapsed() > duration / 4 {
            store.flush()?;
            early = Some(Sizes { wal: largest, ..sizes()? });
            largest = 0.0;
        }
    }
    let rate = 2.0 * (next - live) as f64 / start.elapsed().as_secs_f64();
    store.flush()?;
    let late = Sizes { wal: largest, ..sizes()? };
    let early = early.unwrap_or(late);
    let row = |value| [Row { candidate: FULL_STACK.name(), rounds: vec![value] }];
    run.record(&row(rate), Measure::higher("mutations", "mutations/s"), |value| Some(*value));
    for (what, early, late) in [
        ("memory at the end / after a quarter", early.memory, late.memory),
        ("database at the end / after a quarter", early.database, late.database),
        ("WAL at the end / after a quarter", early.wal, late.wal),
    ] {
        let ratio = if early > 0.0 { late / early } else { 1.0 };
        let measure = Measure::lower(what, "").target(Target::Most(1.2));
        run.record(&row(ratio), measure, |ratio| Some(*ratio));
    }
    Ok(())
}
