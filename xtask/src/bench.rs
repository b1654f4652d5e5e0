//! `cargo xtask bench`: the benchmarks, which are a package of their own so that nobody else compiles them.

use std::ffi::OsString;

use crate::{Result, cargo};

/// Builds and runs the benchmarks with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> Result {
    let arguments: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    let arguments = arguments.ok_or("the arguments are not Unicode")?;
    let call = ["run", "--release", "--quiet", "--package", "shape-meta-bench", "--"];
    cargo::run(&[&call, &*arguments].concat(), &[])
}
