//! Opening a database, and recovery.

use std::{path::Path, sync::Arc};

use shape_meta_core::{Handle, Observer, Result};
use shape_meta_sqlite::{DiskIndexes, SqliteOptions, SqliteStandby, SqliteStore};

use crate::{
    Builder, ShapeCleaner, ShapeMeta,
    builder::CleanupOptions,
    cleanup::Cleanup,
    layers::{Layers, cache, stack},
};

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
    /// The number of shapes that wait for the cleaner: the removed ones, and those that were removed earlier
    /// and not cleaned yet. It is called in the background.
    pub cleanup_tasks: u64,
}

impl Builder {
    /// Opens the database in this directory, and creates both if they do not exist.
    ///
    /// In this order: takes ownership, checks the file, migrates it, removes the shapes whose snapshot is not
    /// complete, loads the cache, and starts the flusher. The cleaner is called afterwards, in the
    /// background: an open does not wait for it.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteStore::open`], and an error if the flusher thread cannot be started. The store is
    /// then not open, and nothing is lost.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<ShapeMeta> {
        let directory = directory.as_ref();
        self.open_with(|options, observer| SqliteStore::open(directory, options, observer))
    }

    /// Opens a database in memory, which ends with the last clone of the store.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) for options that cannot work.
    pub fn open_in_memory(self) -> Result<ShapeMeta> {
        self.open_with(SqliteStore::open_in_memory)
    }

    fn open_with(
        self,
        open: impl FnOnce(SqliteOptions, Arc<dyn Observer>) -> Result<SqliteStore>,
    ) -> Result<ShapeMeta> {
        let options = options_of(self.sqlite, &self.layers, &*self.cleaner);
        let observer = Arc::clone(&self.layers.observer);
        let store = Arc::new(open(options, Arc::clone(&observer))?);
        let report = recover(&store, self.cleanup)?;
        let cleanup = Cleanup::new(self.cleaner, observer, self.cleanup);
        let stack = stack(Arc::clone(&store), self.layers)?;
        let database = Database { store: DatabaseStore::Opened(store), report };
        Ok(ShapeMeta::over_database(stack, database, cleanup))
    }
}

/// Returns the options of the database, given the layers above it.
pub(crate) fn options_of(
    options: SqliteOptions,
    layers: &Layers,
    cleaner: &dyn ShapeCleaner,
) -> SqliteOptions {
    options
        .disk_indexes(disk_indexes(layers))
        // A cache keeps the last-read times in its entries.
        .last_reads(layers.cache.is_none())
        .cleanup_tasks(cleaner.stores_data())
}

/// Whether the database must maintain the indexes of look-ups, given the layers above it.
fn disk_indexes(layers: &Layers) -> DiskIndexes {
    match &layers.cache {
        Some(cache) if !cache::needs_indexes_below(cache) => DiskIndexes::Omitted,
        _ => DiskIndexes::Maintained,
    }
}

/// Removes incomplete shapes, which leaves cleanup tasks.
pub(crate) fn recover(store: &SqliteStore, cleanup: CleanupOptions) -> Result<OpenReport> {
    let recovery = store.recover()?;
    if cleanup.confirm_orphans {
        store.trust_storage()?;
    }
    let mut database = store.report().clone();
    database.quarantined = database.quarantined.or(recovery.quarantined);
    Ok(OpenReport {
        database,
        valid: recovery.valid,
        removed: recovery.removed,
        cleanup_tasks: recovery.cleanup_tasks,
    })
}
