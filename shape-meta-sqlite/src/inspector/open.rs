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
        migrate, prefix_hash,
        query::each,
        row, schema, sql,
    },
    maintenance::query_plans,
    open::header::{self, FileState},
    ownership::presence::Presence,
};

/// Looks at a database without owning it: for tools. Nothing is written, neither to the database nor beside it;
/// a live owner goes on, and notices nothing but a log that cannot be reset while a long read is under way.
///
/// What it shows is what was committed when each call began. It reads databases of every released version.
pub struct Inspector {
    pub(super) connection: Connection,
    pub(super) files: Files,
    pub(super) version: u32,
    /// A copy that is read instead, because reading the original would change it.
    copy: Option<PathBuf>,
    /// The file as it was, if nobody owned it: SQLite was told that it does not change.
    unchanging: Option<Stamp>,
    /// Dropped after the connection.
    _presence: Presence,
}

/// What tells that somebody has written to a database.
#[derive(PartialEq)]
struct Stamp {
    counter: [u8; 4],
    bytes: u64,
    wal_bytes: u64,
}

enum Way {
    /// This process has it open: its connections share what they know of locks, and nobody may look at the file
    /// without them.
    Beside,
    /// Nobody has it open, and there is no log.
    Unchanging,
    /// With the log, and without a change to the log's index.
    WithLog,
    /// A journal has to be rolled back, or the index of a log to be made.
    Copy,
}

impl Inspector {
    /// Opens the database in this directory.
    ///
    /// # Errors
    ///
    /// `Configuration` if there is none, `NotADatabase` or `UnsupportedSchema` if it cannot be read by this version,
    /// `Busy` if its owner keeps it to itself ([`Mode::Exclusive`](crate::Mode::Exclusive)), `Corrupt` if not even
    /// its schema can be read.
    pub fn open(directory: &Path) -> Result<Self> {
        let files = Files::new(directory);
        match header::inspect(&files)? {
            // What is only read can be read all the same, and what is damaged is told by `verify`.
            FileState::Database | FileState::DamagedHeader => {}
            FileState::Missing => {
                let message = format!(
                    "there is no database in {}; name the directory that the store was opened with",
                    directory.display()
                );
                return Err(Error::new(ErrorKind::Configuration, message));
            }
            FileState::WalWithoutDatabase => {
                let message =
                    "there is a write-ahead log, but its database is missing; `repair` saves what is in it";
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        let database = files.database();
        let way = way(&files)?;
        let presence = Presence::register(&files);
        let (connection, copy, unchanging) = match way {
            Way::Beside => (connect(&database, "", OpenFlags::SQLITE_OPEN_READ_ONLY)?, None, None),
            Way::Unchanging => {
                let stamp = stamp(&files)?;
                (connect(&database, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?, None, Some(stamp))
            }
            Way::WithLog => {
                (connect(&database, "readonly_shm=1", OpenFlags::SQLITE_OPEN_READ_ONLY)?, None, None)
            }
            Way::Copy => {
                let copy = copy(&files)?;
                let path = copy.join("shape-meta.sqlite3");
                (connect(&path, "", OpenFlags::SQLITE_OPEN_READ_WRITE)?, Some(copy), None)
            }
        };
        let mut inspector = Self { connection, files, version: 0, copy, unchanging, _presence: presence };
        let version = schema::version(&inspector.connection).map_err(failed("read the database"))?;
        migrate::refuse_newer(version)?;
        let application =
            schema::application_id(&inspector.connection).map_err(failed("read the database"))?;
        header::refuse_foreign(&inspector.files, application)?;
        compat::shadow(&inspector.connection, version).map_err(failed("read the database"))?;
        inspector.version = version;
        Ok(inspector)
    }

    /// Makes sure that nobody has changed the database while it was read: for a database that nobody owned, and that
    /// somebody may have opened meanwhile. Call it before what was read is relied on.
    ///
    /// # Errors
    ///
    /// `Busy` if somebody has.
    pub fn finish(self) -> Result<()> {
        // Who opened it in this process has been told that somebody was here, and has not looked at the file.
        match &self.unchanging {
            Some(before) if stamp(&self.files)? != *before => Err(Error::new(
                ErrorKind::Busy,
                "an owner has opened the database while it was read, so what was shown may be wrong; run it again",
            )),
            _ => Ok(()),
        }
    }

    /// The directory of the database.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// Shows every shape with its definition in the order of creation, after this place in the order, for as long as
    /// `each` wants more. A shape that cannot be read is shown as the error that says why, and the rest
    /// goes on.
    ///
    /// # Errors
    ///
    /// If the database cannot be read any further.
    pub fn scan(&self, more: impl FnMut(Result<ScanItem>) -> bool) -> Result<()> {
        self.listed("", [0], more)
    }

    /// The shape with this handle. Uses the look-ups if the file has them, and goes through all rows otherwise.
    ///
    /// # Errors
    ///
    /// If the database cannot be read, or the shape is damaged.
    pub fn find(&self, handle: &str) -> Result<Option<ScanItem>> {
        let disk_indexes = self.disk_indexes()?;
        let mut found = None;
        let take = |listed: Result<ScanItem>| {
            found = Some(listed);
            false
        };
        match disk_indexes {
            DiskIndexes::Maintained => {
                let condition =
                    "AND shape.id IN (SELECT id FROM handle_lookup WHERE hash = ?3) AND shape.handle = ?2";
                self.listed(condition, rusqlite::params![0, handle, prefix_hash::handle(handle)], take)?;
            }
            DiskIndexes::Omitted => {
                self.listed("AND shape.handle = ?2", rusqlite::params![0, handle], take)?;
            }
        }
        found.transpose()
    }

    fn listed(
        &self,
        condition: &str,
        params: impl rusqlite::Params,
        mut more: impl FnMut(Result<ScanItem>) -> bool,
    ) -> Result<()> {
        let last_read = "(SELECT at FROM last_read WHERE last_read.id = shape.id)";
        let sql = sql::SCAN.replacen("FROM shape", &format!(", {last_read} FROM shape"), 1);
        let sql = sql.replacen("ORDER BY", &format!("{condition} ORDER BY"), 1);
        each(&self.connection, &sql, params, |found| {
            let listed = (|| {
                let at: Option<i64> = found.get(row::DEFINITION + 3).map_err(failed("read a row"))?;
                let at = at.filter(|at| *at > 0).map(|at| Timestamp::from_micros(at.cast_unsigned()));
                let entry = Arc::new(row::entry(found, |_| at)?);
                let metadata = entry.metadata();
                Ok(ScanItem { record: Arc::new(row::record(found, row::DEFINITION, entry)?), metadata })
            })();
            Ok(more(listed))
        })
    }

    /// Which look-ups the database has.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn disk_indexes(&self) -> Result<DiskIndexes> {
        schema::disk_indexes(&self.connection).map_err(failed("read the schema"))
    }

    /// The query plan of every statement that a store runs on this database.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn query_plans(&self) -> Result<Vec<QueryPlan>> {
        let disk_indexes = self.disk_indexes()?;
        query_plans::plans(&self.connection, disk_indexes, self.version)
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            // It is in the directory for temporary files; whoever looks after that will find it.
            let _ = fs::remove_dir_all(copy);
        }
    }
}

