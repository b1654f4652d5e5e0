//! A stack in a database of PostgreSQL.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{
    ErrorKind, Handle, LastError, Result, Seq, Timestamp,
    store_parts::{CleanupTask, OnLiveOwner, StopHandle},
};
use shape_meta_postgres::{PostgresOptions, PostgresPool, PostgresStandby, PostgresStore, StackOwner};

use super::{Database, Follower, Owned, forward_to_store};
use crate::{
    Builder, DatabaseReport, OpenReport, ShapeCleaner, ShapeMeta, Standby, builder::CleanupOptions,
    layers::Layers,
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

    /// Opens the stack with this name as a standby, on any machine, while its owner is alive.
    /// [`Standby::promote`] makes the composition of this builder.
    ///
    /// With a cache, its memory follows the owner by itself: each commit is pushed, and the pool polls where
    /// notifications do not arrive ([`PoolOptions::poll_interval`](crate::PoolOptions::poll_interval)).
    /// Writes nothing, and does not call the cleaner.
    ///
    /// # Errors
    ///
    /// Those of [`PostgresStandby::open`]: `NotFound` if there is no stack yet, among others.
    pub fn open_postgres_standby(self, pool: &PostgresPool, stack: &str) -> Result<Standby> {
        let options = options_of(self.postgres.clone(), &self.layers, &*self.cleaner);
        let database = PostgresStandby::open(pool, stack, options, Arc::clone(&self.layers.observer))?;
        let place = format!("{}/{stack}", pool.place());
        Standby::new(self, Arc::new(database), place.into())
    }
}

/// Returns the options of the stack, given the layers above it.
fn options_of(options: PostgresOptions, layers: &Layers, cleaner: &dyn ShapeCleaner) -> PostgresOptions {
    options
        .disk_indexes(layers.disk_indexes())
        // A cache keeps the last-read times in its entries.
        .last_reads(layers.cache.is_none())
        .cleanup_tasks(cleaner.stores_data())
}

impl Database for PostgresStore {
    forward_to_store!();

    /// No lock of this process is held while an observer is called, and the server bounds the waits for its
    /// own.
    fn check_not_writing(&self) -> Result<()> {
        Ok(())
    }

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

/// How often a promotion that waits for a live owner looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Follower for PostgresStandby {
    /// Each read of the change log compares the stack with what was shown.
    fn check_source(&self) -> Result<()> {
        Ok(())
    }

    /// Looks again itself while it waits, so that the stop handle ends the wait.
    fn promote(&self, on_live_owner: OnLiveOwner, stop: &StopHandle) -> Result<Owned> {
        let began = Instant::now();
        let (attempt, limit) = match on_live_owner {
            OnLiveOwner::Wait(limit) => (OnLiveOwner::Fail, limit),
            other => (other, Duration::ZERO),
        };
        loop {
            match Self::promote(self, attempt) {
                Err(error) if error.kind() == ErrorKind::AlreadyOpen && began.elapsed() < limit => {
                    stop.wait(LOOK_AGAIN.min(limit.saturating_sub(began.elapsed())))?;
                }
                outcome => return outcome.map(|store| Owned::Postgres(Arc::clone(store))),
            }
        }
    }

    fn follow(&self, hook: Box<dyn Fn(bool) -> bool + Send + Sync>) -> Result<bool> {
        Self::follow(self, hook).map(|()| true)
    }

    fn owner_info(&self) -> Result<Option<StackOwner>> {
        Self::owner_info(self)
    }
}
