use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_core::Result;

use crate::{error::failed_on, format::files};

/// The temporary files and directories of this process.
static TEMPORARY: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Attempts to delete a directory in which another thread may just be creating a file.
const ATTEMPTS: usize = 8;

/// Names that were left by killed processes of the same id, and are passed over.
const MAX_LEFT_OVER: u64 = 10_000;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory that only this user can read, or a reserved name. It is deleted when this is dropped.
#[derive(Debug)]
pub(super) struct Temporary(PathBuf);

impl Temporary {
    /// Creates a directory in `parent` that no other process and no other call has.
    pub(super) fn create(parent: &Path, prefix: &str) -> Result<Self> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{prefix}-{}-{number}", process::id()));
            // Under the lock, so that `remove_temporary_files` sees either no directory or a registered one.
            let mut all = lock();
            match builder.create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_LEFT_OVER => {}
                created => {
                    created.map_err(failed_on("create the directory", &path))?;
                    all.insert(path.clone());
                    return Ok(Self(path));
                }
            }
        }
    }

    /// Reserves a name by an empty file, where a file can only be renamed by replacing another one.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if a file has the name.
    pub(super) fn reserve(path: &Path) -> io::Result<Self> {
        let mut all = lock();
        OpenOptions::new().write(true).create_new(true).open(path)?;
        all.insert(path.to_owned());
        Ok(Self(path.to_owned()))
    }

    /// Gives a file the reserved name. It is not temporary any more.
    ///
    /// # Errors
    ///
    /// If it cannot be renamed. Then the name is free again.
    pub(super) fn become_file(self, from: &Path) -> io::Result<()> {
        // Under the lock, so that `remove_temporary_files` does not delete the complete file.
        let mut all = lock();
        files::rename(from, &self.0)?;
        all.remove(&self.0);
        Ok(())
    }

    /// Deletes it now, where the system deletes files that are open.
    pub(super) fn delete_early(&self) {
        if cfg!(unix) {
            delete(&self.0);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let is_temporary = lock().contains(&self.0);
        if is_temporary {
            delete(&self.0);
            lock().remove(&self.0);
        }
    }
}

/// Deletes the temporary files of this process: private copies of databases, and unfinished backups.
///
/// Each is deleted when the call that made it returns. This is for a process that ends earlier, because of a
/// signal: call it from a thread that waits for signals (not from a signal handler), and end the process. A
/// call in progress fails.
pub fn remove_temporary_files() {
    let all = lock();
    for path in &*all {
        delete(path);
    }
}

fn delete(path: &Path) {
    for _ in 0..ATTEMPTS {
        // Neither failure can be reported. What is left is in the directory for temporary files, which the
        // system cleans, or has a name that says what it is.
        let deleted = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).is_ok(),
            Ok(metadata) if metadata.len() == 0 => fs::remove_file(path).is_ok(),
            // A reserved name that another program has taken for its own.
            Ok(_) => true,
            Err(_) => true,
        };
        if deleted {
            return;
        }
    }
}

fn lock() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}
