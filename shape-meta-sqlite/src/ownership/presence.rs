use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::{format::files::Files, ownership::file_id::FileId};

/// What this process has open, for each directory.
static OPEN: LazyLock<Mutex<HashMap<DirectoryName, OpenHere>>> = LazyLock::new(Mutex::default);

/// Notified when a [`RawAccess`] ends.
static RAW_ACCESS_ENDED: Condvar = Condvar::new();

/// A directory by device and inode, so that a symbolic link or a bind mount is no other directory. By its
/// path on systems without inodes, and if it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum DirectoryName {
    Id(FileId),
    Path(PathBuf),
}

#[derive(Default)]
struct OpenHere {
    /// The guards that are alive.
    guards: BTreeSet<u64>,
    next_guard: u64,
    /// The number of [`RawAccess`] in progress. A guard is registered only when it is 0.
    raw: usize,
    /// Files that must stay open until all of these guards are gone.
    kept_open: Vec<(File, BTreeSet<u64>)>,
}

/// A guard that registers the database of a directory as open in this process, through SQLite.
///
/// With POSIX locks, a process that closes a file gives up all of its locks on it, also those of SQLite's
/// connections. Another process would then take the database for unused, and delete the WAL of its owner.
/// SQLite itself avoids that. All other code opens a file of a database in one of two ways:
///
/// - with [`RawAccess`], while no guard is registered, and none can be until the access ends;
/// - as a [`KeptFile`], which is closed after the guards that were registered when it was done with.
///
/// (<https://www.sqlite.org/howtocorrupt.html>, section 2.2.)
#[derive(Debug)]
pub(crate) struct Presence {
    directory: DirectoryName,
    guard: u64,
}

impl Presence {
    /// Registers the database until the guard is dropped. The directory must exist. Waits while another
    /// thread reads the header of this database.
    pub(crate) fn register(files: &Files) -> Self {
        Self::register_in(DirectoryName::of(files.directory()))
    }

    /// Registers the same database once more. Files that are kept open for this guard do not wait for the new
    /// one.
    pub(crate) fn renew(&self) -> Self {
        Self::register_in(self.directory.clone())
    }

    fn register_in(directory: DirectoryName) -> Self {
        let mut open = lock();
        while open.get(&directory).is_some_and(|here| here.raw > 0) {
            open = RAW_ACCESS_ENDED.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        let here = open.entry(directory.clone()).or_default();
        let guard = here.next_guard;
        here.next_guard += 1;
        here.guards.insert(guard);
        Self { directory, guard }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut open = lock();
        if let Some(here) = open.get_mut(&self.directory) {
            here.guards.remove(&self.guard);
            for (_, guards) in &mut here.kept_open {
                guards.remove(&self.guard);
            }
            // Closed under the lock: no guard can be registered in between.
            here.kept_open.retain(|(_, guards)| !guards.is_empty());
            if here.is_unused() {
                open.remove(&self.directory);
            }
        }
    }
}

/// Permission to open and close the files of a database without SQLite, while no connection of this process
/// has it open. Keep it until the file is closed, and keep it short: opening the database waits for it.
pub(crate) struct RawAccess(DirectoryName);

impl RawAccess {
    /// Returns `None` if this process has the database open.
    pub(crate) fn begin(files: &Files) -> Option<Self> {
        let directory = DirectoryName::of(files.directory());
        let mut open = lock();
        let here = open.entry(directory.clone()).or_default();
        if !here.guards.is_empty() {
            return None;
        }
        here.raw += 1;
        Some(Self(directory))
    }
}

impl Drop for RawAccess {
    fn drop(&mut self) {
        let mut open = lock();
        if let Some(here) = open.get_mut(&self.0) {
            here.raw -= 1;
            if here.is_unused() {
                open.remove(&self.0);
            }
        }
        drop(open);
        RAW_ACCESS_ENDED.notify_all();
    }
}

/// A file of a database, opened without SQLite for reading. After its drop it stays open until the
/// connections that may share its locks are closed.
#[derive(Debug)]
pub(crate) struct KeptFile {
    /// `None` only during the drop.
    file: Option<File>,
    directory: DirectoryName,
}

impl KeptFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let directory = DirectoryName::of(path.parent().unwrap_or(Path::new(".")));
        Ok(Self { file: Some(File::open(path)?), directory })
    }
}

impl Deref for KeptFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("it is taken only by the drop")
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let mut open = lock();
        match open.get_mut(&self.directory) {
            Some(here) if !here.guards.is_empty() => {
                let guards = here.guards.clone();
                here.kept_open.push((file, guards));
            }
            // Under the lock: no connection can be opened before the file is closed.
            _ => drop(file),
        }
    }
}

impl OpenHere {
    /// Files are kept open only for guards, so there are none without a guard.
    fn is_unused(&self) -> bool {
        self.guards.is_empty() && self.raw == 0
    }
}

impl DirectoryName {
    fn of(directory: &Path) -> Self {
        match FileId::at(directory) {
            Ok(id) if id.is_known() => Self::Id(id),
            _ => Self::Path(directory.canonicalize().unwrap_or_else(|_| directory.to_owned())),
        }
    }
}

fn lock() -> MutexGuard<'static, HashMap<DirectoryName, OpenHere>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn c11_a_raw_access_and_a_guard_exclude_each_other() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let access = RawAccess::begin(&files).expect("nothing is open");
        std::thread::scope(|scope| {
            let registered = scope.spawn(|| Presence::register(&files));
            drop(access);
            let presence = registered.join().expect("no panic");
            assert!(RawAccess::begin(&files).is_none(), "it is open here");
            drop(presence);
        });
        assert!(RawAccess::begin(&files).is_some());
    }

    #[cfg(unix)]
    #[test]
    fn c11_a_symbolic_link_to_the_directory_is_no_other_directory() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::create_dir(&real).expect("creates");
        std::os::unix::fs::symlink(&real, &link).expect("links");
        let _presence = Presence::register(&Files::new(&real).expect("an absolute path"));
        assert!(RawAccess::begin(&Files::new(&link).expect("an absolute path")).is_none());
    }

    #[test]
    fn c11_a_kept_file_is_closed_after_the_guards_before_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        fs::write(files.database(), "x").expect("writes");
        let name = DirectoryName::of(files.directory());
        let kept = || lock().get(&name).map_or(0, |here| here.kept_open.len());
        let first = Presence::register(&files);
        drop(KeptFile::open(&files.database()).expect("opens"));
        let second = first.renew();
        assert_eq!(kept(), 1);
        drop(first);
        assert_eq!(kept(), 0, "it does not wait for a guard that was registered later");
        drop(second);
        drop(KeptFile::open(&files.database()).expect("opens"));
        assert_eq!(kept(), 0);
    }
}
