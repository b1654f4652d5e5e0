#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::time::Instant;
use std::{
    sync::{Arc, Weak, mpsc},
    thread,
    time::Duration,
};

use shape_meta_core::{
    AttemptContext, AwaitShapes, CloseReport, GetOrAdd, Handle, Health, Key, LookUp, MutateError,
    MutateShapes, Mutation, NewShape, NotDurable, Pending, ReadShapes, Receipt, Repaired, Reservation,
    Result, ShapeWaits, Signal, StoreControl, Submitted, Usage,
    feed::{Feed, FeedError, FeedOptions},
};

use crate::{
    Builder, ShapeCleaner,
    async_store::{Futures, HasFutures, look_up_elsewhere},
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::{cleanup::Cleanup, database::Database};

/// A composed store, for any number of threads. A clone is one atomic increment, and all clones are the same
/// store.
///
/// Dropping the last clone flushes pending changes, within
/// [`BufferOptions::drop_timeout`](crate::BufferOptions::drop_timeout) and at most 5 seconds for a call of the
/// cleaner. The drop waits for that, unless the store was used by futures: opened, promoted or called by an
/// `_async` form or by [`run_blocking`](crate::ReadShapesAsync::run_blocking). Then a thread of its own does
/// it, and the drop returns at once, since it may be on an executor. A process that ends before that thread
/// loses what is pending, so [`close`](StoreControl::close) the store, or
/// [`close_async`](Self::close_async) it.
///
/// Its methods are those of [`ReadShapes`], [`MutateShapes`] and [`StoreControl`], and of the extension
/// traits [`ReadShapesExt`](crate::ReadShapesExt), [`MutateShapesExt`](crate::MutateShapesExt) and
/// [`AwaitShapesExt`](crate::AwaitShapesExt):
/// `use shape_meta::prelude::*`.
#[derive(Clone)]
pub struct ShapeMeta(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    futures: Futures,
    /// `None` over a store of the caller's own.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    cleanup: Option<Arc<Cleanup>>,
    /// Declared after `core`, so that it is dropped later: the thread that ends the store waits for this, and
    /// then has the last reference to `core`.
    has_dropped: Option<mpsc::Sender<()>>,
}

/// The layers of a store. In addition to its [`Inner`], only the cleanup holds it, while it works.
pub(crate) struct Core {
    /// Declared before the database, so that it is dropped first: a buffer flushes when it is dropped.
    stack: Box<dyn StoreControl>,
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    database: Option<crate::open::Opened>,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Core {
    pub(crate) fn stack(&self) -> &dyn StoreControl {
        &*self.stack
    }

    pub(crate) fn database(&self) -> Option<&dyn Database> {
        Some(self.database.as_ref()?.store.database())
    }

    /// Releases the ownership of the database: on a thread of its own, since a use of the disk that hangs
    /// keeps the connection. Waits until the deadline.
    ///
    /// # Errors
    ///
    /// If the writer cannot be closed. No commit is lost then.
    fn release(self: &Arc<Self>, deadline: Instant) -> Result<()> {
        let (core, (sender, closed)) = (Arc::clone(self), mpsc::sync_channel(1));
        let close = move || {
            let outcome = core.database().map_or(Ok(()), Database::release);
            // The caller may be the last owner.
            drop(core);
            // It has not waited this long.
            let _ = sender.send(outcome);
        };
        // Without a thread, the drop of the last clone releases it.
        if thread::Builder::new().name("shape-meta-close".to_owned()).spawn(close).is_err() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(GRACE);
        closed.recv_timeout(left).unwrap_or(Ok(()))
    }
}

/// How long the release of the database may take although the deadline has passed: enough for a disk that
/// does not hang.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const GRACE: Duration = Duration::from_millis(100);

/// How long a drop waits for the cleaner. A call that takes longer keeps the database open until it returns.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

impl Drop for Inner {
    fn drop(&mut self) {
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        if let Some(cleanup) = &self.cleanup {
            cleanup.begin_close();
        }
        if !self.futures.workers.has_futures() || !self.end_elsewhere() {
            self.wait_for_cleaner();
        }
    }
}

impl Inner {
    /// Waits until a call of the cleaner in progress has ended, but not for ever.
    fn wait_for_cleaner(&self) {
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        if let Some(cleanup) = &self.cleanup {
            cleanup.wait_until_idle(Instant::now() + DROP_TIMEOUT);
        }
    }

    /// Ends the store on a thread of its own, once this is dropped. Returns whether one could be started.
    fn end_elsewhere(&mut self) -> bool {
        let (sender, dropped) = mpsc::channel::<()>();
        let core = Arc::clone(&self.core);
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        let cleanup = self.cleanup.clone();
        let end = move || {
            // Ends when the sender is dropped.
            let _ = dropped.recv();
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            if let Some(cleanup) = cleanup {
                cleanup.wait_until_idle(Instant::now() + DROP_TIMEOUT);
            }
            drop(core);
        };
        let is_started = thread::Builder::new().name("shape-meta-drop".to_owned()).spawn(end).is_ok();
        self.has_dropped = is_started.then_some(sender);
        is_started
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn deadline(timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    Instant::now() + timeout.min(FAR)
}

impl ShapeMeta {
    /// Returns a builder. It takes the cleaner at once, because no database opens without one. Pass
    /// [`NoopCleaner`](crate::NoopCleaner) if you store no data for shapes.
    pub fn builder(cleaner: impl ShapeCleaner + 'static) -> Builder {
        Builder::new(Arc::new(cleaner))
    }

    pub(crate) fn of(stack: Box<dyn StoreControl>, futures: Futures) -> Self {
        Self(Arc::new(Inner {
            core: Arc::new(Core {
                stack,
                #[cfg(any(feature = "sqlite", feature = "postgres"))]
                database: None,
            }),
            futures,
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            cleanup: None,
            has_dropped: None,
        }))
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn over_database(
        stack: Box<dyn StoreControl>,
        database: crate::open::Opened,
        cleanup: Arc<Cleanup>,
        futures: Futures,
    ) -> Self {
        let core = Arc::new(Core { stack, database: Some(database) });
        if let Some(database) = core.database() {
            let cleanup = Arc::clone(&cleanup);
            database.on_cleanup_tasks(Box::new(move || cleanup.wake()));
        }
        cleanup.start(&core);
        Self(Arc::new(Inner { core, futures, cleanup: Some(cleanup), has_dropped: None }))
    }

    /// Returns the file of SQLite below, for its size, its query plans and its maintenance; `None` over
    /// another database and over a store of your own. It lacks the changes that are pending. Do not change
    /// it.
    ///
    /// Blocks: never.
    #[cfg(feature = "sqlite")]
    pub fn database(&self) -> Option<&crate::SqliteStore> {
        self.0.core.database.as_ref()?.store.sqlite()
    }

    /// Returns the stack in PostgreSQL below, for its report and its pool; `None` over another database and
    /// over a store of your own. It lacks the changes that are pending. Do not change it.
    #[cfg(feature = "postgres")]
    pub fn postgres(&self) -> Option<&crate::PostgresStore> {
        self.0.core.database.as_ref()?.store.postgres()
    }

    /// Returns what opening found and did; `None` over a store of your own.
    ///
    /// Blocks: never.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn open_report(&self) -> Option<&crate::OpenReport> {
        Some(&self.0.core.database.as_ref()?.report)
    }

    /// Hands up to 1,000 removed shapes to the cleaner on this thread, or searches for orphans if no removed
    /// shape is left. Returns whether there may be more to do at once. The store does this in the background
    /// by itself, unless the builder turns [`background_cleanup`](Builder::background_cleanup) off.
    ///
    /// If the cleaner fails, the next calls hand over fewer shapes at a time, and one that cannot be cleaned
    /// is skipped until the others are done. Waits for a call of the cleaner in progress. Does nothing over a
    /// store of your own, after a close, and within a call of the cleaner.
    ///
    /// Blocks: disk, and waits for the cleaner.
    ///
    /// # Errors
    ///
    /// [`Cleaner`](crate::ErrorKind::Cleaner) if the cleaner failed, [`Panicked`](crate::ErrorKind::Panicked)
    /// if it panicked, and the errors of the database. The same shapes are handed over again.
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if an observer calls this on the thread of a mutation
    /// or of a repair.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn clean_once(&self) -> Result<bool> {
        match &self.0.cleanup {
            Some(cleanup) => cleanup.step(),
            None => Ok(false),
        }
    }

    /// Returns how the deletion of stored data fares. Reads no disk and does not wait for the cleaner.
    ///
    /// Blocks: short lock.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn cleanup_status(&self) -> crate::CleanupStatus {
        let Some(cleanup) = &self.0.cleanup else { return crate::CleanupStatus::default() };
        let tasks = self.0.core.database().map_or(0, Database::pending_cleanup_tasks);
        crate::CleanupStatus { tasks, ..cleanup.status() }
    }

    /// Says that stored data without a shape is garbage, and hands it to the cleaner after another search.
    ///
    /// A database that was just created, restored or rebuilt only reports orphans
    /// ([`cleanup_status`](Self::cleanup_status)), since it may be the wrong one. Look at the reported ones,
    /// and make sure that the right database is open, before you confirm them. This is remembered until
    /// the file is restored or rebuilt, or loses its lock file. It also ends with a storage that has orphans
    /// but the data of none of the shapes, and with a power loss that undoes commits.
    ///
    /// Blocks: disk.
    ///
    /// # Errors
    ///
    /// If the database cannot be written. [`Unsupported`](crate::ErrorKind::Unsupported) if an observer calls
    /// this where the operation that it observes has the connection that writes.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn confirm_orphans(&self) -> Result<()> {
        if let (Some(database), Some(cleanup)) = (self.0.core.database(), &self.0.cleanup) {
            database.trust_storage()?;
            cleanup.sweep_confirmed();
        }
        Ok(())
    }

    /// Runs a mutation that reads the disk on a thread of the store.
    fn run_on_thread<T: Send + 'static>(
        &self,
        mutate: impl FnOnce(&Self) -> Result<T, MutateError> + Send + 'static,
    ) -> impl Future<Output = Result<T, MutateError>> + Send + 'static {
        let store = self.clone();
        let outcome = self.0.futures.workers.call(move || mutate(&store));
        async move { outcome.await? }
    }

    /// Copies the database into the directory `to`, which must not hold one, while the store is used. Takes
    /// about three seconds for every million shapes. `progress` is called about every thousand
    /// pages, and ends the backup by `Break`.
    ///
    /// The copy holds what is committed when the call begins: [`flush`](StoreControl::flush) before it to
    /// include what is pending. How to restore it is in `docs/operations.md` of the repository.
    ///
    /// Blocks: disk.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteStore::backup`](crate::SqliteStore::backup), and
    /// [`Unsupported`](crate::ErrorKind::Unsupported) over a store of your own. The directory then holds what
    /// it held before.
    #[cfg(feature = "sqlite")]
    pub fn backup(
        &self,
        to: impl AsRef<std::path::Path>,
        progress: impl FnMut(crate::BackupProgress) -> std::ops::ControlFlow<()>,
    ) -> Result<()> {
        match self.database() {
            Some(database) => database.backup(to.as_ref(), progress),
            None => Err(crate::Error::new(
                crate::ErrorKind::Unsupported,
                "this store has no database file of ours; back it up with the means of its own",
            )),
        }
    }

    /// Returns a reference that does not keep the store open.
    ///
    /// Blocks: never.
    pub fn downgrade(&self) -> WeakShapeMeta {
        WeakShapeMeta(Arc::downgrade(&self.0))
    }
}

