use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::format::files::Files;

/// The directories whose databases this process has open, with the number of guards for each.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, usize>>> = LazyLock::new(Mutex::default);

/// A guard that registers the database of a directory as open in this process.
///
/// With POSIX locks, a process that closes a file gives up all of its locks on it, also those of SQLite's
/// connections. Another process would then take the database for unused, and delete the WAL of its owner.
/// SQLite itself avoids that; all other code must not open the file while it is registered.
///
/// (<https://www.sqlite.org/howtocorrupt.html>, section 2.2.)
#[derive(Debug)]
pub(crate) struct Presence(PathBuf);

impl Presence {
    /// Registers the database until the guard is dropped. The directory must exist.
    pub(crate) fn register(files: &Files) -> Self {
        let name = name(files);
        *open().entry(name.clone()).or_default() += 1;
        Self(name)
    }

    /// Returns whether this process has the database open.
    pub(crate) fn is_open_here(files: &Files) -> bool {
        open().contains_key(&name(files))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(guards) = open.get_mut(&self.0) {
            *guards -= 1;
            if *guards == 0 {
                open.remove(&self.0);
            }
        }
    }
}

fn open() -> MutexGuard<'static, HashMap<PathBuf, usize>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(files: &Files) -> PathBuf {
    let directory = files.directory();
    directory.canonicalize().unwrap_or_else(|_| directory.to_owned())
}
