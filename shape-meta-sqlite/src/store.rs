use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rusqlite::Connection;
use shape_meta_core::{Activity, Counts, Observer, OpenStats, Result, Seq, Timestamp};

use crate::{
    DiskIndexes, SqliteOpenReport, SqliteOptions,
    connection::{connections::Connections, settings::Settings},
    format::files::Files,
    open::pipeline::{self, OpenedDatabase},
    ownership::{lock::OwnerLock, presence::Presence},
    read::{preload::Preload, recency::Recency},
    write::change_log::ChangeLogSize,
};

/// Shapes in a SQLite database.
///
/// One store owns its database: a second one on the same directory is refused. It is meant to lie under
/// other layers, which decide what may be changed; see the [crate](crate) for an example.
pub struct SqliteStore {
    // Fields are dropped in this order: the connections before the lock that makes them safe.
    pub(crate) connections: Connections,
    lock: Mutex<Option<OwnerLock>>,
    pub(crate) files: Option<Files>,
    pub(crate) recency: Recency,
    pub(crate) preload: Preload,
    pub(crate) report: SqliteOpenReport,
    pub(crate) observer: Arc<dyn Observer>,
    disk_indexes: DiskIndexes,
    /// What the latest commit that we know of came to.
    counts: Mutex<Counts>,
    pub(crate) change_log_size: ChangeLogSize,
    /// When the database was last looked after.
    pub(crate) maintained: Mutex<Instant>,
}

impl SqliteStore {
    /// Opens the database `shape-meta.sqlite3` in this directory, or creates both.
    ///
    /// # Errors
    ///
    /// With these [kinds](shape_meta_core::ErrorKind), and nothing touched:
    ///
    /// - `AlreadyOpen`: another process, or another store in this one, has it open.
    /// - `NotADatabase`: the file is something else, or another application's.
    /// - `UnsupportedSchema`: a newer version of this crate has written it.
    /// - `ReadOnly`, `Io`, `Full`, `Busy`: the file system does not let us.
    /// - `Configuration`: an option, or the path, cannot be used.
    /// - `Corrupt`: it is damaged, and [`OnCorruption::Refuse`](crate::OnCorruption::Refuse) was chosen.
    pub fn open(directory: &Path, options: SqliteOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        let span = observer.begin(Activity::Open { path: directory });
        let files = Files::new(directory);
        let opened = options.validate().and_then(|()| {
            let settings = Settings { path: Some(files.database()), options, standby: false };
            let opened = pipeline::open_files(&files, &settings, &observer)?;
            Ok((settings, opened))
        });
        if let Some(span) = span {
            span.end(opened.as_ref().err());
        }
        let (settings, opened) = opened?;
        Self::of(settings, opened, Some(files), observer)
    }

    /// Creates a database in memory, which is gone when the store is dropped. One connection serves all;
    /// options that concern files are ignored.
    ///
    /// # Errors
    ///
    /// `Configuration`, if an option cannot be used.
    pub fn open_in_memory(options: SqliteOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        options.validate()?;
        let settings = Settings { path: None, options, standby: false };
        let opened = pipeline::open_memory(&settings)?;
        Self::of(settings, opened, None, observer)
    }

    fn of(
        settings: Settings,
        opened: OpenedDatabase,
        files: Option<Files>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let OpenedDatabase { connection, report, lock, presence } = opened;
        let recency = Recency::read(&connection, report.last_seq, settings.options.last_reads)?;
        let change_log_size = ChangeLogSize::read(&connection)?;
        observer.opened(&OpenStats { shapes: report.counts.total, took: report.took });
        Ok(Self {
            disk_indexes: settings.options.disk_indexes,
            counts: Mutex::new(report.counts),
            recency,
            preload: Preload::default(),
            change_log_size,
            connections: Connections::new(
                settings,
                connection,
                report.last_seq,
                presence,
                Arc::clone(&observer),
            )?,
            lock: Mutex::new(lock),
            maintained: Mutex::new(Instant::now()),
            files,
            report,
            observer,
        })
    }

    /// Of a database that somebody else writes, looked at through this connection.
    pub(crate) fn reading(
        files: Files,
        settings: Settings,
        connection: &Connection,
        report: SqliteOpenReport,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        Ok(Self {
            disk_indexes: settings.options.disk_indexes,
            counts: Mutex::new(report.counts),
            recency: Recency::read(connection, report.last_seq, settings.options.last_reads)?,
            preload: Preload::default(),
            change_log_size: ChangeLogSize::default(),
            connections: Connections::reading(
                settings,
                Some(Presence::register(&files)),
                Arc::clone(&observer),
            ),
            lock: Mutex::new(None),
            maintained: Mutex::new(Instant::now()),
            files: Some(files),
            report,
            observer,
        })
    }

    /// Whether the lock on this machine is still ours: nobody has taken over.
    pub(crate) fn has_lock(&self) -> bool {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().is_some_and(OwnerLock::is_current)
    }

    /// What opening found and did.
    pub fn report(&self) -> &SqliteOpenReport {
        &self.report
    }

    /// When an owner of the database first found the shape that was created at this place, as a shape that nobody has
    /// read counts as read then; `None` if it was made since the database was opened.
    pub fn first_seen_at(&self, created: Seq) -> Option<Timestamp> {
        self.recency.first_seen_at(created)
    }

    /// The directory of the database; none for one in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.files.as_ref().map(Files::directory)
    }

    /// Whether look-ups are answered from disk.
    pub fn disk_indexes(&self) -> DiskIndexes {
        self.disk_indexes
    }

    /// How many shapes there are, without asking the database.
    pub(crate) fn cached_counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_cached_counts(&self, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Closes the database and gives up ownership. Scans that are still open can be read to their end;
    /// everything else is refused from now on. Closing twice is fine; dropping the store closes it too,
    /// but cannot say what went wrong.
    ///
    /// # Errors
    ///
    /// If SQLite cannot close the file. Everything that was committed is safe all the same.
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