/// A reference that does not keep a store open: for gauges and probes.
#[derive(Clone)]
pub struct WeakShapeMeta(Weak<Inner>);

impl WeakShapeMeta {
    /// Returns the store if it is still open. Drop it soon: dropping the last clone may flush, as documented
    /// on [`ShapeMeta`].
    ///
    /// Blocks: never.
    pub fn upgrade(&self) -> Option<ShapeMeta> {
        self.0.upgrade().map(ShapeMeta)
    }
}

#[allow(private_interfaces, reason = "only this crate calls it")]
impl HasFutures for ShapeMeta {
    fn futures(&self) -> &Futures {
        &self.0.futures
    }
}

impl std::fmt::Debug for WeakShapeMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakShapeMeta").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ShapeMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShapeMeta").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for ShapeMeta {
    shape_meta_core::forward_reads!(self => self.0.core.stack);
}

#[deny(clippy::missing_trait_methods)]
impl AwaitShapes for ShapeMeta {
    fn shape_waits(&self) -> Arc<ShapeWaits> {
        self.0.core.stack.shape_waits()
    }

    fn shown_receipt(&self) -> Option<Receipt> {
        self.0.core.stack.shown_receipt()
    }

    fn look_up_elsewhere(&self, handle: &Handle) -> Option<LookUp> {
        look_up_elsewhere(self, handle)
    }
}

