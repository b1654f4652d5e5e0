use std::time::Duration;
#[cfg(feature = "sqlite")]
use std::{ops::ControlFlow, sync::Arc};

use shape_meta_core::{
    CloseReport, GetOrAdd, Key, MutateError, MutateShapes, MutateShapesExt, NewShape, NotDurable, Repaired,
    Result, StoreControl,
    feed::{Feed, FeedError, FeedOptions},
};

use super::{HasFutures, ReadShapesAsync, composition::MemoryLookups, reads::look_up};
use crate::ShapeMeta;

/// # As futures
///
/// The blocking calls as futures of any runtime; reads are in [`ReadShapesAsync`], and mutations in
/// [`MutateShapesExt`]. None of them blocks the executor, on any composition. What dropping a future means is
/// documented for each.
impl ShapeMeta {
    /// [`flush`](StoreControl::flush) as a future, without a time-out: race it against a timer of the
    /// runtime. It waits without a thread.
    ///
    /// **Dropping** it ends the wait; the flush that it has requested goes on.
    ///
    /// # Errors
    ///
    /// [`NotDurable::Stopped`] if writing has stopped.
    pub async fn flush_async(&self) -> Result<(), NotDurable> {
        let futures = self.futures();
        futures.workers.note_future();
        if futures.background_flush {
            return self.request_flush().durable().await;
        }
        // Without a flusher, a thread of the store flushes. If there is none, everything is still pending.
        let flushed = self.run_blocking(|store| store.flush(Duration::MAX)).await;
        flushed.unwrap_or(Err(NotDurable::TimedOut))
    }

    /// [`close`](StoreControl::close) as a future: the way to end a store in an async service. It has a
    /// thread of its own, and keeps to its time-out whatever the threads of the store wait for.
    ///
    /// **Dropping** it before the first poll does nothing. Later, the close goes on in the background, and
    /// the next close returns its report.
    pub async fn close_async(&self, timeout: Duration) -> CloseReport {
        let store = self.clone();
        let closed = self.futures().workers.wait(move || store.close(timeout)).await;
        closed.unwrap_or_else(|error| CloseReport {
            unwritten: self.pending().mutations,
            error: Some(error),
            ..CloseReport::default()
        })
    }

    /// [`repair`](StoreControl::repair) as a future.
    ///
    /// **Dropping** it before a thread has begun does nothing. Later, the repair runs to its end.
    ///
    /// # Errors
    ///
    /// Those of [`repair`](StoreControl::repair).
    pub async fn repair_async(&self) -> Result<Repaired> {
        self.run_blocking(|store| store.repair()).await?
    }

    /// [`subscribe`](StoreControl::subscribe) as a future. The feed itself waits without a thread, with
    /// [`Feed::recv_async`] or as a stream.
    ///
    /// **Dropping** it before a thread has begun does nothing. Later, the subscription is made, and ends at
    /// once.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](StoreControl::subscribe).
    pub async fn subscribe_async(&self, options: &FeedOptions) -> Result<Feed, FeedError> {
        let options = *options;
        self.run_blocking(move |store| store.subscribe(&options)).await?
    }

    /// [`backup`](Self::backup) as a future. `progress` is called on a thread of the store.
    ///
    /// **Dropping** it ends the backup at the next call of `progress`: the directory holds what it held
    /// before.
    ///
    /// # Errors
    ///
    /// Those of [`backup`](Self::backup).
    #[cfg(feature = "sqlite")]
    pub async fn backup_async(
        &self,
        to: impl Into<std::path::PathBuf>,
        mut progress: impl FnMut(crate::BackupProgress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<()> {
        let to = to.into();
        let is_awaited = Arc::new(());
        let awaited = Arc::downgrade(&is_awaited);
        let unless_dropped = move |done| match awaited.strong_count() {
            0 => ControlFlow::Break(()),
            _ => progress(done),
        };
        self.run_blocking(move |store| store.backup(to, unless_dropped)).await?
    }

    /// [`pause`](StoreControl::pause) as a future, because a pause waits for the flush in progress.
    ///
    /// **Dropping** it before a thread has begun does nothing. Later, the store is paused.
    ///
    /// # Errors
    ///
    /// `Io` if no thread can be started: the store is not paused.
    pub async fn pause_async(&self) -> Result<()> {
        self.run_blocking(|store| store.pause()).await
    }

    /// [`get_or_add_with`](MutateShapesExt::get_or_add_with) as a future. `make` is called only if the key is
    /// not live.
    ///
    /// **Dropping** it is as dropping [`get_or_add_async`](MutateShapesExt::get_or_add_async).
    ///
    /// # Errors
    ///
    /// See [`MutateError`].
    pub async fn get_or_add_with_async(
        &self,
        key: &Key,
        make: impl FnOnce() -> NewShape + Send,
    ) -> Result<GetOrAdd, MutateError> {
        match look_up(self, MemoryLookups::All, key, Clone::clone, |store, key| store.get(key)).await? {
            Some(found) => Ok(found),
            None => self.get_or_add_async(&make()).await,
        }
    }
}
