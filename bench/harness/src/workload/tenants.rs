//! Many stores in one process, which share flusher threads and a cap on connections: what idle ones take, how
//! long a flush takes, and what stores that hang do to the flushes of others.

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

use super::{Chart, Workload};
use crate::{
    Candidate, Result,
    figure::Target,
    latency::Latencies,
    memory::resident,
    run::{Measure, Run},
    sample,
    subject::FULL,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "tenants",
    about: "a process of its own opens many stores that share flusher threads and a cap of 64 connections, with 10 \
            shapes each: threads, memory and descriptors when they are idle; then how long a change takes to be on \
            disk (closed loop, each in another store), and the same while one store of a hundred cannot write",
    run,
    charts: &[
        Chart::lines("Memory of an idle store", "resident memory a store, idle"),
        Chart::lines("A change on disk among many stores", "p99 of a change on disk"),
    ],
};

/// What each tenant has.
const SHAPES: u64 = 10;
/// Flushes that are timed.
const FLUSHES: usize = 300;
/// One store of so many hangs.
const HANGING: usize = 100;
const CONNECTIONS: u32 = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the child finds out, in which unit, and what it should be at most.
const FOUND: [(&str, &str, Option<f64>); 8] = [
    ("threads of the process", "", Some(16.0)),
    ("resident memory a store, idle", "bytes", Some((1 << 20) as f64)),
    ("resident memory a store, before its connections are closed", "bytes", None),
    ("descriptors a store, idle", "", Some(1.0)),
    ("p50 of a change on disk", "us", None),
    ("p99 of a change on disk", "us", None),
    ("p50 of a change on disk, while others hang", "us", None),
    ("p99 of a change on disk, while others hang", "us", None),
];

fn run(run: &mut Run<'_>) -> Result {
    if !run.wants_full() {
        return Ok(());
    }
    let sizes: &[u64] = run.scale.pick([&[1, 3], &[1, 100], &[1, 100, 1_000], &[1, 100, 1_000]]);
    for stores in sizes {
        let mut contestants = [(FULL.name(), *stores)];
        let rows = run.in_turn(&mut contestants, |stores| parent(run.directory()?.path(), *stores))?;
        for (at, (what, unit, most)) in FOUND.into_iter().enumerate() {
            let measure = Measure::lower(what, unit).at(*stores, "stores");
            // What a process has once is no matter of its stores.
            let measure = match most {
                Some(most) if *stores >= 100 => measure.target(Target::Most(most)),
                _ => measure,
            };
            run.tell(&rows, measure, |numbers| numbers.get(at).copied())?;
        }
    }
    Ok(())
}

fn parent(directory: &Path, stores: u64) -> Result<Vec<f64>> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.args(["--tenants", &stores.to_string(), "--dir"]).arg(directory).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if numbers.len() == FOUND.len() {
        return Ok(numbers);
    }
    Err(String::from_utf8_lossy(&output.stderr).into())
}

/// What the child prints, in the order of [`FOUND`].
pub(crate) fn child(root: &Path, stores: usize) -> Result {
    let flushers = FlusherPool::new(FlusherOptions::default());
    let cap = ConnectionLimit::new(CONNECTIONS);
    let (before, descriptors) = (resident()?, count("/proc/self/fd")?);
    let opened = (0..stores).map(|number| open(&root.join(number.to_string()), &flushers, &cap));
    let all = opened.collect::<Result<Vec<_>>>()?;
    for store in &all {
        fill(store)?;
    }
    let busy = resident()?.saturating_sub(before);
    // What a minute of idleness does.
    all.iter().filter_map(|store| store.database()).for_each(|database| database.close_idle());
    let idle = resident()?.saturating_sub(before);
    let threads = count("/proc/self/task")?;
    let descriptors = count("/proc/self/fd")?.saturating_sub(descriptors);

    let healthy = flushes(all.iter(), SHAPES)?;
    let hanging: Vec<_> = (0..stores / HANGING).map(|number| root.join(number.to_string())).collect();
    // A stranger that does not let go of the file: each attempt to write waits for it, and fails.
    let strangers = hanging.iter().map(|directory| {
        let stranger = Connection::open(directory.join("shape-meta.sqlite3"))?;
        stranger.execute_batch("BEGIN IMMEDIATE")?;
        Ok(stranger)
    });
    let strangers = strangers.collect::<Result<Vec<_>>>()?;
    for store in &all[..strangers.len()] {
        store.add(sample::shape(SHAPES + 1_000_000), Wait::No)?;
        store.request_flush();
    }
    let troubled = flushes(all[strangers.len()..].iter(), SHAPES + FLUSHES as u64)?;
    drop(strangers);

    let each = |number: u64| number as f64 / stores as f64;
    let mut numbers = vec![threads as f64, each(idle), each(busy), each(descriptors)];
    for latencies in [&healthy, &troubled] {
        numbers.extend([0.5, 0.99].map(|quantile| latencies.at(quantile)));
    }
    numbers.iter().for_each(|number| println!("{number}"));
    Ok(())
}

fn open(directory: &Path, flushers: &FlusherPool, cap: &ConnectionLimit) -> Result<ShapeMeta> {
    let store = ShapeMeta::builder(NoopCleaner)
        .sqlite(SqliteOptions::default().connection_limit(cap))
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default().flushers(flushers))
        .open(directory)?;
    Ok(store)
}

fn fill(store: &ShapeMeta) -> Result {
    for number in 0..SHAPES {
        let shape = sample::shape(number);
        let handle = shape.handle.clone();
        store.add(shape, Wait::No)?;
        store.mark_snapshot_complete(&handle, Wait::No)?;
    }
    Ok(store.flush(PATIENCE)?)
}

/// One after the other, each of another store: from the add until it is on disk.
fn flushes<'a>(stores: impl Iterator<Item = &'a ShapeMeta> + Clone, first: u64) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    for (number, store) in (first..).zip(stores.cycle().take(FLUSHES)) {
        let shape = sample::shape(number);
        let begun = Instant::now();
        store.add(shape, Wait::No)?;
        store.flush(PATIENCE)?;
        latencies.record(begun.elapsed());
    }
    Ok(latencies)
}

fn count(directory: &str) -> Result<u64> {
    Ok(fs::read_dir(directory)?.count() as u64)
}