#[deny(clippy::missing_trait_methods)]
impl MutateShapes for ShapeMeta {
    fn get(&self, key: &Key) -> Result<Option<GetOrAdd>> {
        self.0.core.stack.get(key)
    }

    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.0.core.stack.try_mutate(mutation)
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.0.core.stack.try_get_or_add(shape)
    }

    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        self.0.core.stack.attempt(mutation, attempt)
    }

    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        self.0.core.stack.attempt_get_or_add(shape, attempt)
    }

    fn submit(&self, mutation: &Mutation, attempt: AttemptContext) -> Submitted<Receipt> {
        self.0.futures.workers.note_future();
        if !self.0.futures.submits_on_disk() {
            return self.0.core.stack.submit(mutation, attempt);
        }
        let mutation = mutation.clone();
        let accepted = self.run_on_thread(move |stack| stack.attempt(&mutation, attempt));
        Submitted::Waiting(Box::pin(accepted))
    }

    fn submit_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Submitted<GetOrAdd> {
        self.0.futures.workers.note_future();
        if !self.0.futures.submits_on_disk() {
            return self.0.core.stack.submit_get_or_add(shape, attempt);
        }
        let shape = shape.clone();
        let accepted = self.run_on_thread(move |stack| stack.attempt_get_or_add(&shape, attempt));
        Submitted::Waiting(Box::pin(accepted))
    }

    fn capacity_signal(&self) -> Option<&Signal> {
        self.0.core.stack.capacity_signal()
    }
}

