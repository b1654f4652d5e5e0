use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rusqlite::Connection;
use shape_meta_core::{
    Activity, Counts, LastError, Observer, OpenStats, Result, Seq, Timestamp,
    store_parts::{CleanupTasks, Recency},
};

use crate::{
    DiskIndexes, SqliteOpenReport, SqliteOptions,
    connection::{connections::Connections, settings::Settings},
    format::files::Files,
    open::pipeline::{self, OpenedDatabase},
    ownership::{lock::OwnerLock, position::Position, presence::Presence, witness::Witness},
    read::{last_reads, preload::Preload},
    write::change_log::ChangeLogSize,
};

/// A store of shapes in a SQLite database, which it owns.
///
/// A database has one owner: opening it a second time fails. The store does not validate changes, which is
/// left to the layer above; see the [crate] for an example.
pub struct SqliteStore {
    // The order of the fields is that of their drop: the connections before the lock that protects their
    // writes.
    pub(crate) connections: Connections,
    lock: Mutex<Option<OwnerLock>>,
    pub(crate) files: Option<Files>,
    pub(crate) recency: Recency,
    pub(crate) preload: Preload,
    pub(crate) report: SqliteOpenReport,
    pub(crate) observer: Arc<dyn Observer>,
    disk_indexes: DiskIndexes,
    /// The counts after the latest commit of this store.
    cached_counts: Mutex<Counts>,
    pub(crate) change_log_size: ChangeLogSize,
    pub(crate) cleanup: CleanupTasks,
    /// The time of the last maintenance.
    pub(crate) last_maintenance: Mutex<Instant>,
}

impl SqliteStore {
    /// Opens the database `shape-meta.sqlite3` in this directory. Creates both if they are missing. A
    /// relative path is made absolute once.
    ///
    /// # Errors
    ///
    /// With these [kinds](shape_meta_core::ErrorKind). Nothing is changed then.
    ///
    /// - `AlreadyOpen`: another process, or another store in this process, owns the database.
    /// - `NotADatabase`: the file is not a database, or another application's.
    /// - `UnsupportedSchema`: a newer version of this crate has written it.
    /// - `ReadOnly`, `Io`, `StorageFull`, `Busy`: the file system fails.
    /// - `Configuration`: an option or the path is invalid.
    /// - `Corrupt`: the database is damaged, with [`OnCorruption::Refuse`](crate::OnCorruption::Refuse).
    pub fn open(directory: &Path, options: SqliteOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        let (files, settings, opened) = Activity::Open { path: directory }.observed(&*observer, || {
            options.validate()?;
            let files = Files::new(directory)?;
            let settings = Settings { path: Some(files.database()), options, standby: false };
            let opened = pipeline::open_files(&files, &settings, &observer)?;
            Ok((files, settings, opened))
        })?;
        Self::new(settings, opened, Some(files), observer)
    }

    /// Creates a database in memory, which is gone when the store is dropped. One connection serves all
    /// operations. Options that concern files are ignored.
    ///
    /// # Errors
    ///
    /// `Configuration` if an option is invalid.
    pub fn open_in_memory(options: SqliteOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        options.validate()?;
        let settings = Settings { path: None, options, standby: false };
        let opened = pipeline::open_memory(&settings)?;
        Self::new(settings, opened, None, observer)
    }

    fn new(
        settings: Settings,
        opened: OpenedDatabase,
        files: Option<Files>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let OpenedDatabase { connection, opening, report, lock, presence } = opened;
        let recency = last_reads::recency(&connection, report.last_seq, settings.options.last_reads)?;
        let change_log_size = ChangeLogSize::read(&connection)?;
        observer.opened(&OpenStats { shapes: report.counts.total, took: report.took });
        Ok(Self {
            disk_indexes: settings.options.disk_indexes,
            cached_counts: Mutex::new(report.counts),
            recency,
            preload: Preload::default(),
            change_log_size,
            cleanup: CleanupTasks::new(settings.options.cleanup_tasks, 0),
            connections: Connections::new(settings, connection, opening, presence, Arc::clone(&observer))?,
            lock: Mutex::new(lock),
            last_maintenance: Mutex::new(Instant::now()),
            files,
            report,
            observer,
        })
    }

