//! Calls of cargo.

use std::{
    env,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::Result;

/// The root of the workspace.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Returns a call of the cargo that runs this task, in the root of the workspace.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(ROOT);
    // `cargo run` describes this package in the environment. The build script of ring depends on it, and
    // would run again for each call that comes from here after one that does not: minutes for a benchmark.
    for (name, _) in env::vars_os() {
        let begins = |start: &str| name.as_encoded_bytes().starts_with(start.as_bytes());
        if begins("CARGO_MANIFEST_") || begins("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command
}

/// Prints and runs a call of cargo.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result {
    let words: Vec<_> = environment.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    let call =
        [&words.iter().map(String::as_str).collect::<Vec<_>>()[..], &["cargo"], arguments].concat().join(" ");
    eprintln!("$ {call}");
    let status = command(arguments).envs(environment.iter().copied()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{call}: {status}").into()) }
}

/// Returns the metadata of the workspace and all its dependencies.
pub(crate) fn metadata() -> Result<Value> {
    let mut command = command(&["metadata", "--format-version=1", "--all-features"]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns the packages of the metadata.
pub(crate) fn packages(metadata: &Value) -> Result<&Vec<Value>> {
    metadata["packages"].as_array().ok_or_else(|| "cargo metadata names no packages".into())
}

/// Returns the name of a package.
pub(crate) fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap_or("(no name)")
}

/// Returns whether a package is a member of this workspace.
pub(crate) fn is_member(metadata: &Value, package: &Value) -> bool {
    metadata["workspace_members"].as_array().is_some_and(|members| members.contains(&package["id"]))
}

/// Returns the target directory of the workspace. Packages outside of the workspace are built there as well.
pub(crate) fn target() -> Result<String> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?.to_owned())
}
