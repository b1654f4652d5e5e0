use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags};
use shape_meta_core::{Error, ErrorKind, Result, ScanItem, Timestamp};

use crate::{
    DiskIndexes, QueryPlan,
    error::{failed, failed_on},
    format::{
        compat,
        files::{self, Files},
        migrate, prefix_hash, query, row, schema, sql,
    },
    maintenance::query_plans,
    open::header::{self, FileState},
    ownership::presence::Presence,
};

/// Read-only access to a database without ownership, for tools.
///
/// Writes to no file of the database. A live owner goes on; only its WAL cannot be reset during a long read.
/// Each call shows what was committed when it began. Reads databases of every released schema version.
pub struct Inspector {
    pub(super) connection: Connection,
    pub(super) files: Files,
    pub(super) version: u32,
    /// Directory of a temporary copy, if reading the original would change it.
    copy: Option<PathBuf>,
    /// State of the files at open, if they had no owner. SQLite reads them as immutable.
    immutable_since: Option<FileStamp>,
    /// Dropped after the connection.
    _presence: Presence,
}

/// Changes with every write to a database.
#[derive(PartialEq)]
struct FileStamp {
    /// The file change counter in the header of the database.
    change_counter: [u8; 4],
    database_bytes: u64,
    wal_bytes: u64,
}

/// Way of reading a database without changing its files.
enum Access {
    /// This process has the database open. SQLite's connections in one process share their locks, so a
    /// further one is safe; any other access to the file would release them.
    SameProcess,
    /// No process has the database open, and it has no WAL.
    Immutable,
    /// The database has a WAL and a WAL index, which are read without a change to the index.
    WithWal,
    /// A journal must be rolled back or a WAL index created, so a copy is read.
    Copy,
}

