use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    path::{self, Path, PathBuf},
};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::error::failed_on;

/// The paths of the files in the directory of a store.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

/// The suffixes that SQLite appends to the name of a database: the WAL, the index of the WAL, and the
/// rollback journal. They belong to the database; without them it may lack commits.
pub(crate) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Files {
    /// The path is made absolute here, once: a later change of the working directory changes nothing (C13).
    /// Symbolic links in it are followed at each use of a file, so that a link to another directory leads to
    /// another database, which the identities tell from ours.
    ///
    /// # Errors
    ///
    /// `Io` if the working directory is needed and cannot be read.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        // The empty path is the working directory, too.
        let named = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let directory = path::absolute(named).map_err(failed_on("find the working directory for", named))?;
        Ok(Self { directory })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join("shape-meta.sqlite3")
    }

    /// A rebuilt database that is not complete yet.
    pub(crate) fn salvaging(&self) -> PathBuf {
        self.companion("-salvaging")
    }

    /// A rebuilt database that is complete and synced, before it gets the name of the database.
    pub(crate) fn salvaged(&self) -> PathBuf {
        self.companion("-salvaged")
    }

    /// Returns the names of all files in the directory. What is not among them is missing; an error of some
    /// other operation is no proof of that.
    pub(crate) fn names(&self) -> Result<HashSet<OsString>> {
        fs::read_dir(self.directory())
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
            .map_err(failed_on("list", self.directory()))
    }

    /// Syncs the directory, so that renames survive a power loss.
    pub(crate) fn sync_directory(&self) -> Result<()> {
        let directory = self.directory();
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed_on("sync", directory))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.directory.join("shape-meta.lock")
    }

    /// The lock file that a take-over prepares, before it replaces the one of the live owner.
    pub(crate) fn lock_of_process(&self, process: u32) -> PathBuf {
        self.directory.join(format!("shape-meta.lock-{process}"))
    }

    pub(crate) fn companion(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("shape-meta.sqlite3{suffix}"))
    }
}

/// Returns the path with a suffix appended to its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Creates an empty file that only this process's user can use. It never follows a link, nor uses a file that
/// is there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the path of a file with all links to its directory resolved.
pub(crate) fn resolved(file: &Path) -> io::Result<PathBuf> {
    match (file.parent(), file.file_name()) {
        (Some(directory), Some(name)) => Ok(directory.canonicalize()?.join(name)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Gives a new file the mode of another file and, where the process may, its owner: what root repairs or
/// backs up stays the service's. Without the right the file keeps the owner of this process, which has to use
/// it. Works on the open file: the service may put a link to any file of the system under its name.
pub(crate) fn keep_owner_and_mode(of: &Path, on: &File) -> io::Result<()> {
    let metadata = of.symlink_metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let now = on.metadata()?;
        let differing = |wanted: u32, now: u32| (wanted != now).then_some(wanted);
        let owner = differing(metadata.uid(), now.uid());
        let group = differing(metadata.gid(), now.gid());
        for (owner, group) in [(owner, None), (None, group)] {
            match fchown(on, owner, group) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                changed => changed?,
            }
        }
    }
    on.set_permissions(metadata.permissions())
}

/// Returns the size of a file; 0 if it is missing.
///
/// # Errors
///
/// Those of the file system, also for a name that exists and leads nowhere.
pub(crate) fn size(path: &Path) -> io::Result<u64> {
    match if_present(path.symlink_metadata())? {
        Some(link) if link.is_symlink() => Ok(path.metadata()?.len()),
        Some(file) => Ok(file.len()),
        None => Ok(0),
    }
}

/// Returns the outcome of an operation on a name; `None` if nothing has the name. Needs no look before it,
/// after which a file could be gone: a WAL comes and goes while its owner works. The operation must not
/// follow links, or the name be known to be none: otherwise a link that leads nowhere has the same code.
pub(crate) fn if_present<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether a file, a directory or a link has this name.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    let found = if_present(path.symlink_metadata()).map_err(failed_on("look at", path))?;
    Ok(found.is_some())
}

/// Gives a file a name that no other file has. The owner lock must be held, and `to` must be a name that only
/// owners use: the standard library cannot rename without replacing in one step.
///
/// # Errors
///
/// `Configuration` if a file has the new name. Then nothing has changed, nor after any other error.
pub(crate) fn move_file(doing: &'static str, from: &Path, to: &Path) -> Result<()> {
    if exists(to)? {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!(
                "could not {doing} {}: its new name {} is taken; nothing was overwritten. Move that file away",
                from.display(),
                to.display()
            ),
        ));
    }
    rename(from, to).map_err(failed_on(doing, from))
}

/// Deletes a file, if it exists.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match exists(path)? {
        true => remove_file(path).map_err(failed_on("remove", path)),
        false => Ok(()),
    }
}

#[cfg(not(test))]
pub(crate) use std::fs::{remove_file, rename};

#[cfg(test)]
pub(crate) use failing::{FailingFiles, remove_file, rename};

/// File operations that fail at a chosen step, in one thread.
#[cfg(test)]
mod failing {
    use std::{cell::RefCell, fs, io, path::Path};

    thread_local! {
        static STEPS: RefCell<Option<FailingFiles>> = const { RefCell::new(None) };
    }

    /// From which operation on, and for how many of them, this thread gets an error.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct FailingFiles {
        pub(crate) after: u32,
        pub(crate) failures: u32,
        pub(crate) error: io::ErrorKind,
    }

    impl FailingFiles {
        /// Runs `work` with these failures. Returns whether there was one.
        pub(crate) fn during<T>(self, work: impl FnOnce() -> T) -> (T, bool) {
            STEPS.set(Some(self));
            let outcome = work();
            let left = STEPS.take().map_or(0, |steps| steps.failures);
            (outcome, left < self.failures)
        }
    }

    fn step() -> io::Result<()> {
        STEPS.with_borrow_mut(|steps| match steps {
            Some(steps) if steps.after == 0 && steps.failures > 0 => {
                steps.failures -= 1;
                Err(steps.error.into())
            }
            Some(steps) => {
                steps.after = steps.after.saturating_sub(1);
                Ok(())
            }
            None => Ok(()),
        })
    }

    pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        step().and_then(|()| fs::rename(from, to))
    }

    pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
        step().and_then(|()| fs::remove_file(path))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// Calls `look` while a file comes and goes, as the WAL of an owner above its limit of connections.
    pub(crate) fn while_a_file_comes_and_goes(look: impl Fn(&Path)) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (path, done) = (directory.path().join("file"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    fs::write(&path, "12345").expect("writes");
                    fs::remove_file(&path).expect("deletes");
                }
            });
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                (0..100_000).for_each(|_| look(&path));
            }));
            done.store(true, Ordering::Release);
            looked.expect("no look failed");
        });
    }

    #[test]
    fn c6_a_file_that_comes_and_goes_has_a_size() {
        while_a_file_comes_and_goes(|path| assert!(matches!(size(path), Ok(0 | 5))));
    }

    #[cfg(unix)]
    #[test]
    fn c6_a_link_has_the_size_of_its_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let [file, link] = ["file", "link"].map(|name| directory.path().join(name));
        std::os::unix::fs::symlink(&file, &link).expect("links");
        assert!(size(&link).is_err(), "it leads nowhere");
        fs::write(&file, "12345").expect("writes");
        assert_eq!(size(&link).expect("reads"), 5);
    }
}
