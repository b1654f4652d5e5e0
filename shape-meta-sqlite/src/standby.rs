use std::{
    cell::RefCell,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use rusqlite::Connection;
use shape_meta_core::{
    Activity, ChangeLog, Delta, Entry, Error, ErrorKind, LastReadStore, Observer, OpenStats, ReadShapes,
    RebuildStore, Result, Seq, ShapeStore, StampOutcome, forward_reads, forward_store,
    store_parts::{ObservedLock, ShownSeqs},
};

use crate::{
    BackupProgress, DiskIndexes, Mode, OnLiveOwner, SqliteOpenReport, SqliteOptions, SqliteStore, StopHandle,
    connection::{operation::Operation, settings::Settings},
    error::{failed, failed_on},
    format::{
        files::{self, Files},
        lineage::Lineage,
        meta::Meta,
        schema,
    },
    open::{identified::IdentifiedDatabase, links},
    ownership::{file_id::FileId, position::Position, presence::Presence},
};

/// A read-only follower of a SQLite database that another process owns. [Promotion](Self::promote) makes it
/// the owner.
///
/// Until then a read shows what the owner had committed when the read began, and changes fail with
/// [`ErrorKind::Standby`]. A mirror above (`Cached` of `shape-meta-cache`) is refreshed from
/// [`changes_since`](shape_meta_core::ShapeStoreExt::changes_since).
///
/// A standby takes no lock. It affects the owner only while a scan is open, which keeps the WAL from being
/// reset. Last-read times are those that were saved when the standby was opened, and those that it has
/// recorded since.
pub struct SqliteStandby {
    files: Files,
    options: SqliteOptions,
    observer: Arc<dyn Observer>,
    reader: SqliteStore,
    /// Held while the database is read for a layer above, so that these reads come one after the other.
    source: ObservedLock<Source>,
    owner: OnceLock<Arc<SqliteStore>>,
    /// The number of lines of history that were begun since this standby was opened.
    lines: AtomicU64,
    /// One promotion at a time.
    promoting: ObservedLock<()>,
}

/// What the readers were configured for, and what was read from it. The position of the last read is in
/// [`Connections`](crate::connection::connections::Connections), since new readers are compared with it.
#[derive(Debug)]
struct Source {
    /// To detect another file under its name.
    file: FileId,
    /// To detect other bytes in the same file: a restore deletes the WAL, with which readers would go on.
    wal: Option<FileId>,
    version: u32,
    shown: ShownSeqs,
}

impl SqliteStandby {
    /// Opens the database in this directory, whose owner may or may not be alive. Writes nothing, and checks
    /// only that the database is ours: rows are verified when they are read.
    ///
    /// # Errors
    ///
    /// With these [kinds](shape_meta_core::ErrorKind):
    ///
    /// - `NotFound`: there is no database yet.
    /// - `NotADatabase`: the file is not a database, or another application's.
    /// - `UnsupportedSchema`: a newer version of this crate has written it.
    /// - `Corrupt`: it is damaged.
    /// - `Configuration`: an option is invalid. [`Mode::Exclusive`] has a single connection, and so no
    ///   standby; [`DiskIndexes::Maintained`] needs an owner that maintains the index tables.
    /// - `Io`, `Busy`, `ReadOnly`: the file system fails.
    pub fn open(directory: &Path, options: SqliteOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        Activity::Open { path: directory }
            .observed(&*observer, || Self::open_files(Files::new(directory)?, options, &observer))
    }

    fn open_files(files: Files, options: SqliteOptions, observer: &Arc<dyn Observer>) -> Result<Self> {
        let started = Instant::now();
        options.validate()?;
        if options.mode == Mode::Exclusive {
            return Err(Error::new(
                ErrorKind::Configuration,
                "a standby cannot open a database in `Mode::Exclusive`, whose only connection belongs to the \
                 owner; use `Mode::Wal`",
            ));
        }
        links::refuse(&files)?;
        let database = files.database();
        if files::size(&database).map_err(failed_on("read the size of", &database))? == 0 {
            return Err(no_database(&files));
        }
        let _presence = Presence::register(&files);
        let settings = Settings { path: Some(database), options: options.clone(), standby: true };
        let (file, version, connection) = open_source(&files, &settings)?;
        let meta = Meta::read(&connection)?;
        let source = Source { file, wal: wal_id(&files)?, version, shown: ShownSeqs::default() };
        let report = SqliteOpenReport {
            created: false,
            quarantined: None,
            migrated_from: None,
            disk_indexes_before: None,
            counts: meta.counts,
            last_seq: meta.last_seq,
            epoch: meta.epoch,
            stamp: StampOutcome::Unchanged,
            took: started.elapsed(),
        };
        observer.opened(&OpenStats { shapes: report.counts.total, took: report.took });
        let reader = SqliteStore::read_only(
            files.clone(),
            settings,
            &connection,
            Position::new(meta, Some(file)),
            report,
            Arc::clone(observer),
        )?;
        Ok(Self {
            files,
            options,
            observer: Arc::clone(observer),
            reader,
            source: ObservedLock::new(source),
            owner: OnceLock::new(),
            lines: AtomicU64::new(0),
            promoting: ObservedLock::new(()),
        })
    }

    /// Opens the database as its owner, and returns the owning store. Later reads and changes of this standby
    /// go to it; reads in progress end on the readers of the standby. Promoting again returns the same store.
    ///
    /// The promotion takes all steps of [`SqliteStore::open`], including checks, migrations and repair.
    /// [Recover](SqliteStore::recover) before the first change, and then
    /// [refresh](shape_meta_core::ShapeStoreExt::changes_since) the layer above.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`]: in particular `AlreadyOpen` if another owner is alive and `on_live_owner`
    /// does not fence it. The standby stays a standby, and the promotion can be tried again.
    pub fn promote(&self, on_live_owner: OnLiveOwner) -> Result<&Arc<SqliteStore>> {
        self.promote_unless_stopped(on_live_owner, &self.options.stop.clone().unwrap_or_default())
    }

    /// [`promote`](Self::promote), which ends when the handle is stopped while it waits: for a live owner, or
    /// for another promotion of this standby.
    ///
    /// # Errors
    ///
    /// As [`promote`](Self::promote), and `Interrupted` if it was stopped. The standby stays a standby.
    pub fn promote_unless_stopped(
        &self,
        on_live_owner: OnLiveOwner,
        stop: &StopHandle,
    ) -> Result<&Arc<SqliteStore>> {
        let _guard = self.promoting.lock_unless_stopped(stop)?;
        if let Some(owner) = self.owner.get() {
            return Ok(owner);
        }
        let options = self.options.clone().on_live_owner(on_live_owner).stop_handle(stop);
        let owner = SqliteStore::open(self.files.directory(), options, Arc::clone(&self.observer))?;
        let shown = self.reader.connections.position();
        let is_same_line = owner.connections.read(Operation::ChangesSince, |connection| {
            let found = Position::new(Meta::read(connection)?, Some(file_id(&self.files)?));
            Ok(shown.is_followed_by(&found, &Lineage::read(connection)?))
        })?;
        if is_same_line {
            // A last read that is recorded here after this line is lost, unless it goes to the owner already.
            owner.recency.merge(&self.reader.recency);
        }
        let owner = self.owner.get_or_init(|| Arc::new(owner));
        self.reader.connections.close_idle_readers();
        Ok(owner)
    }

    /// Copies the database as this standby reads it; see [`SqliteStore::backup`].
    ///
    /// # Errors
    ///
    /// Those of [`SqliteStore::backup`].
    pub fn backup(&self, to: &Path, progress: impl FnMut(BackupProgress) -> ControlFlow<()>) -> Result<()> {
        self.current().backup(to, progress)
    }

    /// Returns the owning store, if this standby was promoted.
    pub fn owner(&self) -> Option<&Arc<SqliteStore>> {
        self.owner.get()
    }

    /// Returns the report of the open. Until the promotion its `epoch` is that of the current owner.
    pub fn report(&self) -> &SqliteOpenReport {
        self.current().report()
    }

    /// Returns the directory of the database.
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    fn current(&self) -> &SqliteStore {
        self.owner.get().map_or(&self.reader, |owner| owner)
    }

    /// Checks whether the file that is read is still the database, and opens the new one if not: an owner
    /// that repairs replaces the file, an owner of a later version migrates it, and a restore puts another
    /// database in its place. Until then, reads fail that need a new connection to it. Call it regularly, or
    /// call [`changes_since`](shape_meta_core::ShapeStoreExt::changes_since), which does it too. Takes some
    /// microseconds.
    ///
    /// # Errors
    ///
    /// `NotFound` if the database is gone, `UnsupportedSchema` if a newer version of this crate has migrated
    /// it, and the kinds of a database that cannot be read. Reads go on with the old file.
    pub fn check_source(&self) -> Result<()> {
        if self.owner.get().is_some() {
            return Ok(());
        }
        self.check(&mut *self.source.lock()?)
    }

    fn check(&self, source: &mut Source) -> Result<()> {
        if self.owner.get().is_some() {
            return Ok(());
        }
        let connections = &self.reader.connections;
        let read = |connection: &Connection| {
            let doing = "read the schema version";
            let transaction = connection.unchecked_transaction().map_err(failed(doing))?;
            let found = schema::version(&transaction).map_err(failed(doing))?;
            Ok(found == source.version
                && self.is_of_line(source, &transaction, &Meta::read(&transaction)?)?)
        };
        let has_same_wal = wal_id(&self.files)? == source.wal;
        if !has_same_wal {
            // In one process all connections to a file share the index of its WAL, as long as one is open.
            connections.close_idle_readers();
        }
        // A reader that fails, or is refused because of what it found, is no answer: the file is opened anew.
        let is_same = file_id(&self.files)? == source.file
            && has_same_wal
            && connections.read(Operation::ChangesSince, read).unwrap_or(false);
        if !is_same {
            let (file, version, connection) = open_source(&self.files, connections.settings())?;
            (source.file, source.version) = (file, version);
            let transaction = connection.unchecked_transaction().map_err(failed("read the database"))?;
            self.observe(source, &transaction, &Meta::read(&transaction)?)?;
            source.wal = wal_id(&self.files)?;
            connections.renew_pool();
        }
        Ok(())
    }

    /// Whether the database that is read contains everything up to the position of this standby (C13).
    fn is_of_line(&self, source: &Source, connection: &Connection, meta: &Meta) -> Result<bool> {
        let found = Position::new(*meta, Some(source.file));
        Ok(self.reader.connections.position().is_followed_by(&found, &Lineage::read(connection)?))
    }

    /// Moves to the position that was read. Returns whether it is of the line of the one before; if not, what
    /// was shown up to now is of another line.
    fn observe(&self, source: &mut Source, connection: &Connection, meta: &Meta) -> Result<bool> {
        let is_of_line = self.is_of_line(source, connection, meta)?;
        if !is_of_line {
            source.shown.begin_line();
            self.lines.fetch_add(1, Ordering::AcqRel);
        }
        self.reader.connections.follow(Position::new(*meta, Some(source.file)));
        Ok(is_of_line)
    }
}

/// Opens the file that has the name of the database now, and identifies it.
fn open_source(files: &Files, settings: &Settings) -> Result<(FileId, u32, Connection)> {
    let file = file_id(files)?;
    let opening = || format!("open {}", files.database().display());
    let connection = settings.open_reader().map_err(|error| failed(opening())(error))?;
    let database = IdentifiedDatabase::identify(connection, files)?;
    let version = database.version();
    if version == 0 {
        return Err(no_database(files));
    }
    let disk_indexes =
        schema::disk_indexes(database.connection()).map_err(|error| failed(opening())(error))?;
    if settings.options.disk_indexes == DiskIndexes::Maintained && disk_indexes == DiskIndexes::Omitted {
        return Err(Error::new(
            ErrorKind::Configuration,
            "the options want `DiskIndexes::Maintained`, but the owner of the database omits the index \
             tables; put a cache that mirrors the look-ups above the standby, or open the owner with \
             `DiskIndexes::Maintained`",
        ));
    }
    Ok((file, version, database.into_connection()))
}

fn file_id(files: &Files) -> Result<FileId> {
    let path = files.database();
    FileId::at(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => no_database(files),
        _ => failed_on("read the identity of", &path)(error),
    })
}

