//! `cargo xtask churn`, `crash` and `soak`: tests that run too long for the test suite, in a package of
//! their own.

use std::ffi::OsString;

use crate::{Result, cargo};

/// Builds and runs this task with these arguments.
pub(crate) fn run(task: &str, arguments: &[OsString]) -> Result {
    let arguments: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    let arguments = arguments.ok_or("the arguments are not Unicode")?;
    let call = ["run", "--release", "--quiet", "--package", "shape-meta-torture", "--", task];
    cargo::run(&[&call, &*arguments].concat(), &[])
}
