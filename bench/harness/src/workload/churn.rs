use std::time::{Duration, Instant};

use super::Workload;
use crate::{
    Candidate, Result,
    figure::Target,
    memory,
    run::{Measure, Row, Run},
    sample,
    subject::FULL,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "churn",
    about: "one client adds shapes and removes the oldest, as fast as it can (closed loop), with 20,000 there at any \
            time, for 3 seconds or (at full scale) a minute: what memory, database and log have grown to in the \
            end, as multiples of what they were after a quarter of the time",
    run,
    charts: &[],
};

#[derive(Clone, Copy)]
struct Sizes {
    memory: f64,
    database: f64,
    log: f64,
}

fn run(run: &mut Run<'_>) -> Result {
    if !run.wants_full() {
        return Ok(());
    }
    let directory = run.directory()?;
    let live: u64 = run.scale.pick([100, 20_000, 20_000, 20_000]);
    let duration = Duration::from_millis(run.scale.pick([100, 1_000, 60_000, 60_000]));
    let store = FULL.open(directory.path(), live)?;
    let sizes = || {
        Ok::<_, crate::BoxError>(Sizes {
            memory: memory::resident()? as f64,
            database: memory::on_disk(directory.path(), ".sqlite3")? as f64,
            log: memory::on_disk(directory.path(), "-wal")? as f64,
        })
    };
    let mut client = store.client()?;
    (0..live).try_for_each(|number| client.add(sample::shape(number)))?;
    let begun = Instant::now();
    let mut next = live;
    let mut early = None;
    // Between flushes the log has any size: the largest of each part counts.
    let mut largest = 0.0_f64;
    while begun.elapsed() < duration {
        for _ in 0..1_000 {
            client.add(sample::shape(next))?;
            client.remove(&sample::handle(next - live))?;
            next += 1;
        }
        largest = largest.max(sizes()?.log);
        if early.is_none() && begun.elapsed() > duration / 4 {
            store.flush()?;
            early = Some(Sizes { log: largest, ..sizes()? });
            largest = 0.0;
        }
    }
    let rate = 2.0 * (next - live) as f64 / begun.elapsed().as_secs_f64();
    store.flush()?;
    let late = Sizes { log: largest, ..sizes()? };
    let early = early.unwrap_or(late);
    let row = |value| [Row { subject: FULL.name(), rounds: vec![value] }];
    run.tell(&row(rate), Measure::higher("mutations", "mutations/s"), |value| Some(*value))?;
    for (what, early, late) in [
        ("memory in the end, against a quarter", early.memory, late.memory),
        ("database in the end, against a quarter", early.database, late.database),
        ("log in the end, against a quarter", early.log, late.log),
    ] {
        let ratio = if early > 0.0 { late / early } else { 1.0 };
        let measure = Measure::lower(what, "").target(Target::Most(1.2));
        run.tell(&row(ratio), measure, |ratio| Some(*ratio))?;
    }
    Ok(())
}
