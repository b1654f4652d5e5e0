//! Opening a database, and recovery with the caller's cleaner.

use std::{path::Path, sync::Arc};

use shape_meta_core::{Activity, Error, ErrorKind, Handle, Observer, Result};
use shape_meta_sqlite::{DiskIndexes, SqliteStandby, SqliteStore};

use crate::{
    BoxError, Builder, ShapeCleaner, ShapeMeta,
    layers::{Layers, cache, stack},
};

/// How many handles one call of the cleaner gets. Each call that succeeds is acknowledged in the database.
const HANDLES_PER_CLEAN: usize = 1_000;

/// The database below a store, and the report of its opening.
pub(crate) struct Database {
    store: DatabaseStore,
    pub(crate) report: OpenReport,
}

enum DatabaseStore {
    Opened(Arc<SqliteStore>),
    Promoted(Arc<SqliteStandby>),
}

impl Database {
    /// The database of a standby that was promoted.
    pub(crate) fn promoted(standby: &Arc<SqliteStandby>, report: OpenReport) -> Self {
        Self { store: DatabaseStore::Promoted(Arc::clone(standby)), report }
    }

    pub(crate) fn store(&self) -> Option<&SqliteStore> {
        match &self.store {
            DatabaseStore::Opened(store) => Some(store),
            DatabaseStore::Promoted(standby) => standby.owner(),
        }
    }
}

/// What opening a store found and did.
#[derive(Clone, Debug)]
pub struct OpenReport {
    /// The report of the database itself.
    pub database: shape_meta_sqlite::SqliteOpenReport,
    /// The number of valid shapes, which the store serves.
    pub valid: u64,
    /// The shapes that recovery removed because their snapshot was not complete, in the order of creation.
    pub removed: Vec<Handle>,
    /// The number of shapes handed to the cleaner: the removed ones, and those that an earlier open left.
    pub cleaned: usize,
    /// Whether the cleaner was called to delete everything, because no valid shape was left.
    pub cleaned_all: bool,
}

impl Builder {
    /// Opens the database in this directory, and creates both if they do not exist.
    ///
    /// In this order: takes ownership, checks the file, migrates it, removes the shapes whose snapshot is not
    /// complete, calls the cleaner for their stored data, loads the cache, and starts the flusher.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteStore::open`], [`ErrorKind::Cleaner`] if the cleaner failed, and an error if the
    /// flusher thread cannot be started. The store is then not open, and nothing is lost.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<ShapeMeta> {
        let directory = directory.as_ref();
        self.open_with(|options, observer| SqliteStore::open(directory, options, observer))
    }

    /// Opens a database in memory, which ends with the last clone of the store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] for options that cannot work. [`ErrorKind::Cleaner`] if the cleaner
    /// failed: an empty database has no valid shape, so the cleaner is called to delete everything.
    pub fn open_in_memory(self) -> Result<ShapeMeta> {
        self.open_with(SqliteStore::open_in_memory)
    }

    fn open_with(
        self,
        open: impl FnOnce(shape_meta_sqlite::SqliteOptions, Arc<dyn Observer>) -> Result<SqliteStore>,
    ) -> Result<ShapeMeta> {
        // A cache keeps the last-read times in its entries.
        let options =
            self.sqlite.disk_indexes(disk_indexes(&self.layers)).last_reads(self.layers.cache.is_none());
        let store = Arc::new(open(options, Arc::clone(&self.layers.observer))?);
        let report = recover(&store, &*self.cleaner, &*self.layers.observer)?;
        let stack = stack(Arc::clone(&store), self.layers)?;
        let database = Database { store: DatabaseStore::Opened(store), report };
        Ok(ShapeMeta::over_database(stack, database))
    }
}

/// Whether the database must maintain the indexes of look-ups, given the layers above it.
pub(crate) fn disk_indexes(layers: &Layers) -> DiskIndexes {
    match &layers.cache {
        Some(cache) if !cache::needs_indexes_below(cache) => DiskIndexes::Omitted,
        _ => DiskIndexes::Maintained,
    }
}

/// Removes incomplete shapes, and hands to the cleaner everything whose stored data has still to be deleted.
pub(crate) fn recover(
    store: &SqliteStore,
    cleaner: &dyn ShapeCleaner,
    observer: &dyn Observer,
) -> Result<OpenReport> {
    let recovery = store.recover()?;
    let mut database = store.report().clone();
    database.quarantined = database.quarantined.or(recovery.quarantined);
    let cleaned_all = recovery.valid == 0 && database.quarantined.is_none();
    if cleaned_all {
        clean(observer, None, || cleaner.clean_all())?;
        store.ack_cleanup(&recovery.to_clean)?;
    } else {
        for handles in recovery.to_clean.chunks(HANDLES_PER_CLEAN) {
            clean(observer, Some(handles.len()), || cleaner.clean(handles))?;
            store.ack_cleanup(handles)?;
        }
    }
    Ok(OpenReport {
        database,
        valid: recovery.valid,
        removed: recovery.removed,
        cleaned: recovery.to_clean.len(),
        cleaned_all,
    })
}

/// Calls the cleaner within a span of the observer.
fn clean(
    observer: &dyn Observer,
    shapes: Option<usize>,
    call: impl FnOnce() -> Result<(), BoxError>,
) -> Result<()> {
    let span = observer.begin(Activity::Clean { shapes });
    let outcome = call().map_err(|source| {
        Error::new(
            ErrorKind::Cleaner,
            format!(
                "the cleaner could not delete the stored data of removed shapes ({source}); the store was \
                 not opened, and the next open hands the same shapes to it again"
            ),
        )
        .with_source(source)
    });
    if let Some(span) = span {
        span.end(outcome.as_ref().err());
    }
    outcome
}
