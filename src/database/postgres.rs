//! A stack in a database of PostgreSQL.

use std::sync::Arc;

use shape_meta_core::{Handle, LastError, Result, Seq, Timestamp, store_parts::CleanupTask};
use shape_meta_postgres::{DiskIndexes, PostgresOptions, PostgresPool, PostgresStore};

use super::{Database, Owned, forward_to_store};
use crate::{
    Builder, DatabaseReport, OpenReport, ShapeCleaner, ShapeMeta, builder::CleanupOptions, layers::Layers,
};

impl Builder {
    /// Opens the stack with this name in a database of PostgreSQL, and creates it and the tables if they do
    /// not exist. Any number of stacks share a pool.
    ///
    /// In this order: takes ownership, migrates the tables, removes the shapes whose snapshot is not
    /// complete, loads the cache, and starts the flusher. The cleaner is called afterwards, in the
    /// background.
    ///
    /// Blocks: waits until the server has answered, or a time-out of the pool has passed.
    ///
    /// # Errors
    ///
    /// Those of [`PostgresStore::open`], and an error if the flusher thread cannot be started. The store is
    /// then not open, and nothing is lost.
    pub fn open_postgres(self, pool: &PostgresPool, stack: &str) -> Result<ShapeMeta> {
        let options = options_of(self.postgres.clone(), &self.layers, &*self.cleaner);
        let store = PostgresStore::open(pool, stack, options, Arc::clone(&self.layers.observer))?;
        let store = Arc::new(store);
        self.over_database(Arc::clone(&store), Owned::Postgres(store))
    }
}

/// Returns the options of the stack, given the layers above it.
fn options_of(options: PostgresOptions, layers: &Layers, cleaner: &dyn ShapeCleaner) -> PostgresOptions {
    let disk_indexes =
        if layers.need_lookups_below() { DiskIndexes::Maintained } else { DiskIndexes::Omitted };
    options
        .disk_indexes(disk_indexes)
        // A cache keeps the last-read times in its entries.
        .last_reads(layers.cache.is_none())
        .cleanup_tasks(cleaner.stores_data())
}

impl Database for PostgresStore {
    forward_to_store!();

    fn recover(&self, cleanup: CleanupOptions) -> Result<OpenReport> {
        let recovery = Self::recover(self)?;
        if cleanup.confirm_orphans {
            Self::trust_storage(self)?;
        }
        Ok(OpenReport {
            database: DatabaseReport::Postgres(self.report().clone()),
            valid: recovery.valid,
            removed: recovery.removed,
            cleanup_tasks: recovery.cleanup_tasks,
        })
    }
}