impl Inspector {
    /// Opens the database in the directory.
    ///
    /// # Errors
    ///
    /// `Configuration` if the directory has no database. `NotADatabase` or `UnsupportedSchema` if this
    /// version cannot read it. `Busy` if a live owner locks it ([`Mode::Exclusive`](crate::Mode::Exclusive)).
    /// `Corrupt` if its schema cannot be read.
    pub fn open(directory: &Path) -> Result<Self> {
        let files = Files::new(directory)?;
        match header::inspect(&files)? {
            // A damaged header may still allow reads, and `verify` reports the damage.
            FileState::Database | FileState::Doubtful | FileState::DamagedHeader => {}
            FileState::Missing => {
                let message = format!(
                    "{} holds no database; name the directory that the store was opened with",
                    directory.display()
                );
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            FileState::WalWithoutDatabase => {
                let message = "the database file is missing, but its WAL exists and stays \
                     unchanged; `repair` salvages its rows";
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        let database = files.database();
        let access = access(&files)?;
        let presence = Presence::register(&files);
        let (connection, copy, immutable_since) = match access {
            Access::SameProcess => (connect(&database, "", OpenFlags::SQLITE_OPEN_READ_ONLY)?, None, None),
            Access::Immutable => {
                let stamp = file_stamp(&files)?;
                (connect(&database, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?, None, Some(stamp))
            }
            Access::WithWal => {
                (connect(&database, "readonly_shm=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?, None, None)
            }
            Access::Copy => {
                let copy = copy(&files)?;
                let path = copy.join("shape-meta.sqlite3");
                (connect(&path, "", OpenFlags::SQLITE_OPEN_READ_WRITE)?, Some(copy), None)
            }
        };
        let mut inspector =
            Self { connection, files, version: 0, copy, immutable_since, _presence: presence };
        let version = schema::version(&inspector.connection).map_err(failed("read the database"))?;
        migrate::refuse_newer(version)?;
        let application =
            schema::application_id(&inspector.connection).map_err(failed("read the database"))?;
        header::refuse_foreign(&inspector.files, application)?;
        compat::shadow(&inspector.connection, version).map_err(failed("read the database"))?;
        inspector.version = version;
        Ok(inspector)
    }

    /// Checks that the database has not changed since it was opened, if it had no owner then. Call it before
    /// you rely on what was read: an owner may have opened the database meanwhile.
    ///
    /// # Errors
    ///
    /// `Busy` if the database has changed.
    pub fn finish(self) -> Result<()> {
        // A store of this process that opened the database meanwhile knows of this inspector (`Presence`),
        // and reads the file through SQLite only.
        match &self.immutable_since {
            Some(before) if file_stamp(&self.files)? != *before => Err(Error::new(
                ErrorKind::Busy,
                "an owner opened the database while it was read, so the output may be inconsistent; the database is \
                 unharmed. Run the command again",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the directory of the database.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// Calls `each` with every shape and its definition, oldest first, until `each` returns `false`.
    ///
    /// A damaged shape is passed as an error, and the scan goes on.
    ///
    /// # Errors
    ///
    /// An error if the scan cannot go on.
    pub fn scan(&self, each: impl FnMut(Result<ScanItem>) -> bool) -> Result<()> {
        self.select("", [0], each)
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
                self.select(condition, rusqlite::params![0, handle, prefix_hash::handle(handle)], take)?;
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
        query::each(&self.connection, &sql, params, |found| {
            let item = (|| {
                let at: Option<i64> = found.get(row::DEFINITION + 3).map_err(failed("read a row"))?;
                let at = at.filter(|at| *at > 0).map(|at| Timestamp::from_micros(at.cast_unsigned()));
                let entry = Arc::new(row::entry(found, |_| at)?);
                let metadata = entry.metadata();
                Ok(ScanItem { record: Arc::new(row::record(found, row::DEFINITION, entry)?), metadata })
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

impl Drop for Inspector {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            // On a failure the copy stays in the system's directory for temporary files, which the system
            // cleans.
            let _ = fs::remove_dir_all(copy);
        }
    }
}

fn access(files: &Files) -> Result<Access> {
    if Presence::is_open_here(files) {
        return Ok(Access::SameProcess);
    }
    let size = |suffix| {
        let path = files.companion(suffix);
        files::size(&path).map_err(failed_on("look at", &path))
    };
    let exists = |suffix| files.companion(suffix).symlink_metadata().is_ok();
    if size("-journal")? > 0 && is_hot(&files.companion("-journal"))? {
        return Ok(Access::Copy);
    }
    Ok(match (exists("-wal"), exists("-shm")) {
        (true, true) => Access::WithWal,
        (true, false) if size("-wal")? > 0 => Access::Copy,
        _ => Access::Immutable,
    })
}

/// Returns whether a journal must be rolled back. The journal of a finished transaction has a zeroed header.
fn is_hot(journal: &Path) -> Result<bool> {
    let mut first = [0; 1];
    let mut file = fs::File::open(journal).map_err(failed_on("open", journal))?;
    Ok(file.read_exact(&mut first).is_ok() && first != [0])
}

/// Opens a connection with URI parameters.
fn connect(path: &Path, parameters: &str, flags: OpenFlags) -> Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            other => uri += &format!("%{other:02X}"),
        }
    }
    let uri = format!("{uri}?{parameters}");
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let operation = format!("open {}", path.display());
    Connection::open_with_flags(uri, flags)
        .and_then(|connection| {
            connection.busy_timeout(std::time::Duration::from_secs(1))?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            connection.pragma_update(None, "cache_size", -65_536)?;
            Ok(connection)
        })
        .map_err(failed(operation))
}

fn file_stamp(files: &Files) -> Result<FileStamp> {
    let path = files.database();
    let mut change_counter = [0; 4];
    fs::File::open(&path)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(24))?;
            file.read_exact(&mut change_counter)
        })
        .map_err(failed_on("read", &path))?;
    let size = |path: &Path| files::size(path).map_err(failed_on("look at", path));
    Ok(FileStamp { change_counter, database_bytes: size(&path)?, wal_bytes: size(&files.companion("-wal"))? })
}

/// Copies the database, its WAL and its journal into a temporary directory.
fn copy(files: &Files) -> Result<PathBuf> {
    let unique = format!("shape-meta-{}-{}", std::process::id(), Timestamp::now().as_micros());
    let directory = std::env::temp_dir().join(unique);
    fs::create_dir(&directory).map_err(failed_on("create", &directory))?;
    for suffix in ["", "-wal", "-journal"] {
        let from = files.companion(suffix);
        if from.exists() {
            let to = Files::new(&directory)?.companion(suffix);
            fs::copy(&from, to).map_err(failed_on("copy", &from))?;
        }
    }
    Ok(directory)
}