fn way(files: &Files) -> Result<Way> {
    if Presence::is_open_here(files) {
        return Ok(Way::Beside);
    }
    let size = |suffix| {
        let path = files.companion(suffix);
        files::size(&path).map_err(failed_on("look at", &path))
    };
    let is_there = |suffix| files.companion(suffix).symlink_metadata().is_ok();
    if size("-journal")? > 0 && is_hot(&files.companion("-journal"))? {
        return Ok(Way::Copy);
    }
    Ok(match (is_there("-wal"), is_there("-shm")) {
        (true, true) => Way::WithLog,
        (true, false) if size("-wal")? > 0 => Way::Copy,
        _ => Way::Unchanging,
    })
}

/// A journal that has ended has an empty header.
fn is_hot(journal: &Path) -> Result<bool> {
    let mut first = [0; 1];
    let mut file = fs::File::open(journal).map_err(failed_on("open", journal))?;
    Ok(file.read_exact(&mut first).is_ok() && first != [0])
}

fn connect(path: &Path, how: &str, flags: OpenFlags) -> Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            other => uri += &format!("%{other:02X}"),
        }
    }
    let uri = format!("{uri}?{how}");
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opening = format!("open {}", path.display());
    Connection::open_with_flags(uri, flags)
        .and_then(|connection| {
            connection.busy_timeout(std::time::Duration::from_secs(1))?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            connection.pragma_update(None, "cache_size", -65_536)?;
            Ok(connection)
        })
        .map_err(failed(opening))
}

fn stamp(files: &Files) -> Result<Stamp> {
    let path = files.database();
    let mut counter = [0; 4];
    fs::File::open(&path)
        .and_then(|mut file| {
            file.seek(SeekFrom::Start(24))?;
            file.read_exact(&mut counter)
        })
        .map_err(failed_on("read", &path))?;
    let size = |path: &Path| files::size(path).map_err(failed_on("look at", path));
    Ok(Stamp { counter, bytes: size(&path)?, wal_bytes: size(&files.companion("-wal"))? })
}

/// A copy of the database with its log and its journal, to be looked at instead.
fn copy(files: &Files) -> Result<PathBuf> {
    let unique = format!("shape-meta-{}-{}", std::process::id(), Timestamp::now().as_micros());
    let directory = std::env::temp_dir().join(unique);
    fs::create_dir(&directory).map_err(failed_on("create", &directory))?;
    for suffix in ["", "-wal", "-journal"] {
        let from = files.companion(suffix);
        if from.exists() {
            let to = Files::new(&directory).companion(suffix);
            fs::copy(&from, to).map_err(failed_on("copy", &from))?;
        }
    }
    Ok(directory)
}
