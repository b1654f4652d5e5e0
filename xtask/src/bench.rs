//! `cargo xtask bench`: the benchmarks, which are packages of their own so that nobody else compiles them.

use std::ffi::OsString;

use crate::{Result, cargo};

/// Builds and runs the benchmarks with these arguments. Two are ours: `--peers` takes the package with other
/// stores in it, and `--instructions` counts instructions instead.
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
    // The one that counts allocations is run by the other.
    cargo::run(&["build", "--release", "--quiet", "--package", "shape-meta-bench", "--bins"], &[])?;
    if peers {
        let target = cargo::target()?;
        let package = ["--manifest-path", "bench/peers/Cargo.toml", "--target-dir", &target, "--"];
        return cargo::run(&[&["run", "--release", "--quiet"], &package[..], &arguments].concat(), &[]);
    }
    let call = ["run", "--release", "--quiet", "--package", "shape-meta-bench", "--"];
    cargo::run(&[&call, &*arguments].concat(), &[])
}
