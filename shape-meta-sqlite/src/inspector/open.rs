use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use shape_meta_core::{Error, ErrorKind, Result, ScanItem, Timestamp, store_parts::lookup_hash};

use super::{copy, temporary::Temporary};
use crate::{
    DiskIndexes, QueryPlan,
    error::{failed, failed_on, kind_of},
    format::{
        block::BlockReader,
        compat,
        files::{self, Files},
        meta::Meta,
        migrate, query, row, schema, sql,
    },
    maintenance::query_plans,
    open::header::{self, FileState},
    ownership::{
        file_id::FileId,
        lock::{SharedAttempt, SharedLock},
        presence::Presence,
    },
    read::last_reads,
};

/// Read-only access to a database without ownership, for tools.
///
/// A connection of SQLite that may only read, with SQLite's own locks: a live owner goes on, and only its WAL
/// cannot be reset during a long read. Each call shows what was committed when it began. No byte of the
/// database or of its WAL changes; SQLite may leave an empty `-wal` and its index `-shm` next to the
/// database, which belong to it. Reads databases of every released schema version.
///
/// If reading would have to change the database first (a journal that must be rolled back, a directory in
/// which no `-shm` can be created), a private temporary copy is read, which is made under the owner's lock.
pub struct Inspector {
    pub(super) connection: Connection,
    pub(super) files: Files,
    pub(super) version: u32,
    /// The file that was opened.
    source: FileId,
    /// The temporary copy, if one is read. Dropped after the connection.
    _copy: Option<Temporary>,
    /// Dropped after the connection.
    _presence: Presence,
}

impl Inspector {
    /// Opens the database in the directory.
    ///
    /// # Errors
    ///
    /// `Configuration` if the directory has no database, or one whose creation is not finished.
    /// `NotADatabase` or `UnsupportedSchema` if this version cannot read it. `Busy` if a live owner locks it
    /// ([`Mode::Exclusive`](crate::Mode::Exclusive)). `Corrupt` if its schema cannot be read.
    pub fn open(directory: &Path) -> Result<Self> {
        let files = Files::new(directory)?;
        let state = header::inspect(&files)?;
        Self::open_as(files, state).map_err(|error| match state {
            FileState::DamagedHeader => damaged_header(error),
            _ => error,
        })
    }

