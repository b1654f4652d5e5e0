#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;

use shape_meta_core::{
    RefreshReport, Result,
    feed::{Feed, FeedError, FeedOptions},
    store_parts::{OnLiveOwner, StopHandle},
};

use super::{HasFutures, ReadShapesAsync, Workers};
use crate::{Builder, ShapeMeta, Standby};

/// Stops the wait of a promotion, or of an open, whose future is dropped.
struct StopOnDrop(StopHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(feature = "sqlite")]
impl Builder {
    /// [`open`](Self::open) as a future of any runtime.
    ///
    /// **Dropping** it ends the wait for a live owner, unless the options have a
    /// [`stop_handle`](crate::SqliteOptions::stop_handle), which then decides. An open that has taken the
    /// ownership runs to its end, and closes the database again.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open); `Io` if no thread can be started.
    pub async fn open_async(mut self, directory: impl Into<PathBuf>) -> Result<ShapeMeta> {
        let (directory, stop) = (directory.into(), StopOnDrop(StopHandle::new()));
        if !self.sqlite.has_stop_handle() {
            self.sqlite = self.sqlite.stop_handle(&stop.0);
        }
        let waits = self.sqlite.waits_for_live_owner();
        let workers = self.workers();
        let open = move || self.open(directory);
        if waits { workers.wait(open).await? } else { workers.call(open).await? }
    }

    /// [`open_standby`](Self::open_standby) as a future of any runtime.
    ///
    /// **Dropping** it is safe: an open that has begun runs to its end, and its standby is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`open_standby`](Self::open_standby); `Io` if no thread can be started.
    pub async fn open_standby_async(mut self, directory: impl Into<PathBuf>) -> Result<Standby> {
        let directory = directory.into();
        let workers = self.workers();
        workers.call(move || self.open_standby(directory)).await?
    }
}

#[cfg(feature = "postgres")]
impl Builder {
    /// [`open_postgres`](Self::open_postgres) as a future of any runtime.
    ///
    /// **Dropping** it ends the wait for a live owner, unless the options have a
    /// [`stop_handle`](crate::PostgresOptions::stop_handle), which then decides. An open that has taken the
    /// ownership runs to its end, and its store is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`open_postgres`](Self::open_postgres); `Io` if no thread can be started.
    pub async fn open_postgres_async(mut self, pool: &crate::PostgresPool, stack: &str) -> Result<ShapeMeta> {
        let (pool, stack, stop) = (pool.clone(), stack.to_owned(), StopOnDrop(StopHandle::new()));
        if !self.postgres.has_stop_handle() {
            self.postgres = self.postgres.stop_handle(&stop.0);
        }
        let waits = self.postgres.waits_for_live_owner();
        let workers = self.workers();
        let open = move || self.open_postgres(&pool, &stack);
        if waits { workers.wait(open).await? } else { workers.call(open).await? }
    }

    /// [`open_postgres_standby`](Self::open_postgres_standby) as a future of any runtime.
    ///
    /// **Dropping** it is safe: an open that has begun runs to its end, and its standby is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`open_postgres_standby`](Self::open_postgres_standby); `Io` if no thread can be started.
    pub async fn open_postgres_standby_async(
        mut self,
        pool: &crate::PostgresPool,
        stack: &str,
    ) -> Result<Standby> {
        let (pool, stack) = (pool.clone(), stack.to_owned());
        let workers = self.workers();
        workers.call(move || self.open_postgres_standby(&pool, &stack)).await?
    }
}

impl Builder {
    /// Returns the threads of the store that is being built.
    fn workers(&mut self) -> Arc<Workers> {
        Arc::clone(self.workers.get_or_insert_with(|| Workers::new(None)))
    }
}

/// # As futures
impl Standby {
    /// [`refresh`](Self::refresh) as a future of any runtime.
    ///
    /// **Dropping** it is safe: a refresh that has begun runs to its end.
    ///
    /// # Errors
    ///
    /// Those of [`refresh`](Self::refresh); `Io` if no thread can be started.
    pub async fn refresh_async(&self) -> Result<RefreshReport> {
        self.run_blocking(Self::refresh).await?
    }

    /// [`subscribe`](Self::subscribe) as a future of any runtime.
    ///
    /// **Dropping** it is safe: the feed ends at once.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe).
    pub async fn subscribe_async(&self, options: &FeedOptions) -> Result<Feed, FeedError> {
        let options = *options;
        self.run_blocking(move |standby| standby.subscribe(&options)).await?
    }

    /// [`promote`](Self::promote) as a future of any runtime. It waits for a live owner on a thread of its
    /// own, so refreshes go on.
    ///
    /// **Dropping** it ends the wait for a live owner: it is still a standby. A promotion that has taken the
    /// ownership runs to its end; [`store`](Self::store) then returns the store, as does the next promotion.
    ///
    /// # Errors
    ///
    /// Those of [`promote`](Self::promote); `Io` if no thread can be started.
    pub async fn promote_async(&self, on_live_owner: OnLiveOwner) -> Result<ShapeMeta> {
        let stop = StopOnDrop(StopHandle::new());
        let (standby, handle) = (self.clone(), stop.0.clone());
        let promote = move || standby.promote_unless_stopped(on_live_owner, &handle);
        self.futures().workers.wait(promote).await?
    }
}
