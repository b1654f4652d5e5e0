use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, limits::Limit};
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    Mode, SqliteOptions,
    error::failed,
    format::{cleanup, compat, schema},
};

/// The capacity of the statement cache: more than there are statements, so none is prepared twice on a
/// connection.
const STATEMENTS: usize = 64;

/// Opens and configures the connections of one store.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The database file; `None` for a database in memory.
    pub(crate) path: Option<PathBuf>,
    pub(crate) options: SqliteOptions,
    /// Whether another process owns the database, perhaps with an earlier schema version.
    pub(crate) standby: bool,
}

impl Settings {
    /// Whether reads have connections of their own, in a pool.
    pub(crate) fn has_readers(&self) -> bool {
        self.path.is_some() && self.options.mode == Mode::Wal
    }

    /// Opens the first connection of a store, which is the only one that may create the file.
    pub(crate) fn create(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        self.open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens an empty file that this process has just created. Follows no link, neither in place of the file
    /// nor in its path, which must be resolved: another user may have put one there since.
    pub(crate) fn open_created(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        self.open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW)
    }

    /// Configures a connection, whose file is verified, as the writer.
    pub(crate) fn make_writer(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.configure(connection, self.options.cache_bytes)?;
        let page_size: u64 =
            connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?.cast_unsigned();
        let checkpoint =
            i32::try_from((self.options.checkpoint_bytes / page_size).max(1)).unwrap_or(i32::MAX);
        let synchronous = self.options.durability.synchronous(self.options.mode);
        connection.pragma_update(None, "synchronous", synchronous)?;
        if self.path.is_some() {
            set(connection, "wal_autocheckpoint", checkpoint)?;
            // A WAL that grew during a long scan is truncated at the next checkpoint.
            let limit = i64::try_from(self.options.checkpoint_bytes.saturating_mul(4)).unwrap_or(i64::MAX);
            set(connection, "journal_size_limit", limit)?;
        }
        cleanup::register(connection)?;
        if let Some(bytes) = self.options.max_row_bytes {
            let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
            connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bytes)?;
        }
        Ok(())
    }

    /// Opens the writer again. Never creates the file: it fails if the file is gone.
    pub(crate) fn reopen_writer(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        let connection = self.open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.make_writer(&connection)?;
        Ok(connection)
    }

    /// Opens a reader, which SQLite does not allow to write.
    pub(crate) fn open_reader(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        let connection = self.open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        self.configure(&connection, self.options.reader_cache_bytes)?;
        if self.standby {
            compat::shadow(&connection, schema::version(&connection)?)?;
        }
        Ok(connection)
    }

    /// Opens the database file without its WAL, for a moment. SQLite takes no lock then, nor writes anything,
    /// and because SQLite opens and closes the file itself, the locks of the other connections stay.
    pub(crate) fn open_main_file(&self) -> rusqlite::Result<Connection> {
        let Some(path) = &self.path else { return Connection::open_in_memory() };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        self.connect(Path::new(&immutable_uri(path)), flags)
    }

    fn open(&self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let connection = self.connect(path, flags)?;
        connection.busy_timeout(self.options.busy_timeout)?;
        if self.options.mode == Mode::Exclusive {
            // Set before the file is first read, so that not even the index of a WAL is put in shared memory.
            set(&connection, "locking_mode", "EXCLUSIVE")?;
        }
        Ok(connection)
    }

    fn connect(&self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        // A connection has one user at a time: the pool and the lock of the writer guarantee that.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match self.options.vfs.as_deref() {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
            None => Connection::open_with_flags(path, flags),
        }
    }

    fn configure(&self, connection: &Connection, cache_bytes: u64) -> rusqlite::Result<()> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        set_cache(connection, cache_bytes)?;
        set(connection, "temp_store", "MEMORY")?;
        set(connection, "trusted_schema", false)
    }
}

/// Returns the URI by which SQLite opens the file as one that does not change. All bytes but a few are
/// escaped, so a path that is not UTF-8 stays what it is.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    if cfg!(windows) {
        // A drive is the first part of the path of a URI.
        uri.push('/');
    }
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'/' | b':' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?immutable=1"
}

/// Sets the maximum size of the page cache, in bytes.
pub(crate) fn set_cache(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    // A negative number is in KiB, a positive one in pages. SQLite reads a number beyond 32 bits as zero.
    let cache = i32::try_from(bytes / 1024).unwrap_or(i32::MAX).max(1);
    set(connection, "cache_size", -cache)
}

/// Sets a pragma, whether or not it returns a row.
pub(crate) fn set(connection: &Connection, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    })
}

/// Deletes the journal of an earlier connection, so that the next transaction begins a new file. Nothing is
/// done to a database with a WAL.
///
/// Exclusive locking keeps the journal, and ends it by overwriting its header. If that could not be synced,
/// the old header may be back after a power loss, and the next transaction would have overwritten a part of
/// what it describes.
pub(crate) fn delete_old_journal(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    // SQLite deletes the journal on this change, under its lock and only without exclusive locking.
    set(connection, "locking_mode", "NORMAL")?;
    set(connection, "journal_mode", "PERSIST")?;
    set(connection, "journal_mode", "DELETE")?;
    set(connection, "locking_mode", "EXCLUSIVE")
}

/// Sets the journal mode of a database file.
///
/// # Errors
///
/// `Configuration` if the file system does not support it.
pub(crate) fn set_journal_mode(connection: &Connection, mode: Mode) -> Result<()> {
    let wanted = match mode {
        Mode::Wal => "wal",
        // With exclusive locking SQLite keeps the journal and overwrites its header, despite the name of the
        // mode.
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
            "the file system does not support the journal mode {wanted:?} (it stays {got:?}); use \
             `Mode::Exclusive` there"
        ),
    ))
}
