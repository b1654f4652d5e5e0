//! `cargo xtask service`: the sync service of `examples/sync-service`, a package with a lock file of its own.

use std::{env, ffi::OsString, path::Path, process::Command};

use crate::{Result, cargo};

const PACKAGE: &str = "examples/sync-service";

/// Runs `demo`, `test` or `measure` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> Result {
    let (task, rest) = arguments.split_first().ok_or(USAGE)?;
    match task.to_str() {
        Some("demo") => {
            npm("page", &["run", "build"])?;
            // Ctrl-C is for the script, which ends what it has started, and the shell waits for that.
            replace_by(script("release", "demo.mjs", rest)?)
        }
        Some("test") => {
            let manifest = manifest();
            let target = cargo::target()?;
            cargo::run(&["test", "--manifest-path", &manifest, "--target-dir", &target, "--quiet"], &[])?;
            npm("page", &["run", "build"])?;
            node("debug", "page.mjs", &[])?;
            node("debug", "run.mjs", rest)?;
            // Troubles by name are those of one process, unless it says `--nodes`.
            if rest.iter().any(|argument| argument == "--trouble" || argument == "--nodes") {
                return Ok(());
            }
            node("debug", "run.mjs", &[rest, &["--nodes".into()]].concat())
        }
        Some("measure") => node("release", "measure.mjs", rest),
        _ => Err(USAGE.into()),
    }
}

/// The step of `cargo xtask ci`. Skipped where Node or PostgreSQL is missing.
pub(crate) fn check() -> Result {
    let on_path = |name: &str| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| directory.join(name).exists())
    };
    let has_postgres = on_path("initdb") || Path::new("/usr/lib/postgresql").exists();
    if !on_path("npm") || !has_postgres {
        eprintln!("service: skipped, because Node or the server programs of PostgreSQL are not installed");
        return Ok(());
    }
    let (manifest, target) = (manifest(), cargo::target()?);
    cargo::run(&["fmt", "--manifest-path", &manifest, "--check"], &[])?;
    let lint = [
        "clippy",
        "--manifest-path",
        &manifest,
        "--target-dir",
        &target,
        "--all-targets",
        "--",
        "--deny=warnings",
    ];
    cargo::run(&lint, &[])?;
    run(&["test", "--clients", "40"].map(OsString::from))
}

const USAGE: &str = "service: the tasks are demo, test and measure";

fn manifest() -> String {
    format!("{PACKAGE}/Cargo.toml")
}

/// Builds the service, and runs a script of its client tests with it.
fn node(profile: &str, name: &str, arguments: &[OsString]) -> Result {
    call(script(profile, name, arguments)?)
}

/// Builds the service, and returns the command that runs a script with it.
fn script(profile: &str, name: &str, arguments: &[OsString]) -> Result<Command> {
    let (manifest, target) = (manifest(), cargo::target()?);
    let mut build = vec!["build", "--manifest-path", &manifest, "--target-dir", &target, "--quiet"];
    if profile == "release" {
        build.push("--release");
    }
    cargo::run(&build, &[])?;
    let directory = install("client-tests")?;
    let program = Path::new(&target).join(profile).join("sync-service");
    let mut node = Command::new("node");
    node.arg(name).args(arguments).current_dir(directory).env("SYNC_SERVICE", program);
    Ok(node)
}

/// Runs npm in a directory of the package.
fn npm(directory: &str, arguments: &[&str]) -> Result {
    let mut npm = Command::new("npm");
    npm.args(arguments).current_dir(install(directory)?);
    call(npm)
}

/// Installs the packages of a lock file of npm, if they are not there yet.
fn install(directory: &str) -> Result<String> {
    let directory = format!("{}/{PACKAGE}/{directory}", cargo::ROOT);
    if !Path::new(&directory).join("node_modules").exists() {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory);
        call(npm)?;
    }
    Ok(directory)
}

/// Runs a command in place of this process.
#[cfg(unix)]
fn replace_by(mut command: Command) -> Result {
    Err(std::os::unix::process::CommandExt::exec(&mut command).into())
}

#[cfg(not(unix))]
fn replace_by(command: Command) -> Result {
    call(command)
}

fn call(mut command: Command) -> Result {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error| format!("{name} cannot be run ({error}); the sync service needs Node 20 or later");
    let status = command.status().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}").into()) }
}
