use std::path::{Path, PathBuf};

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

    pub(crate) fn lock(&self) -> PathBuf {
        self.directory.join("shape-meta.lock")
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
