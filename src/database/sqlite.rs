//! A database in a file of SQLite.

use std::{path::Path, sync::Arc};

use shape_meta_core::{
    Handle, LastError, Observer, Result, Seq, Timestamp,
    store_parts::{CleanupTask, OnLiveOwner, StopHandle},
};
use shape_meta_sqlite::{SqliteOptions, SqliteStandby, SqliteStore};

use super::{Database, Follower, Owned, forward_to_store};
use crate::{
    Builder, DatabaseReport, OpenReport, ShapeCleaner, ShapeMeta, Standby, builder::CleanupOptions,
    layers::Layers,
};

impl Builder {
    /// Opens the database in this directory, and creates both if they do not exist.
    ///
    /// In this order: takes ownership, checks the file, migrates it, removes the shapes whose snapshot is not
    /// complete, loads the cache, and starts the flusher. The cleaner is called afterwards, in the
    /// background: an open does not wait for it.
    ///
    /// Blocks: disk; with [`OnLiveOwner::Wait`], it also waits.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteStore::open`], and an error if the flusher thread cannot be started. The store is
    /// then not open, and nothing is lost.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<ShapeMeta> {
        let directory = directory.as_ref();
        self.open_sqlite(|options, observer| SqliteStore::open(directory, options, observer))
    }

    /// Opens a database in memory, which ends with the last clone of the store.
    ///
    /// Blocks: never.
    ///
    /// # Errors
    ///
    /// [`Configuration`](crate::ErrorKind::Configuration) for options that cannot work.
    pub fn open_in_memory(self) -> Result<ShapeMeta> {
        self.open_sqlite(SqliteStore::open_in_memory)
    }

    fn open_sqlite(
        self,
        open: impl FnOnce(SqliteOptions, Arc<dyn Observer>) -> Result<SqliteStore>,
    ) -> Result<ShapeMeta> {
        let options = options_of(self.sqlite.clone(), &self.layers, &*self.cleaner);
        let store = Arc::new(open(options, Arc::clone(&self.layers.observer))?);
        self.over_database(Arc::clone(&store), Owned::Sqlite(store))
    }

    /// Opens the database in this directory as a standby, while its owner is alive. [`Standby::promote`]
    /// makes the composition of this builder.
    ///
    /// Writes nothing, and does not call the cleaner.
    ///
    /// Blocks: disk.
    ///
    /// # Errors
    ///
    /// Those of [`shape_meta_sqlite::SqliteStandby::open`]: `NotFound` if there is no database yet, among
    /// others.
    pub fn open_standby(self, directory: impl AsRef<Path>) -> Result<Standby> {
        let directory = directory.as_ref();
        let options = options_of(self.sqlite.clone(), &self.layers, &*self.cleaner);
        let database = SqliteStandby::open(directory, options, Arc::clone(&self.layers.observer))?;
        Standby::new(self, Arc::new(database), directory.to_owned())
    }
}

/// Returns the options of the database, given the layers above it.
fn options_of(options: SqliteOptions, layers: &Layers, cleaner: &dyn ShapeCleaner) -> SqliteOptions {
    options
        .disk_indexes(layers.disk_indexes())
        // A cache keeps the last-read times in its entries.
        .last_reads(layers.cache.is_none())
        .cleanup_tasks(cleaner.stores_data())
}

impl Database for SqliteStore {
    forward_to_store!();

    fn check_not_writing(&self) -> Result<()> {
        Self::check_not_writing(self)
    }

    fn recover(&self, cleanup: CleanupOptions) -> Result<OpenReport> {
        let recovery = Self::recover(self)?;
        if cleanup.confirm_orphans {
            Self::trust_storage(self)?;
        }
        let mut database = self.report().clone();
        database.quarantined = database.quarantined.or(recovery.quarantined);
        Ok(OpenReport {
            database: DatabaseReport::Sqlite(database),
            valid: recovery.valid,
            removed: recovery.removed,
            cleanup_tasks: recovery.cleanup_tasks,
        })
    }
}

impl Follower for SqliteStandby {
    fn check_source(&self) -> Result<()> {
        Self::check_source(self)
    }

    fn promote(&self, on_live_owner: OnLiveOwner, stop: &StopHandle) -> Result<Owned> {
        self.promote_unless_stopped(on_live_owner, stop).map(|store| Owned::Sqlite(Arc::clone(store)))
    }

    fn follow(&self, _: Box<dyn Fn(bool) -> bool + Send + Sync>) -> Result<bool> {
        Ok(false)
    }

    #[cfg(feature = "postgres")]
    fn owner_info(&self) -> Result<Option<shape_meta_postgres::StackOwner>> {
        Ok(None)
    }
}
