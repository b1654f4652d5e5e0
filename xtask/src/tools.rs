//! Steps of tools that do not come with Rust. Each runs where its tool is installed, and is skipped
//! elsewhere.

use std::process::Command;

use crate::{Result, cargo};

/// Checks licences, bans and sources of all dependencies; see `deny.toml`.
pub(crate) fn deny() -> Result {
    if !succeeds(&mut cargo::command(&["deny", "--version"])) {
        eprintln!("ci: skipped deny: cargo-deny is not installed (`cargo install cargo-deny`)");
        return Ok(());
    }
    cargo::run(&["deny", "--workspace", "check", "licenses", "bans", "sources"], &[])
}

/// Checks the spelling of sources and documents; see `typos.toml`.
pub(crate) fn typos() -> Result {
    let command = || {
        let mut command = Command::new("typos");
        command.current_dir(cargo::ROOT);
        command
    };
    if !succeeds(command().arg("--version")) {
        eprintln!("ci: skipped typos: it is not installed (`cargo install typos-cli`)");
        return Ok(());
    }
    eprintln!("$ typos");
    let status = command().status()?;
    if status.success() { Ok(()) } else { Err(format!("typos: {status}").into()) }
}

/// Runs a command for its exit status, without its output.
fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
