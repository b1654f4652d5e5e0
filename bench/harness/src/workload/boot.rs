use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{
    Chart, Workload,
    reads::{Picks, Read},
};
use crate::{
    Candidate, Result,
    figure::Target,
    memory,
    run::{Filling, Measure, Run},
    sample,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "boot",
    about: "a process of its own opens a database (whose file the system has in memory) and answers one request; how \
            long that takes, and how much the process has then in memory for each shape. Peers that keep nothing in \
            memory have little to do here",
    run,
    charts: &[
        Chart::lines("Time to the first answer", "boot").picture("boot"),
        Chart::lines("Memory after boot", "resident memory a shape"),
    ],
};

fn run(run: &mut Run<'_>) -> Result {
    for shapes in run.scale.sizes() {
        let filling = Filling { name: "plain", shapes: *shapes, shape: sample::shape };
        let mut contestants = run
            .candidates(*shapes)
            .into_iter()
            .map(|candidate| Ok((candidate.name(), (candidate.name(), run.filled(candidate, filling)?))))
            .collect::<Result<Vec<_>>>()?;
        // The round that does not count also makes or drops the look-ups of a file that was opened otherwise.
        let rows = run.in_turn(&mut contestants, |(name, directory)| parent(name, directory))?;
        let million = *shapes == 1_000_000;
        let boot = Measure::lower("boot", "ms").at(*shapes, "shapes");
        run.tell(&rows, boot.target_if(million, Target::Most(1_500.0)), |(ms, _)| Some(*ms))?;
        let memory = Measure::lower("resident memory a shape", "bytes").at(*shapes, "shapes");
        let of = |bytes: f64| (bytes / *shapes as f64).max(0.1);
        run.tell(&rows, memory.target_if(million, Target::Most(500.0)), |(_, bytes)| Some(of(*bytes)))?;
    }
    Ok(())
}

/// Milliseconds, and bytes.
fn parent(name: &str, directory: &Path) -> Result<(f64, f64)> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.args(["--boot", name, "--dir"]).arg(directory).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace().map(str::parse::<f64>);
    match (words.next(), words.next()) {
        (Some(Ok(boot)), Some(Ok(size))) => Ok((boot, size)),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// What the child process does: prints milliseconds, and bytes of its resident set more than before.
pub(crate) fn child(candidate: &dyn Candidate, directory: &Path) -> Result {
    let picks = Picks::of(100, 1);
    let before = memory::resident()?;
    let begun = Instant::now();
    let subject = candidate.open(directory, 0)?;
    picks.each(&mut *subject.client()?, Read::Metadata, Duration::MAX)?;
    let took = begun.elapsed();
    let memory = memory::resident()?.saturating_sub(before);
    println!("{} {memory}", took.as_secs_f64() * 1e3);
    Ok(())
}