    fn open_as(files: Files, state: FileState) -> Result<Self> {
        match state {
            // A damaged header may still allow reads, and `verify` reports the damage.
            FileState::Database | FileState::Doubtful | FileState::DamagedHeader => {}
            FileState::Missing if files::exists(&files.salvaged())? => {
                let message = "a repair was interrupted after it had moved the damaged database aside; its result \
                     is complete. Open the store, or run `repair`, to finish it";
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            FileState::Missing => {
                let message = format!(
                    "{} holds no database; name the directory that the store was opened with",
                    files.directory().display()
                );
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            FileState::WalWithoutDatabase => {
                let message = "the database file is missing, but its WAL exists and stays \
                     unchanged; `repair` salvages its rows";
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        let presence = Presence::register(&files);
        let source = source(&files)?;
        let (connection, copy) = match connect(&files.database()) {
            Ok(connection) => (connection, None),
            Err(error) if needs_copy(&error) => {
                let (connection, copy) = copy::open(&files)?;
                configure(&connection).map_err(failed("read a copy of the database"))?;
                (connection, Some(copy))
            }
            Err(error) if kind_of(&error) == ErrorKind::Busy => return Err(locked(&files, error)),
            Err(error) => return Err(failed(format!("open {}", files.database().display()))(error)),
        };
        let mut inspector = Self { connection, files, version: 0, source, _copy: copy, _presence: presence };
        inspector.version = inspector.identify()?;
        Ok(inspector)
    }

    /// Returns the schema version.
    fn identify(&self) -> Result<u32> {
        let operation = "read the database";
        let version = schema::version(&self.connection).map_err(failed(operation))?;
        if version == 0 && schema::is_empty(&self.connection).map_err(failed(operation))? {
            let message = format!(
                "the creation of the database in {} is not finished: its owner is still creating it or was killed \
                 while it did, and no shape was ever in it; nothing was changed. Opening a store there completes it",
                self.files.directory().display()
            );
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        migrate::refuse_newer(version)?;
        let application = schema::application_id(&self.connection).map_err(failed(operation))?;
        header::refuse_foreign(&self.files, application)?;
        compat::shadow(&self.connection, version).map_err(failed(operation))?;
        Ok(version)
    }

    /// Checks that the file that was read still has the name of the database. Call it before you rely on what
    /// was read: a repair may have replaced the file meanwhile.
    ///
    /// # Errors
    ///
    /// `Busy` if the file was replaced.
    pub fn finish(self) -> Result<()> {
        if source(&self.files)? == self.source { Ok(()) } else { Err(replaced()) }
    }

    /// Returns the directory of the database.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// Calls `each` with every shape and its definition, oldest first, until `each` returns `false`.
    ///
    /// A damaged shape is passed as an error, and the scan goes on. Shapes whose rows are missing are passed
    /// as one error at the end.
    ///
    /// # Errors
    ///
    /// An error if the scan cannot go on.
    pub fn scan(&self, mut each: impl FnMut(Result<ScanItem>) -> bool) -> Result<()> {
        let transaction = self.snapshot("read the database")?;
        let (mut rows, mut goes_on) = (0, true);
        self.select("", [0], |item| {
            rows += 1;
            goes_on = each(item);
            goes_on
        })?;
        if goes_on && let Err(missing) = Meta::read(&transaction)?.check_total(rows) {
            each(Err(missing));
        }
        Ok(())
    }

    /// Returns the shape with this handle. Reads all rows if the database has no disk indexes.
    ///
    /// # Errors
    ///
    /// An error if the database cannot be read or the shape is damaged.
    pub fn find(&self, handle: &str) -> Result<Option<ScanItem>> {
        let disk_indexes = self.disk_indexes()?;
        let mut found = None;
        let take = |item: Result<ScanItem>| {
            found = Some(item);
            false
        };
        match disk_indexes {
            DiskIndexes::Maintained => {
                let condition =
                    "AND shape.id IN (SELECT id FROM handle_lookup WHERE hash = ?3) AND shape.handle = ?2";
                self.select(condition, rusqlite::params![0, handle, lookup_hash::handle(handle)], take)?;
            }
            DiskIndexes::Omitted => {
                self.select("AND shape.handle = ?2", rusqlite::params![0, handle], take)?;
            }
        }
        found.transpose()
    }

    /// Calls `each` with the shapes that meet a condition, oldest first, until it returns `false`.
    fn select(
        &self,
        condition: &str,
        params: impl rusqlite::Params,
        mut each: impl FnMut(Result<ScanItem>) -> bool,
    ) -> Result<()> {
        let last_read = "(SELECT at FROM last_read WHERE last_read.id = shape.id)";
        let sql = sql::SCAN.replacen("FROM shape", &format!(", {last_read} FROM shape"), 1);
        let sql = sql.replacen("ORDER BY", &format!("{condition} ORDER BY"), 1);
        let (now, mut blocks) = (Timestamp::now(), BlockReader::default());
        query::each(&self.connection, &sql, params, |found| {
            let item = (|| {
                let at: Option<i64> =
                    found.get(row::DEFINITION + row::DEFINITION_COLUMNS).map_err(failed("read a row"))?;
                let at = at.filter(|at| *at != 0).map(|at| last_reads::stored_time(at, now).at);
                let entry = Arc::new(row::entry(found, |_| at)?);
                let metadata = entry.metadata();
                Ok(ScanItem {
                    record: Arc::new(row::record(found, row::DEFINITION, entry, &mut blocks)?),
                    metadata,
                })
            })();
            Ok(each(item))
        })
    }

    /// Returns whether the database has disk indexes.
    ///
    /// # Errors
    ///
    /// An error if the schema cannot be read.
    pub fn disk_indexes(&self) -> Result<DiskIndexes> {
        schema::disk_indexes(&self.connection).map_err(failed("read the schema"))
    }

    /// Returns the query plan of every statement that a store runs on this database.
    ///
    /// # Errors
    ///
    /// An error if SQLite cannot prepare a statement.
    pub fn query_plans(&self) -> Result<Vec<QueryPlan>> {
        let disk_indexes = self.disk_indexes()?;
        query_plans::plans(&self.connection, disk_indexes, self.version)
    }
}

/// Opens a connection that may only read, and reads the schema version with it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    schema::version(&connection)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -65_536)
}

/// Returns the error of a file whose first bytes are damaged, although the rest is ours.
fn damaged_header(error: Error) -> Error {
    let message = "the first bytes of the database are damaged, but the rest is ours; it was not changed. `repair` \
         carries all sound rows into a new database, and keeps this one";
    Error::new(ErrorKind::Corrupt, message).with_source(error)
}

/// Whether SQLite would have to write before it can read, and may not: the result codes `READONLY_ROLLBACK`
/// and `READONLY_RECOVERY`, and `CANTOPEN` for a WAL or its index in a directory that is not writable.
fn needs_copy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Returns the error of a file that is not the database any more.
pub(super) fn replaced() -> Error {
    Error::new(
        ErrorKind::Busy,
        "the database file was replaced while it was read, so the output shows a file that is not the database any \
         more; nothing was changed. Run the command again",
    )
}

pub(super) fn source(files: &Files) -> Result<FileId> {
    let path = files.database();
    FileId::at(&path).map_err(failed_on("read the identity of", &path))
}

/// Returns the error of a database that another connection has locked for longer than the busy time-out.
fn locked(files: &Files, error: rusqlite::Error) -> Error {
    let directory = files.directory().display();
    let message = match SharedLock::attempt(files) {
        Ok(SharedAttempt::Owned(owner)) => format!(
            "the database in {directory} is locked by its live owner ({owner}), which has it open in `Mode::Exclusive` \
             or is stopped inside a commit; nothing was changed. Ask the owner itself, or stop it first"
        ),
        _ => format!(
            "another program holds the database in {directory} locked; nothing was changed. Run the command again \
             when that program has ended"
        ),
    };
    Error::new(ErrorKind::Busy, message).with_source(error)
}
