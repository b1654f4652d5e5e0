use rusqlite::ffi;

/// An operation that SQLite calls on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Open or create a file.
    Open,
    /// Delete a file.
    Delete,
    /// Check whether a file exists.
    Access,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Truncate a file.
    Truncate,
    /// Sync a file.
    Sync,
    /// Read the size of a file.
    Size,
    /// Lock a file.
    Lock,
    /// Map the shared memory of a WAL.
    ShmMap,
    /// Lock a range of that shared memory.
    ShmLock,
}

impl Op {
    /// All operations.
    pub const ALL: [Self; 11] = [
        Self::Open,
        Self::Delete,
        Self::Access,
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::Sync,
        Self::Size,
        Self::Lock,
        Self::ShmMap,
        Self::ShmLock,
    ];

    /// Returns whether the operation changes files, or which of their content is synced.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Delete | Self::Write | Self::Truncate | Self::Sync)
    }

    /// Returns the extended code of an I/O error in this operation.
    pub(crate) fn io_error(self) -> i32 {
        match self {
            Self::Open => ffi::SQLITE_CANTOPEN,
            Self::Delete => ffi::SQLITE_IOERR_DELETE,
            Self::Access => ffi::SQLITE_IOERR_ACCESS,
            Self::Read => ffi::SQLITE_IOERR_READ,
            Self::Write => ffi::SQLITE_IOERR_WRITE,
            Self::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
            Self::Sync => ffi::SQLITE_IOERR_FSYNC,
            Self::Size => ffi::SQLITE_IOERR_FSTAT,
            Self::Lock => ffi::SQLITE_IOERR_LOCK,
            Self::ShmMap => ffi::SQLITE_IOERR_SHMMAP,
            Self::ShmLock => ffi::SQLITE_IOERR_SHMLOCK,
        }
    }
}
