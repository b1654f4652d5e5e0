//! Opening a database, and putting in order what a crash left in it.

use std::{path::Path, sync::Arc};

use shape_meta_core::{Activity, Error, ErrorKind, Handle, Observer, Result};
use shape_meta_sqlite::{DiskIndexes, SqliteStandby, SqliteStore};

use crate::{
    BoxError, Builder, ShapeCleaner, ShapeMeta,
    layers::{Layers, cache, stack},
};

/// How many handles the cleaner is given at once; after each such part its progress is noted.
const PART: usize = 1_000;

/// The database below a store.
pub(crate) struct Database {
    store: Store,
    pub(crate) report: OpenReport,
}

enum Store {
    OpenStats(Arc<SqliteStore>),
    Promoted(Arc<SqliteStandby>),
}

impl Database {
    /// The one that this standby has become the owner of.
    pub(crate) fn promoted(standby: &Arc<SqliteStandby>, report: OpenReport) -> Self {
        Self { store: Store::Promoted(Arc::clone(standby)), report }
    }

    pub(crate) fn store(&self) -> Option<&SqliteStore> {
        match &self.store {
            Store::OpenStats(store) => Some(store),
            Store::Promoted(standby) => standby.owner(),
        }
    }
}

/// What opening a database found and did.
#[derive(Clone, Debug)]
pub struct OpenReport {
    /// What the database itself has to tell.
    pub database: shape_meta_sqlite::SqliteOpenReport,
    /// How many shapes are valid, and served.
    pub valid: u64,
    /// Those that were removed because their snapshot was not complete, in the order of creation.
    pub removed: Vec<Handle>,
    /// How many shapes the cleaner was given: the removed ones, and what an earlier open left.
    pub cleaned: usize,
    /// Whether the cleaner was told to delete everything, since no valid shape is left.
    pub cleaned_all: bool,
}

impl Builder {
    /// Opens the database in this directory, creating both if need be: takes ownership, checks it, migrates
    /// it, removes the shapes whose snapshot is not complete, has the cleaner delete their stored data,
    /// loads the cache and starts the flusher.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteStore::open`], [`ErrorKind::Cleaner`] if the cleaner failed, and if the flusher
    /// thread cannot be started. Nothing is served then, and nothing lost.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<ShapeMeta> {
        let directory = directory.as_ref();
        self.open_with(|options, observer| SqliteStore::open(directory, options, observer))
    }

    /// Opens a database in memory, which is gone with the last clone of the store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] for options that cannot work, [`ErrorKind::Cleaner`] if the cleaner
    /// failed: no shape is left, so it is told to delete everything.
    pub fn open_in_memory(self) -> Result<ShapeMeta> {
        self.open_with(SqliteStore::open_in_memory)
    }

    fn open_with(
        self,
        open: impl FnOnce(shape_meta_sqlite::SqliteOptions, Arc<dyn Observer>) -> Result<SqliteStore>,
    ) -> Result<ShapeMeta> {
        // A cache keeps the last-read times itself.
        let options =
            self.sqlite.disk_indexes(indexes_below(&self.layers)).last_reads(self.layers.cache.is_none());
        let store = Arc::new(open(options, Arc::clone(&self.layers.observer))?);
        let report = put_in_order(&store, &*self.cleaner, &*self.layers.observer)?;
        let stack = stack(Arc::clone(&store), self.layers)?;
        Ok(ShapeMeta::over_database(stack, Database { store: Store::OpenStats(store), report }))
    }
}

/// What the database has to answer itself.
pub(crate) fn indexes_below(layers: &Layers) -> DiskIndexes {
    match &layers.cache {
        Some(cache) if !cache::needs_indexes_below(cache) => DiskIndexes::Omitted,
        _ => DiskIndexes::Maintained,
    }
}

/// Puts in order what a crash has left, with the cleaner.
pub(crate) fn put_in_order(
    store: &SqliteStore,
    cleaner: &dyn ShapeCleaner,
    observer: &dyn Observer,
) -> Result<OpenReport> {
    let recovery = store.recover()?;
    let mut database = store.report().clone();
    database.quarantined = database.quarantined.or(recovery.quarantined);
    let cleaned_all = recovery.valid == 0 && database.quarantined.is_none();
    if cleaned_all {
        observed(observer, None, || cleaner.clean_all())?;
        store.ack_cleanup(&recovery.to_clean)?;
    } else {
        for part in recovery.to_clean.chunks(PART) {
            observed(observer, Some(part.len()), || cleaner.clean(part))?;
            store.ack_cleanup(part)?;
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

fn observed(
    observer: &dyn Observer,
    shapes: Option<usize>,
    clean: impl FnOnce() -> Result<(), BoxError>,
) -> Result<()> {
    let span = observer.begin(Activity::Clean { shapes });
    let outcome = clean().map_err(|source| {
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