    /// The read-only part of a standby. `connection` is a reader of the database.
    pub(crate) fn read_only(
        files: Files,
        settings: Settings,
        connection: &Connection,
        position: Position,
        report: SqliteOpenReport,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        Ok(Self {
            disk_indexes: settings.options.disk_indexes,
            cached_counts: Mutex::new(report.counts),
            recency: last_reads::recency(connection, report.last_seq, settings.options.last_reads)?,
            preload: Preload::default(),
            change_log_size: ChangeLogSize::default(),
            cleanup: CleanupTasks::new(false, 0),
            connections: Connections::read_only(
                settings,
                position,
                Some(Presence::register(&files)),
                Arc::clone(&observer),
            ),
            lock: Mutex::new(None),
            last_maintenance: Mutex::new(Instant::now()),
            files: Some(files),
            report,
            observer,
        })
    }

    /// Whether this store holds the owner lock: false after another process has fenced it.
    pub(crate) fn has_lock(&self) -> bool {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().is_some_and(OwnerLock::is_current)
    }

    /// Records in the lock file how far this opening of the database has come, so that an older copy in its
    /// place is noticed (C12). A power loss that undoes commits makes the database an older copy, too. Costs
    /// a write of one line.
    pub(crate) fn testify(&self, last_seq: Seq) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = &mut *lock {
            lock.advance(Witness { openings: [self.connections.opening(), None], last_seq });
        }
    }

    /// Returns the report of the open.
    pub fn report(&self) -> &SqliteOpenReport {
        &self.report
    }

    /// Returns when an owner first opened the database with this shape in it: the last-read time of a shape
    /// without reads. `None` if the shape was created since this store was opened.
    pub fn first_seen_at(&self, created: Seq) -> Option<Timestamp> {
        self.recency.first_seen_at(created)
    }

    /// Returns the directory of the database; `None` for a database in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.files.as_ref().map(Files::directory)
    }

    /// Returns whether the database has index tables.
    pub fn disk_indexes(&self) -> DiskIndexes {
        self.disk_indexes
    }

    /// Returns the latest damage that a read or a write has met since the open or the latest repair. Does not
    /// read the database.
    pub fn latest_damage(&self) -> Option<LastError> {
        self.connections.damage()
    }

    /// Returns the counts after the latest commit, without reading the database.
    pub(crate) fn cached_counts(&self) -> Counts {
        *self.cached_counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_cached_counts(&self, counts: Counts) {
        *self.cached_counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Writes nothing more, and releases the ownership. Reads go on, and may show what the next owner writes.
    /// Returns whether that is possible: with [`Mode::Exclusive`](crate::Mode::Exclusive), and in memory, the
    /// only connection is that of the owner, and only [`close`](Self::close) releases it. Waits for the write
    /// in progress.
    ///
    /// # Errors
    ///
    /// If SQLite cannot close the file. No commit is lost then.
    pub fn release(&self) -> Result<bool> {
        if !self.connections.settings().has_readers() {
            return Ok(false);
        }
        let closed = self.connections.close_writer();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        closed.map(|()| true)
    }

    /// Closes the database and releases the ownership. Open scans can be read to their end; all other
    /// operations fail with `Closed`. Closing twice is fine. Dropping the store closes it, too, but cannot
    /// report a failure.
    ///
    /// # Errors
    ///
    /// If SQLite cannot close the file. No commit is lost then. `Io` if another program has overwritten the
    /// database file: its WAL stays as it is.
    pub fn close(&self) -> Result<()> {
        self.preload.discard();
        let closed = self.connections.close();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        closed
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("directory", &self.directory())
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}
