//! Which disk a file is on.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::disk::{Disk, Weak};

static DISKS: Mutex<Vec<(PathBuf, Weak)>> = Mutex::new(Vec::new());

fn disks() -> MutexGuard<'static, Vec<(PathBuf, Weak)>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the files in this directory are on this disk, until it is dropped.
pub(crate) fn mount(directory: &Path, disk: &Disk) {
    let mut disks = disks();
    disks.retain(|(other, disk)| other != directory && disk.is_there());
    disks.push((directory.to_owned(), disk.weak()));
}

/// The disk of a file, and the file's name there.
pub(crate) fn find(path: &str) -> Option<(Disk, &str)> {
    let path = Path::new(path);
    let (directory, name) = (path.parent()?, path.file_name()?.to_str()?);
    let disks = disks();
    let (_, disk) = disks.iter().find(|(mounted, _)| mounted == directory)?;
    Some((disk.disk()?, name))
}
