use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    definition::{Chart, Workload},
    random_reads::{RandomReads, Read},
};
use crate::{
    Candidate, Result,
    candidate::Backend,
    data::sample,
    probe::memory,
    result::{Measure, Target},
    run::{Filling, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "boot",
    about: "a process of its own opens a database, whose file is in the page cache, and answers one request: the time, \
            and the resident memory per shape. Peers without a cache in memory have little work here",
    run,
    charts: &[
        Chart::lines("Time to the first answer", "boot").picture("boot"),
        Chart::lines("Memory after boot", "resident memory per shape"),
    ],
};

fn run(run: &mut Run<'_>) -> Result {
    for shapes in run.scale.sizes() {
        let filling = Filling { name: "plain", shapes: *shapes, shape: sample::shape };
        let mut candidates = run
            .candidates(*shapes)
            .into_iter()
            .map(|candidate| Ok((candidate.name(), (candidate.name(), run.filled(candidate, filling)?))))
            .collect::<Result<Vec<_>>>()?;
        // The warm-up also creates or drops the disk indexes that an earlier composition needed or not.
        let rows =
            run.measure_rounds(&mut candidates, |(name, directory)| parent(run.backend, name, directory))?;
        let million = *shapes == 1_000_000;
        let boot = Measure::lower("boot", "ms").at(*shapes, "shapes");
        let most = Target::Most(run.backend.pick(1_500.0, 4_000.0));
        run.record(&rows, boot.target_if(million, most), |(ms, _)| Some(*ms));
        let memory = Measure::lower("resident memory per shape", "bytes").at(*shapes, "shapes");
        let of = |bytes: f64| (bytes / *shapes as f64).max(0.1);
        run.record(&rows, memory.target_if(million, Target::Most(500.0)), |(_, bytes)| Some(of(*bytes)));
    }
    Ok(())
}

/// Returns milliseconds and bytes.
fn parent(backend: Backend, name: &str, directory: &Path) -> Result<(f64, f64)> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.args(["--store", backend.name(), "--boot", name, "--dir"]).arg(directory).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace().map(str::parse::<f64>);
    match (words.next(), words.next()) {
        (Some(Ok(boot)), Some(Ok(size))) => Ok((boot, size)),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// Runs the child process: prints milliseconds, and the growth of its resident memory in bytes.
pub(crate) fn child(candidate: &dyn Candidate, directory: &Path) -> Result {
    let random_reads = RandomReads::new(100, 1);
    let before = memory::resident()?;
    let start = Instant::now();
    let subject = candidate.open(directory, 0)?;
    random_reads.closed_loop(&mut *subject.client()?, Read::Metadata, Duration::MAX)?;
    let took = start.elapsed();
    let memory = memory::resident()?.saturating_sub(before);
    println!("{} {memory}", took.as_secs_f64() * 1e3);
    Ok(())
}
