use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use shape_meta_core::{
    Activity, Batch, ChangeLog, Delta, Entry, Error, ErrorKind, LastReadStore, Observer, OpenStats,
    ReadShapes, RebuildStore, Record, Result, Seq, ShapeStore, Usage, forward_reads,
};

use crate::{
    DiskIndexes, Mode, OnLiveOwner, SqliteOpenReport, SqliteOptions, SqliteStore,
    connection::{operation::Operation, settings::Settings},
    error::{failed, failed_on},
    format::{
        files::{self, Files},
        meta::Meta,
        schema,
    },
    open::identified::IdentifiedDatabase,
    ownership::{file_id::FileId, presence::Presence},
};

/// Shapes in a SQLite database that somebody else owns and writes, for reading; and their owner, once it is
/// [promoted](Self::promote).
///
/// Until then every read shows what the owner has committed when the read begins, and changes are refused with
/// [`ErrorKind::Standby`]. Under a mirror (`Cached` of `shape-meta-cache`), which shows what it was last
/// refreshed with, [`changes_since`](ShapeStoreExt::changes_since) tells what has changed.
///
/// It takes no lock, and the owner notices nothing but a log that is not reset while a scan is open. Last-read times are
/// those that were saved when it was opened, and what is noted here since.
pub struct SqliteStandby {
    files: Files,
    options: SqliteOptions,
    observer: Arc<dyn Observer>,
    reading: SqliteStore,
    /// What is read, to be told from what may take its place.
    read: Mutex<Source>,
    owner: OnceLock<SqliteStore>,
    /// One promotion at a time.
    promoting: Mutex<()>,
}

/// A file, and the version of its schema, as connections were made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    file: FileId,
    version: u32,
}

impl SqliteStandby {
    /// Opens the database in this directory beside its owner, who need not be alive. Nothing is written, and nothing is
    /// checked but that it is ours: rows are verified as they are read.
    ///
    /// # Errors
    ///
    /// With these [kinds](shape_meta_core::ErrorKind):
    ///
    /// - `NotFound`: there is no database yet.
    /// - `NotADatabase`, `UnsupportedSchema`, `Corrupt`: there is something else, or a newer version has written it, or it
    ///   is damaged.
    /// - `Configuration`: an option cannot be used. [`Mode::Exclusive`] has one connection, and so no standby;
    ///   [`DiskIndexes::Maintained`] needs an owner that keeps them.
    /// - `Io`, `Busy`, `ReadOnly`: the file system does not let us.
    pub fn open(directory: &Path, options: SqliteOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        let span = observer.begin(Activity::Open { path: directory });
        let opened = Self::open_files(Files::new(directory), options, &observer);
        if let Some(span) = span {
            span.end(opened.as_ref().err());
        }
        opened
    }

    fn open_files(files: Files, options: SqliteOptions, observer: &Arc<dyn Observer>) -> Result<Self> {
        let started = Instant::now();
        options.validate()?;
        if options.mode == Mode::Exclusive {
            return Err(Error::new(
                ErrorKind::Configuration,
                "in exclusive mode a database has one connection, which its owner has; a standby needs `Mode::Wal`",
            ));
        }
        let database = files.database();
        if files::size(&database).map_err(failed_on("look at", &database))? == 0 {
            return Err(nothing_there(&files));
        }
        let _presence = Presence::register(&files);
        let settings = Settings { path: Some(database), options: options.clone(), standby: true };
        let (source, connection) = look(&files, &settings)?;
        let meta = Meta::read(&connection)?;
        let report = SqliteOpenReport {
            created: false,
            quarantined: None,
            migrated_from: None,
            disk_indexes_before: None,
            counts: meta.counts,
            last_seq: meta.last_seq,
            epoch: meta.epoch,
            took: started.elapsed(),
        };
        observer.opened(&OpenStats { shapes: report.counts.total, took: report.took });
        let reading =
            SqliteStore::reading(files.clone(), settings, &connection, report, Arc::clone(observer))?;
        Ok(Self {
            files,
            options,
            observer: Arc::clone(observer),
            reading,
            read: Mutex::new(source),
            owner: OnceLock::new(),
            promoting: Mutex::new(()),
        })
    }

