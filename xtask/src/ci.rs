//! `cargo xtask ci`: the checks that a change has to pass.

use std::time::Instant;

use lexopt::{Arg, Parser, ValueExt};

use crate::{Result, cargo, features, locks, msrv, service, tools};

/// The name of a step, and its function.
type Step = (&'static str, fn() -> Result);

/// The steps, the fast ones first.
const STEPS: &[Step] = &[
    ("fmt", || cargo::run(&["fmt", "--all", "--check"], &[])),
    ("typos", tools::typos),
    ("deny", tools::deny),
    ("msrv", msrv::check),
    ("locks", locks::check),
    ("clippy", || {
        let what = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny=warnings"];
        cargo::run(&what, &[])
    }),
    ("features", features::check),
    ("docs", || {
        let what = ["doc", "--workspace", "--all-features", "--no-deps"];
        cargo::run(&what, &[("RUSTDOCFLAGS", "--deny=warnings")])
    }),
    ("test", || cargo::run(&["test", "--workspace", "--all-features"], &[])),
    ("service", service::check),
];

/// Runs the selected steps. A failed step does not prevent the later ones.
pub(crate) fn run(mut arguments: Parser) -> Result {
    let mut selected = Vec::new();
    let mut skipped = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Value(step) => selected.push(find(step.string()?)?),
            Arg::Long("skip") => skipped.push(find(arguments.value()?.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }

    let mut failed = Vec::new();
    for (name, step) in STEPS {
        if skipped.contains(name) || !selected.is_empty() && !selected.contains(name) {
            continue;
        }
        eprintln!("\nci: {name}");
        let start = Instant::now();
        let result = step();
        let took = start.elapsed().as_secs();
        match result {
            Ok(()) => eprintln!("ci: {name} passed ({took} s)"),
            Err(why) => {
                eprintln!("ci: {name} FAILED ({took} s): {why}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("these steps FAILED: {}", failed.join(", ")).into()) }
}

fn find(step: String) -> Result<&'static str> {
    let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
    let found = names.iter().find(|name| **name == step);
    found.copied().ok_or_else(|| format!("unknown step {step:?}; the steps are {}", names.join(", ")).into())
}
