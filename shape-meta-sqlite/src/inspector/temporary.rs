use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_core::Result;

use crate::error::failed_on;

/// The temporary files and directories of this process.
static TEMPORARY: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Attempts to delete a directory in which another thread may just be creating a file.
const ATTEMPTS: usize = 8;

/// Names that were left by killed processes of the same id, and are passed over.
const MAX_LEFT_OVER: u64 = 10_000;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory that is deleted when this is dropped. Only this user can read it.
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
        delete(&self.0);
        lock().remove(&self.0);
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
            Ok(_) => fs::remove_file(path).is_ok(),
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
