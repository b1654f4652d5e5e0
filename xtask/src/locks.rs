//! The step `locks`: the lock files of the packages outside of the workspace.

use std::{fs, path::Path};

use crate::{Result, cargo};

/// The folders with packages that have a lock file of their own.
const FOLDERS: &[&str] = &["bench", "examples"];

/// Checks that each of these lock files matches its manifest and those of the crates of the workspace, which
/// it lists with their dependencies. `cargo fetch --locked` checks that of the workspace.
pub(crate) fn check() -> Result {
    let mut outdated = Vec::new();
    for folder in FOLDERS {
        for package in fs::read_dir(Path::new(cargo::ROOT).join(folder))? {
            let package = package?.path();
            if !package.join("Cargo.lock").is_file() {
                continue;
            }
            let manifest = package.join("Cargo.toml");
            let manifest = manifest.to_str().ok_or("the path of the workspace is not UTF-8")?;
            if cargo::run(&["update", "--workspace", "--locked", "--manifest-path", manifest], &[]).is_err() {
                outdated.push(format!("cargo update --workspace --manifest-path {manifest}"));
            }
        }
    }
    if outdated.is_empty() {
        return Ok(());
    }
    Err(format!("these lock files do not match; update them with: {}", outdated.join("; ")).into())
}
