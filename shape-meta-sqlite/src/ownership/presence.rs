use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::format::files::Files;

/// The directories whose databases this process has open, and how often.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, usize>>> = LazyLock::new(Mutex::default);

/// Says, for as long as it lives, that this process has a database open.
///
/// A process that closes a file gives up all its locks on it (POSIX), also those of SQLite's connections.
/// Another process would then take the database for one that nobody uses, and take the log away under its
/// owner. SQLite itself sees to that, and everybody else must not open the file while it is open here.
///
/// (<https://www.sqlite.org/howtocorrupt.html>, section 2.2.)
#[derive(Debug)]
pub(crate) struct Presence(PathBuf);

impl Presence {
    /// From now on. The directory must be there.
    pub(crate) fn register(files: &Files) -> Self {
        let name = name(files);
        *open().entry(name.clone()).or_default() += 1;
        Self(name)
    }

    /// Whether this process has the database open.
    pub(crate) fn is_open_here(files: &Files) -> bool {
        open().contains_key(&name(files))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(times) = open.get_mut(&self.0) {
            *times -= 1;
            if *times == 0 {
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
