use std::{
    fs::File,
    path::{self, Path, PathBuf},
};

use shape_meta_core::Result;

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

    /// Returns whether the database has a WAL or a journal.
    pub(crate) fn has_companions(&self) -> bool {
        COMPANIONS.iter().any(|suffix| self.companion(suffix).symlink_metadata().is_ok())
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

/// Returns the size of a file; 0 if it is missing.
pub(crate) fn size(path: &Path) -> std::io::Result<u64> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
