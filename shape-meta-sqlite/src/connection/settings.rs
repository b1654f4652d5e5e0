use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, limits::Limit};
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    Mode, SqliteOptions,
    error::failed,
    format::{compat, schema},
};

/// Enough for every statement there is, so that none is ever prepared twice on a connection.
const STATEMENTS: usize = 64;

/// How every connection of one store is opened.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The database file; `None` for a database in memory.
    pub(crate) path: Option<PathBuf>,
    pub(crate) options: SqliteOptions,
    /// Whether somebody else writes it, who may be of an earlier version.
    pub(crate) standby: bool,
}

impl Settings {
    /// Whether reads have connections of their own.
    pub(crate) fn has_readers(&self) -> bool {
        self.path.is_some() && self.options.mode == Mode::Wal
    }

    /// The first connection of a store: the only one that may create the file.
    pub(crate) fn create(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        self.open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Makes a connection whose file has been found good the writer.
    pub(crate) fn make_writer(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.configure(connection, self.options.cache_bytes)?;
        let page_size: u64 =
            connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?.cast_unsigned();
        let checkpoint =
            i64::try_from((self.options.checkpoint_bytes / page_size).max(1)).unwrap_or(i64::MAX);
        let synchronous = self.options.durability.synchronous(self.options.mode);
        connection.pragma_update(None, "synchronous", synchronous)?;
        if self.path.is_some() {
            set(connection, "wal_autocheckpoint", checkpoint)?;
            // A log that a long scan let grow is cut back once it can be.
            let limit = i64::try_from(self.options.checkpoint_bytes.saturating_mul(4)).unwrap_or(i64::MAX);
            set(connection, "journal_size_limit", limit)?;
        }
        if let Some(bytes) = self.options.max_row_bytes {
            let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
            connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bytes)?;
        }
        Ok(())
    }

    /// A writer again, after one was given up. It never creates: if the file is gone, that is a failure.
    pub(crate) fn reopen_writer(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        let connection = self.open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.make_writer(&connection)?;
        Ok(connection)
    }

    /// One more connection for reading. It cannot write, whatever is run on it.
    pub(crate) fn open_reader(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        let connection = self.open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        self.configure(&connection, self.options.reader_cache_bytes)?;
        if self.standby {
            compat::shadow(&connection, schema::version(&connection)?)?;
        }
        Ok(connection)
    }

    fn open(&self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        // Each connection has one user at a time: the pool and the writer's lock see to that.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self.options.vfs.as_deref() {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
            None => Connection::open_with_flags(path, flags)?,
        };
        connection.busy_timeout(self.options.busy_timeout)?;
        if self.options.mode == Mode::Exclusive {
            // Before the file is first read, so that not even a log's index is put in shared memory.
            set(&connection, "locking_mode", "EXCLUSIVE")?;
        }
        Ok(connection)
    }

    fn configure(&self, connection: &Connection, cache_bytes: u64) -> rusqlite::Result<()> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        set_cache(connection, cache_bytes)?;
        set(connection, "temp_store", "MEMORY")?;
        set(connection, "trusted_schema", false)
    }
}

/// At most so many bytes of pages are kept in memory.
pub(crate) fn set_cache(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    // Negative means KiB rather than pages.
    let cache = i64::try_from(bytes / 1024).unwrap_or(i64::MAX).max(1);
    set(connection, "cache_size", -cache)
}

/// Sets a pragma, whether or not it answers with a row.
pub(crate) fn set(connection: &Connection, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    })
}

/// Sets the journal mode of a file.
pub(crate) fn set_journal_mode(connection: &Connection, mode: Mode) -> Result<()> {
    let wanted = match mode {
        Mode::Wal => "wal",
        // In exclusive locking the journal is kept and its header overwritten, whatever the name says.
        Mode::Exclusive => "delete",
    };
    let got: String = connection
        .pragma_update_and_check(None, "journal_mode", wanted, |row| row.get(0))
        .map_err(failed("set the journal mode"))?;
    if got == wanted {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Configuration,
        format!(
            "the file system does not allow the journal mode {wanted:?} (it stays {got:?}); use \
             `Mode::Exclusive` there"
        ),
    ))
}
