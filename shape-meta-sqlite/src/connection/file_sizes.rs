use std::sync::atomic::{AtomicU64, Ordering};

/// The sizes of the files of a database, for gauges: read from memory, without waiting for the writer or the
/// disk. They are those of the latest commit, which looks at the files in any case, or of a later close of
/// the writer.
#[derive(Debug, Default)]
pub(crate) struct FileSizes {
    database: AtomicU64,
    wal: AtomicU64,
}

impl FileSizes {
    pub(crate) fn set(&self, database: u64, wal: u64) {
        self.database.store(database, Ordering::Relaxed);
        self.wal.store(wal, Ordering::Relaxed);
    }

    /// Returns the sizes of the database and of its WAL, in bytes.
    pub(crate) fn get(&self) -> (u64, u64) {
        (self.database.load(Ordering::Relaxed), self.wal.load(Ordering::Relaxed))
    }
}
