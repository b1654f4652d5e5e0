//! Finds the disk of a file by its path.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::state::{SharedState, WeakState};

static MOUNTS: Mutex<Vec<(PathBuf, WeakState)>> = Mutex::new(Vec::new());

fn mounts() -> MutexGuard<'static, Vec<(PathBuf, WeakState)>> {
    MOUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the files of this directory on this disk until it is dropped.
pub(crate) fn mount(directory: &Path, disk: &SharedState) {
    let mut mounts = mounts();
    mounts.retain(|(other, disk)| other != directory && disk.is_alive());
    mounts.push((directory.to_owned(), disk.downgrade()));
}

/// Returns the disk of a file, and the file's name on it.
pub(crate) fn find(path: &str) -> Option<(SharedState, &str)> {
    let path = Path::new(path);
    let (directory, name) = (path.parent()?, path.file_name()?.to_str()?);
    let mounts = mounts();
    let (_, disk) = mounts.iter().find(|(mounted, _)| mounted == directory)?;
    Some((disk.upgrade()?, name))
}
