//! Many stacks of PostgreSQL in one process that share a pool and flusher threads, and their hand-over.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use shape_meta::{
    BufferOptions, Builder, FlusherOptions, FlusherPool, PostgresOptions, PostgresPool, prelude::*,
};

use super::{definition::Workload, tenants::fill};
use crate::{
    Candidate, Result,
    candidate::{POSTGRES, Schema, pool},
    probe::memory,
    result::{Measure, Target},
    run::{Row, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "stacks",
    about: "a process of its own opens many stacks with 10 shapes each, which share a pool and flusher threads: memory \
            and connections when idle. Then the time in which 100 such stacks are closed one after the other, while \
            standbys of another pool take them over",
    run,
    charts: &[],
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// What many stacks of one process share.
struct Process {
    pool: PostgresPool,
    options: PostgresOptions,
    flushers: FlusherPool,
}

impl Process {
    fn new(directory: &Path) -> Result<Self> {
        let (pool, options) = pool(directory)?;
        Ok(Self { pool, options, flushers: FlusherPool::new(FlusherOptions::default()) })
    }

    fn builder(&self) -> Builder {
        let buffer = BufferOptions::default().flushers(&self.flushers);
        POSTGRES.builder(0).buffered(buffer).postgres(self.options.clone())
    }

    /// Opens stacks as their owner, with ten complete shapes each.
    fn open(&self, stacks: u64) -> Result<Vec<ShapeMeta>> {
        let open = |number| {
            let store = self.builder().open_postgres(&self.pool, &name(number))?;
            fill(&store)?;
            Ok(store)
        };
        (0..stacks).map(open).collect()
    }
}

fn name(number: u64) -> String {
    format!("stack {number}")
}

fn run(run: &mut Run<'_>) -> Result {
    if !run.has_full_stack() {
        return Ok(());
    }
    let stacks = run.scale.pick([3, 200, 1_000, 1_000]);
    let directory = run.directory()?;
    let numbers = parent(directory.path(), stacks)?;
    let rows = [Row { candidate: POSTGRES.name(), rounds: vec![numbers] }];
    let measures = [
        ("resident memory per idle stack", "bytes", Some(100.0 * 1_024.0)),
        ("connections of the process", "", Some(9.0)),
        ("opening and filling a stack", "ms", None),
    ];
    for (at, (what, unit, most)) in measures.into_iter().enumerate() {
        let measure = Measure::lower(what, unit).at(stacks, "stacks");
        let measure = most.map_or(measure.clone(), |most| measure.target(Target::Most(most)));
        run.record(&rows, measure, |numbers| numbers.get(at).copied());
    }

    let stacks = run.scale.pick([3, 100, 100, 100]);
    let full = run.backend.full_stack() as &dyn Candidate;
    let rows = run.measure_in_new_directories(&[full], |_, directory| hand_over(directory, stacks))?;
    let measure = Measure::lower("hand-over to another pool", "ms").at(stacks, "stacks");
    run.record(&rows, measure.target(Target::Most(3_000.0)), |ms| Some(*ms));
    Ok(())
}

/// Returns what the child prints.
fn parent(directory: &Path, stacks: u64) -> Result<Vec<f64>> {
    // So that its server is the one of this process.
    Schema::of(directory)?;
    let mut child = Command::new(std::env::current_exe()?);
    let child = child.args(["--store", "postgres", "--tenants", &stacks.to_string(), "--dir"]);
    let output = child.arg(directory).output()?;
    let numbers: Vec<f64> =
        String::from_utf8(output.stdout)?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if numbers.is_empty() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(numbers)
}

/// Runs the child process: prints the values of the measures in order.
pub(crate) fn child(directory: &Path, stacks: usize) -> Result {
    let before = memory::resident()?;
    let process = Process::new(directory)?;
    let start = Instant::now();
    let all = process.open(stacks as u64)?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    let memory = memory::resident()?.saturating_sub(before);
    println!("{} {} {}", memory as f64 / stacks as f64, sockets()?, took / stacks as f64);
    drop(all);
    Ok(())
}

/// Returns the number of sockets of this process, which are its connections.
fn sockets() -> Result<usize> {
    let files = fs::read_dir("/proc/self/fd")?.flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    Ok(links.filter(|link| link.to_string_lossy().starts_with("socket:")).count())
}

/// Returns the milliseconds from the begin of the first close until all standbys are owners.
fn hand_over(directory: &Path, stacks: u64) -> Result<f64> {
    let (before, after) = (Process::new(directory)?, Process::new(directory)?);
    let owners = before.open(stacks)?;
    let standbys = (0..stacks).map(|number| {
        let standby = after.builder().open_postgres_standby(&after.pool, &name(number))?;
        standby.promote_when_free();
        Ok(standby)
    });
    let standbys = standbys.collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    for owner in &owners {
        if !owner.close(TIMEOUT).is_complete() {
            return Err("a mutation was not written".into());
        }
    }
    let deadline = start + TIMEOUT;
    for standby in &standbys {
        let left = deadline.saturating_duration_since(Instant::now());
        standby.wait_promoted(left).ok_or("a standby was not promoted")?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
