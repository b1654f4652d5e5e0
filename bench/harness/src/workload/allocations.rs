use std::{collections::BTreeMap, process::Command};

use super::Workload;
use crate::{
    Candidate, Result,
    run::{Measure, Row, Run},
    subject::FULL,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "allocations",
    about: "how often, and how many bytes, one operation of the full stack allocates, and what a shape takes on the \
            heap; counted by an allocator in a process of its own, with no thread beside it where that can be",
    run,
    charts: &[],
};

fn run(run: &mut Run<'_>) -> Result {
    if !run.wants_full() {
        return Ok(());
    }
    let program = std::env::current_exe()?.with_file_name("shape-meta-bench-counted");
    let shapes: u64 = run.scale.pick([1_000, 50_000, 200_000, 200_000]);
    let directory = run.directory()?;
    let output =
        Command::new(&program).arg(directory.path()).arg(shapes.to_string()).output().map_err(|error| {
            format!("{}: {error}; `cargo build --release -p shape-meta-bench` makes it", program.display())
        })?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let counted: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
    for (what, count) in counted {
        let (what, unit) = what.split_once('|').ok_or("a measure and its unit")?;
        let unit = if unit == "bytes" { "bytes" } else { "" };
        let rows = [Row { subject: FULL.name(), rounds: vec![count] }];
        run.tell(&rows, Measure::lower(what, unit), |count| Some(*count))?;
    }
    Ok(())
}
