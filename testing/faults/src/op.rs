use rusqlite::ffi;

/// What SQLite asks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Open a file, or make one.
    Open,
    /// Delete a file.
    Delete,
    /// Ask whether a file is there.
    Access,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Cut a file short.
    Truncate,
    /// Sync a file.
    Sync,
    /// Ask for the size of a file.
    Size,
    /// Lock a file.
    Lock,
    /// Map the shared memory of a log.
    ShmMap,
    /// Lock a part of that shared memory.
    ShmLock,
}

impl Op {
    /// All of them.
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

    /// Whether it changes what is on the disk, or what is safe there.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Delete | Self::Write | Self::Truncate | Self::Sync)
    }

    /// What SQLite is told when the disk fails at it.
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
