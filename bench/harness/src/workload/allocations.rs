use std::{collections::BTreeMap, process::Command};

use super::definition::Workload;
use crate::{
    Candidate, Result,
    candidate::FULL_STACK,
    result::Measure,
    run::{Row, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "allocations",
    about: "the number and size of the allocations of one operation of the full stack, and the heap size of a shape; \
            counted by an allocator in a process of its own, without other threads where possible",
    run,
    charts: &[],
};

fn run(run: &mut Run<'_>) -> Result {
    if !run.has_full_stack() {
        return Ok(());
    }
    let program = std::env::current_exe()?.with_file_name("shape-meta-bench-allocations");
    let shapes: u64 = run.scale.pick([1_000, 50_000, 200_000, 200_000]);
    let directory = run.directory()?;
    let output = Command::new(&program)
        .arg(directory.path())
        .arg(shapes.to_string())
        .output()
        .map_err(|error| format!("{}: {error}; `cargo xtask bench` builds it", program.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let counted: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout)?;
    for (what, count) in counted {
        let (what, unit) = what.split_once('|').ok_or("a measure has no unit")?;
        let unit = if unit == "bytes" { "bytes" } else { "" };
        let rows = [Row { candidate: FULL_STACK.name(), rounds: vec![count] }];
        run.record(&rows, Measure::lower(what, unit), |count| Some(*count));
    }
    Ok(())
}
