use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use shape_meta::{ShapeMeta, Standby, prelude::*};

use super::definition::Workload;
use crate::{
    Candidate, Result,
    candidate::{POSTGRES, pool},
    data::sample,
    probe::{Latencies, open_loop},
    result::{Measure, Target},
    run::Run,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "standby",
    about: "a standby with a pool of its own follows an owner that adds 5,000 shapes a second (open loop): the time from \
            when a waiting client of the owner sees that its mutations are durable until the standby shows them, for \
            a client that asks a hundred times a second; and the same once after 10,000 changes in one commit, half \
            of them removals",
    run,
    charts: &[],
};

const STACK: &str = "bench";
const RATE: u64 = 5_000;
const CHANGES: u64 = 10_000;
const INTERVAL: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(60);

fn run(run: &mut Run<'_>) -> Result {
    if !run.has_full_stack() {
        return Ok(());
    }
    let directory = run.directory()?;
    let (owners, options) = pool(directory.path())?;
    let (standbys, _) = pool(directory.path())?;
    let builder = || POSTGRES.builder(0).postgres(options.clone());
    let owner = builder().open_postgres(&owners, STACK)?;
    let standby = builder().open_postgres_standby(&standbys, STACK)?;
    let duration = Duration::from_millis(run.scale.pick([100, 1_000, 5_000, 5_000]));
    let changes = run.scale.pick([100, CHANGES, CHANGES, CHANGES]);
    let mut round = 0;
    let rows = run.measure_rounds(&mut [(POSTGRES.name(), ())], |()| {
        round += 1;
        let paced = under_load(&owner, &standby, round << 32, duration)?;
        let from = (1 << 42) + round * changes;
        Ok((paced, after_many(&owner, &standby, from, changes)?))
    })?;
    for (quantile, at, most) in [("p50", 0.5, 5e3), ("p99", 0.99, 25e3)] {
        let fresh = Measure::lower(format!("{quantile} from durable to visible on a standby"), "us");
        run.record(&rows, fresh.target(Target::Most(most)), |(paced, _)| Some(paced.at(at)));
    }
    run.record(&rows, Measure::lower("max from durable to visible on a standby", "us"), |(paced, _)| {
        Some(paced.max())
    });
    let refresh = Measure::lower("a standby shows many changes", "ms").at(changes, "changes");
    run.record(&rows, refresh.target(Target::Most(100.0)), |(_, ms)| Some(*ms));
    Ok(())
}

/// Returns how much later than the owner's client a client of the standby sees all that is accepted now.
fn lag(owner: &ShapeMeta, standby: &Standby) -> Result<Duration> {
    let receipt = owner.request_flush();
    receipt.wait_durable(TIMEOUT)?;
    let durable = Instant::now();
    match standby.wait_visible(receipt.seq(), TIMEOUT)? {
        true => Ok(durable.elapsed()),
        false => Err("the standby does not follow".into()),
    }
}

fn under_load(owner: &ShapeMeta, standby: &Standby, first: u64, duration: Duration) -> Result<Latencies> {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut latencies = Latencies::default();
            while !has_ended.load(Ordering::Relaxed) {
                latencies.record(lag(owner, standby)?);
                thread::sleep(INTERVAL);
            }
            Ok(latencies)
        });
        let added = open_loop(RATE, duration, |number| {
            owner.add(sample::shape(first + number), Wait::UpTo(TIMEOUT))?;
            Ok(())
        });
        has_ended.store(true, Ordering::Relaxed);
        let latencies = client.join().map_err(|_| "the client panicked")?;
        added.and(latencies)
    })
}

/// Adds half as many shapes, and removes those of the round before.
fn after_many(owner: &ShapeMeta, standby: &Standby, from: u64, changes: u64) -> Result<f64> {
    let (wait, half) = (Wait::UpTo(TIMEOUT), changes / 2);
    owner.pause();
    for number in from..from + half {
        owner.add(sample::shape(number), wait)?;
        let former = sample::handle(number - changes);
        if owner.has_handle(&former)? {
            owner.remove(&former, wait)?;
        }
    }
    owner.resume();
    Ok(lag(owner, standby)?.as_secs_f64() * 1e3)
}
