//! `cargo xtask ci`: all that has to be well before a change goes in.

use std::time::Instant;

use lexopt::{Arg, Parser, ValueExt};

use crate::{Result, cargo, features, msrv, tools};

/// What a step is called, and what it does.
type Step = (&'static str, fn() -> Result);

/// Quick ones first.
const STEPS: &[Step] = &[
    ("fmt", || cargo::run(&["fmt", "--all", "--check"], &[])),
    ("typos", tools::typos),
    ("deny", tools::deny),
    ("msrv", msrv::check),
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
];

/// Runs the steps that are asked for. A failure does not keep the next ones from being run.
pub(crate) fn run(mut arguments: Parser) -> Result {
    let mut asked = Vec::new();
    let mut skipped = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Value(step) => asked.push(known(step.string()?)?),
            Arg::Long("skip") => skipped.push(known(arguments.value()?.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }

    let mut failed = Vec::new();
    for (name, step) in STEPS {
        if skipped.contains(name) || !asked.is_empty() && !asked.contains(name) {
            continue;
        }
        eprintln!("\nci: {name}");
        let began = Instant::now();
        let result = step();
        let took = began.elapsed().as_secs();
        match result {
            Ok(()) => eprintln!("ci: {name} is well ({took} s)"),
            Err(why) => {
                eprintln!("ci: {name} FAILED ({took} s): {why}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("these steps FAILED: {}", failed.join(", ")).into()) }
}

fn known(step: String) -> Result<&'static str> {
    let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
    let found = names.iter().find(|name| **name == step);
    found.copied().ok_or_else(|| format!("there is no step {step:?}; there are {}", names.join(", ")).into())
}
