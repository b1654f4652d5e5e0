//! `cargo xtask bench`: runs the benchmarks, which are packages of their own so that no other build compiles
//! them.

use std::ffi::OsString;

use crate::{Result, cargo};

/// The profile of the benchmarks, which optimizes SQLite more than a release.
const PROFILE: &str = "measure";

/// Builds and runs the benchmarks with these arguments. This task takes two of them: `--peers` selects the
/// package with other stores, and `--instructions` the one that counts instructions.
pub(crate) fn run(arguments: &[OsString]) -> Result {
    let arguments: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    let mut arguments = arguments.ok_or("the arguments are not Unicode")?;
    let mut take = |flag: &str| {
        let before = arguments.len();
        arguments.retain(|argument| *argument != flag);
        arguments.len() < before
    };
    let (peers, instructions) = (take("--peers"), take("--instructions"));
    if instructions {
        let target = cargo::target()?;
        let call =
            ["bench", "--manifest-path", "bench/instructions/Cargo.toml", "--target-dir", &target, "--"];
        return cargo::run(&[&call, &*arguments].concat(), &[]);
    }
    // The benchmark runs the program that counts allocations.
    cargo::run(&["build", "--profile", PROFILE, "--quiet", "--package", "shape-meta-bench", "--bins"], &[])?;
    if peers {
        let target = cargo::target()?;
        let package = ["--manifest-path", "bench/peers/Cargo.toml", "--target-dir", &target, "--"];
        return cargo::run(
            &[&["run", "--profile", PROFILE, "--quiet"], &package[..], &arguments].concat(),
            &[],
        );
    }
    let call = ["run", "--profile", PROFILE, "--quiet", "--package", "shape-meta-bench", "--"];
    cargo::run(&[&call, &*arguments].concat(), &[])
}