#[deny(clippy::missing_trait_methods)]
impl StoreControl for ShapeMeta {
    fn request_flush(&self) -> Receipt {
        self.0.core.stack.request_flush()
    }

    fn flush(&self, timeout: Duration) -> Result<(), NotDurable> {
        self.0.core.stack.flush(timeout)
    }

    fn pause(&self) {
        self.0.core.stack.pause();
    }

    fn resume(&self) {
        self.0.core.stack.resume();
    }

    fn subscribe(&self, options: &FeedOptions) -> Result<Feed, FeedError> {
        self.0.core.stack.subscribe(options)
    }

    fn pending(&self) -> Pending {
        self.0.core.stack.pending()
    }

    fn drain_rate(&self) -> f64 {
        self.0.core.stack.drain_rate()
    }

    fn health(&self) -> Health {
        let health = self.0.core.stack.health();
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        let health = {
            let mut health = health;
            health.damage = self.0.core.database().and_then(Database::latest_damage);
            health
        };
        health
    }

    fn usage(&self) -> Usage {
        let usage = self.0.core.stack.usage();
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        let usage = {
            let mut usage = usage;
            usage.waiting_orphans = self.0.cleanup.as_ref().and_then(|cleanup| cleanup.waiting_orphans());
            usage
        };
        usage
    }

    fn repair(&self) -> Result<Repaired> {
        self.0.core.stack.repair()
    }

    fn reserve_handles(&self, handles: &[Handle]) -> Result<Reservation> {
        self.0.core.stack.reserve_handles(handles)
    }

    /// Also ends the cleanup, and releases the ownership of the database.
    ///
    /// - **Cleaner:** a call in progress is waited for within the timeout. What it has not deleted is handed
    ///   to it after the next open.
    /// - **Ownership:** when a complete close returns, this process or another one can open the database,
    ///   although clones of this store are left. Their reads go on, and those of the disk may show what the
    ///   next owner writes. If something hangs for longer than the timeout, the database stays owned until
    ///   that has returned and the last clone is dropped: a call of the cleaner, so that no other owner gives
    ///   one of its handles to a shape; a write, which may still be committed. The same after a close that
    ///   could not write everything, after one that was called by the cleaner, and with
    ///   [`Mode::Exclusive`](crate::Mode::Exclusive), whose only connection also serves the reads.
    fn close(&self, timeout: Duration) -> CloseReport {
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        let (cleanup, deadline) = (self.0.cleanup.as_ref(), deadline(timeout));
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        if let Some(cleanup) = cleanup {
            cleanup.begin_close();
        }
        let report = self.0.core.stack.close(timeout);
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        let report = {
            let is_idle = cleanup.is_none_or(|cleanup| cleanup.wait_until_idle(deadline));
            let ended = is_idle && report.is_complete() && report.error.is_none();
            let released = if ended { self.0.core.release(deadline) } else { Ok(()) };
            CloseReport { error: report.error.or(released.err()), ..report }
        };
        report
    }
}
