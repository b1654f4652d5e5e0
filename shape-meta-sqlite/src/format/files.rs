use std::{
    fs::File,
    path::{Path, PathBuf},
};

use shape_meta_core::Result;

use crate::error::failed_on;

/// The names of what lies in the directory of a store.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

/// What SQLite appends to the name of a database for the files beside it: its log, the log's index, and
/// the rollback journal. The log belongs to the database; one without the other is not whole.
pub(crate) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Files {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join("shape-meta.sqlite3")
    }

    /// A database on its way: what could be saved of a damaged one.
    pub(crate) fn salvaging(&self) -> PathBuf {
        self.companion("-salvaging")
    }

    /// The same once it is whole.
    pub(crate) fn salvaged(&self) -> PathBuf {
        self.companion("-salvaged")
    }

    /// Whether a log or a journal lies there.
    pub(crate) fn has_companions(&self) -> bool {
        COMPANIONS.iter().any(|suffix| self.companion(suffix).symlink_metadata().is_ok())
    }

    /// Makes the names in the directory survive a power loss, as the files themselves do.
    pub(crate) fn sync_directory(&self) -> Result<()> {
        let directory = self.directory();
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed_on("sync", directory))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.directory.join("shape-meta.lock")
    }

    /// A lock on its way to the place of another one's.
    pub(crate) fn lock_of_process(&self, process: u32) -> PathBuf {
        self.directory.join(format!("shape-meta.lock-{process}"))
    }

    pub(crate) fn companion(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("shape-meta.sqlite3{suffix}"))
    }
}

/// The size of a file; nothing if it is not there.
pub(crate) fn size(path: &Path) -> std::io::Result<u64> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
