//! Many stores in one process that share flusher threads and a limit on connections: the cost of idle stores,
//! the latency of a flush, and the effect of blocked stores on others.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use shape_meta::{
    BufferOptions, CacheOptions, ConnectionLimit, FlusherOptions, FlusherPool, NoopCleaner, SqliteOptions,
    prelude::*,
};

use super::definition::{Chart, Workload};
use crate::{
    Candidate, Result,
    candidate::FULL_STACK,
    data::{Scale, sample},
    probe::{Latencies, memory},
    result::{Measure, Target},
    run::Run,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "tenants",
    about: "a process of its own opens many stores with 10 shapes each, which share flusher threads and a limit of 64 \
            connections: threads, memory and descriptors when idle; then the time until a change is durable (closed \
            loop, each in another store), and the same while one store in a hundred cannot write",
    run,
    charts: &[
        Chart::lines("Memory of an idle store", "resident memory per store, idle"),
        Chart::lines("A durable change among many stores", "p99 of a durable change"),
    ],
};

/// The number of shapes in each store.
const SHAPES: u64 = 10;
/// One store in this many is blocked.
const BLOCKED: usize = 100;
const CONNECTIONS: u32 = 64;
const TIMEOUT: Duration = Duration::from_secs(60);

/// The output of the child: names, units, and the targets for the maximum.
const OUTPUT: [(&str, &str, Option<f64>); 8] = [
    ("threads of the process", "", Some(16.0)),
    ("resident memory per store, idle", "bytes", Some((1 << 20) as f64)),
    ("resident memory per store, with open connections", "bytes", None),
    ("descriptors per store, idle", "", Some(1.0)),
    ("p50 of a durable change", "us", None),
    ("p99 of a durable change", "us", None),
    ("p50 of a durable change, others blocked", "us", None),
    ("p99 of a durable change, others blocked", "us", None),
];

fn run(run: &mut Run<'_>) -> Result {
    if !run.has_full_stack() {
        return Ok(());
    }
    let sizes: &[u64] = run.scale.pick([&[1, 3], &[1, 100], &[1, 100, 1_000], &[1, 100, 1_000]]);
    for stores in sizes {
        let mut candidates = [(FULL_STACK.name(), *stores)];
        let rows = run
            .measure_rounds(&mut candidates, |stores| parent(run.scale, run.directory()?.path(), *stores))?;
        for (at, (what, unit, most)) in OUTPUT.into_iter().enumerate() {
            let measure = Measure::lower(what, unit).at(*stores, "stores");
            // With few stores, the fixed cost of the process dominates.
            let measure = match most {
                Some(most) if *stores >= 100 => measure.target(Target::Most(most)),
                _ => measure,
            };
            run.record(&rows, measure, |numbers| numbers.get(at).copied());
        }
    }
    Ok(())
}

fn parent(scale: Scale, directory: &Path, stores: u64) -> Result<Vec<f64>> {
    let mut child = Command::new(std::env::current_exe()?);
    let arguments = ["--scale", scale.name(), "--tenants", &stores.to_string(), "--dir"];
    let output = child.args(arguments).arg(directory).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if numbers.len() == OUTPUT.len() {
        return Ok(numbers);
    }
    Err(String::from_utf8_lossy(&output.stderr).into())
}

/// Runs the child process: prints the values of [`OUTPUT`] in order.
pub(crate) fn child(scale: Scale, root: &Path, stores: usize) -> Result {
    // The number of timed flushes.
    let times = scale.pick([10, 100, 300, 300]);
    let flushers = FlusherPool::new(FlusherOptions::default());
    let limit = ConnectionLimit::new(CONNECTIONS);
    let (before, descriptors) = (memory::resident()?, count("/proc/self/fd")?);
    let opened = (0..stores).map(|number| open(&root.join(number.to_string()), &flushers, &limit));
    let all = opened.collect::<Result<Vec<_>>>()?;
    for store in &all {
        fill(store)?;
    }
    let busy = memory::resident()?.saturating_sub(before);
    // The idle time-out would do this after a minute.
    all.iter().filter_map(|store| store.database()).for_each(|database| database.close_idle());
    let idle = memory::resident()?.saturating_sub(before);
    let threads = count("/proc/self/task")?;
    let descriptors = count("/proc/self/fd")?.saturating_sub(descriptors);

    let healthy = flushes(all.iter(), SHAPES, times)?;
    let blocked: Vec<_> = (0..stores / BLOCKED).map(|number| root.join(number.to_string())).collect();
    // Another connection holds the write lock, so each attempt to write waits and fails.
    let holders = blocked.iter().map(|directory| {
        let holder = Connection::open(directory.join("shape-meta.sqlite3"))?;
        holder.execute_batch("BEGIN IMMEDIATE")?;
        Ok(holder)
    });
    let holders = holders.collect::<Result<Vec<_>>>()?;
    for store in &all[..holders.len()] {
        store.add(sample::shape(SHAPES + 1_000_000), Wait::No)?;
        store.request_flush();
    }
    let others_blocked = flushes(all[holders.len()..].iter(), SHAPES + times as u64, times)?;
    drop(holders);

    let each = |number: u64| number as f64 / stores as f64;
    let mut numbers = vec![threads as f64, each(idle), each(busy), each(descriptors)];
    for latencies in [&healthy, &others_blocked] {
        numbers.extend([0.5, 0.99].map(|quantile| latencies.at(quantile)));
    }
    numbers.iter().for_each(|number| println!("{number}"));
    Ok(())
}

fn open(directory: &Path, flushers: &FlusherPool, limit: &ConnectionLimit) -> Result<ShapeMeta> {
    let store = ShapeMeta::builder(NoopCleaner)
        .sqlite(SqliteOptions::default().connection_limit(limit))
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default().flushers(flushers))
        .open(directory)?;
    Ok(store)
}

/// Adds ten shapes with complete snapshots.
pub(super) fn fill(store: &ShapeMeta) -> Result {
    for number in 0..SHAPES {
        let shape = sample::shape(number);
        let handle = shape.handle.clone();
        store.add(shape, Wait::No)?;
        store.mark_snapshot_complete(&handle, Wait::No)?;
    }
    Ok(store.flush(TIMEOUT)?)
}

/// Returns the times from an add until it is durable, each in the next store.
fn flushes<'a>(
    stores: impl Iterator<Item = &'a ShapeMeta> + Clone,
    first: u64,
    times: usize,
) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    for (number, store) in (first..).zip(stores.cycle().take(times)) {
        let shape = sample::shape(number);
        let start = Instant::now();
        store.add(shape, Wait::No)?;
        store.flush(TIMEOUT)?;
        latencies.record(start.elapsed());
    }
    Ok(latencies)
}

fn count(directory: &str) -> Result<u64> {
    Ok(fs::read_dir(directory)?.count() as u64)
}