    /// Takes ownership, and returns the store that owns the database from now on. All reads and changes of this one go
    /// there from now on, too; those under way end where they began. [Recover](SqliteStore::recover) before
    /// anybody changes anything, and then [refresh](ShapeStoreExt::changes_since) what lies above.
    ///
    /// Does all that [`SqliteStore::open`] does: checks, migrates, repairs. Promoting again returns the same store.
    ///
    /// # Errors
    ///
    /// As with [`SqliteStore::open`], and `AlreadyOpen` in particular, if another owner is alive and is not to be taken
    /// over. Then it is still a standby, and it can be tried again.
    pub fn promote(&self, on_live_owner: OnLiveOwner) -> Result<&SqliteStore> {
        let _one = self.promoting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = self.owner.get() {
            return Ok(owner);
        }
        let options = self.options.clone().on_live_owner(on_live_owner);
        let owner = SqliteStore::open(self.files.directory(), options, Arc::clone(&self.observer))?;
        // Reads that are noted here from now on are forgotten, unless they find the owner already.
        owner.recency.take_over(&self.reading.recency);
        let owner = self.owner.get_or_init(|| owner);
        self.reading.connections.close_idle();
        Ok(owner)
    }

    /// The store that owns the database, once this one was promoted.
    pub fn owner(&self) -> Option<&SqliteStore> {
        self.owner.get()
    }

    /// What opening found. Its `epoch` is that of the owner.
    pub fn report(&self) -> &SqliteOpenReport {
        self.current().report()
    }

    /// The directory of the database.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    fn current(&self) -> &SqliteStore {
        self.owner.get().unwrap_or(&self.reading)
    }

    /// Makes sure that what is read is what has the name: an owner who repairs puts another file in its place, and
    /// one of a later version changes the tables. Call it now and then, or
    /// [`changes_since`](ShapeStoreExt::changes_since), which does it too. Some microseconds.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no database any more, `UnsupportedSchema` if a later version has taken it, and if it cannot
    /// be read. What was read before is read further then.
    pub fn check_source(&self) -> Result<()> {
        if self.owner.get().is_some() {
            return Ok(());
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let file = identity(&self.files)?;
        let connections = &self.reading.connections;
        let is_same = file == read.file
            && connections.read(Operation::ChangesSince, |connection| {
                Ok(schema::version(connection).map_err(failed("read the schema version"))? == read.version)
            })?;
        if !is_same {
            (*read, _) = look(&self.files, connections.settings())?;
            connections.renew();
        }
        Ok(())
    }
}

/// Looks at what is there, through a connection of its own.
fn look(files: &Files, settings: &Settings) -> Result<(Source, rusqlite::Connection)> {
    let file = identity(files)?;
    let opening = || format!("open {}", files.database().display());
    let connection = settings.open_reader().map_err(|error| failed(opening())(error))?;
    let database = IdentifiedDatabase::identify(connection, files)?;
    let version = database.version();
    if version == 0 {
        return Err(nothing_there(files));
    }
    let has = schema::disk_indexes(database.connection()).map_err(|error| failed(opening())(error))?;
    if settings.options.disk_indexes == DiskIndexes::Maintained && has == DiskIndexes::Omitted {
        return Err(Error::new(
            ErrorKind::Configuration,
            "the owner keeps no look-ups on disk, since it mirrors them in memory; put a cache with look-ups in \
             memory over this standby, or let the owner keep them",
        ));
    }
    Ok((Source { file, version }, database.into_connection()))
}

fn identity(files: &Files) -> Result<FileId> {
    let path = files.database();
    FileId::at(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => nothing_there(files),
        _ => failed_on("look at", &path)(error),
    })
}

fn nothing_there(files: &Files) -> Error {
    let message = format!(
        "there is no database in {} to be read; its owner has to create it first",
        files.directory().display()
    );
    Error::new(ErrorKind::NotFound, message)
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for SqliteStandby {
    forward_reads!(self => self.current());
}

/// Changes are refused until it is promoted.
#[deny(clippy::missing_trait_methods)]
impl ShapeStore for SqliteStandby {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.current().apply(batch)
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.current().commit(batch)
    }

    fn publish(&self, batch: &Batch) {
        self.current().publish(batch);
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.check_source()?;
        self.current().load(each)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.current().record_of(entry)
    }

    fn resource_usage(&self) -> Usage {
        self.current().resource_usage()
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self.current())
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self.current())
    }
}

impl ChangeLog for SqliteStandby {
    /// Also checks whether the database is still the one that is read.
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        self.check_source()?;
        self.current().since(seq)
    }
}

impl std::fmt::Debug for SqliteStandby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStandby")
            .field("directory", &self.directory())
            .field("promoted", &self.owner.get().is_some())
            .finish_non_exhaustive()
    }
}
