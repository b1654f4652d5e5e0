//! Measures the resident memory of this process, and the disk usage of a directory.

use std::{fs, path::Path};

use crate::error::Result;

/// Returns the resident memory of this process in bytes.
pub(crate) fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("VmRSS is missing")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("VmRSS has a number")?.parse()?;
    Ok(kilobytes << 10)
}

/// Returns the size of the files below this directory whose names have this ending.
pub(crate) fn on_disk(directory: &Path, ending: &str) -> Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(directory)? {
        let file = file?;
        if file.file_type()?.is_dir() {
            bytes += on_disk(&file.path(), ending)?;
        } else if file.file_name().to_string_lossy().ends_with(ending) {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}