/// Returns the identity of the WAL; `None` if there is none, because nothing has the database open.
fn wal_id(files: &Files) -> Result<Option<FileId>> {
    let path = files.companion("-wal");
    files::if_present(FileId::of_name(&path)).map_err(failed_on("read the identity of", &path))
}

fn no_database(files: &Files) -> Error {
    let message = format!(
        "there is no database in {}; its owner must create it before a standby can open it",
        files.directory().display()
    );
    Error::new(ErrorKind::NotFound, message)
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for SqliteStandby {
    forward_reads!(self => self.current());
}

/// Changes fail with [`ErrorKind::Standby`] until the promotion.
#[deny(clippy::missing_trait_methods)]
impl ShapeStore for SqliteStandby {
    forward_store!(self => self.current());

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        let mut guard = self.source.lock()?;
        self.check(&mut guard)?;
        let source = RefCell::new(&mut *guard);
        let last_seq = self.current().load_at(each, |connection, meta| {
            self.observe(&mut source.borrow_mut(), connection, meta).map(drop)
        })?;
        guard.shown.returned(last_seq);
        Ok(last_seq)
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
    /// Checks the [source](SqliteStandby::check_source) first. Returns `None` if `seq` was read on another
    /// line of history than the one that the database has now: after a restore, a repair, or a swap of files.
    /// A hand-over to another owner goes on with the same line.
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        let mut guard = self.source.lock()?;
        let source = &mut *guard;
        self.check(source)?;
        let delta = self.current().since_at(seq, |connection, meta| {
            Ok(self.observe(source, connection, meta)? && source.shown.has(seq))
        })?;
        if let Some(delta) = &delta {
            guard.shown.returned(delta.through);
        }
        Ok(delta)
    }

    fn line(&self) -> u64 {
        self.lines.load(Ordering::Acquire)
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
