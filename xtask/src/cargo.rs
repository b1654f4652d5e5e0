//! Cargo, as the tasks call it.

use std::{
    env,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::Result;

/// The root of the workspace.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A call of the cargo that runs this task, at the root of the workspace.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(ROOT);
    command
}

/// Runs cargo for all to see.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result {
    let words: Vec<_> = environment.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    let call =
        [&words.iter().map(String::as_str).collect::<Vec<_>>()[..], &["cargo"], arguments].concat().join(" ");
    eprintln!("$ {call}");
    let status = command(arguments).envs(environment.iter().copied()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{call}: {status}").into()) }
}

/// What cargo knows about the workspace and all that it depends on.
pub(crate) fn metadata() -> Result<Value> {
    let mut command = command(&["metadata", "--format-version=1", "--all-features"]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The packages of `metadata`.
pub(crate) fn packages(metadata: &Value) -> Result<&Vec<Value>> {
    metadata["packages"].as_array().ok_or_else(|| "cargo metadata names no packages".into())
}

/// The name of a package.
pub(crate) fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap_or("(no name)")
}

/// Whether a package is of this workspace, rather than a dependency from elsewhere.
pub(crate) fn is_member(metadata: &Value, package: &Value) -> bool {
    metadata["workspace_members"].as_array().is_some_and(|members| members.contains(&package["id"]))
}

/// Where this workspace is built: packages beside it are built there too.
pub(crate) fn target() -> Result<String> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?.to_owned())
}
