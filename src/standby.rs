//! A read-only follower of a database that another process owns, and its promotion to owner.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta_core::{
    Activity, AwaitShapes, Handle, LookUp, ReadShapes, Receipt, RefreshReport, Result, Seq, ShapeWaits,
    Signal, StoreControl,
    feed::{Feed, FeedError, FeedOptions},
    store_parts::{ObservedLock, OnLiveOwner, StopHandle},
};

use crate::{
    Builder, ShapeCleaner, ShapeMeta,
    async_store::{Futures, HasFutures, MemoryLookups, ReadShapesAsync, look_up_elsewhere},
    builder::CleanupOptions,
    cleanup::Cleanup,
    database::Follower,
    layers::{Layers, LowerLayers, lower_layers},
    open::Opened,
    standby_feeds::StandbyFeeds,
};

/// A read-only follower of a database that another process owns. [`promote`](Self::promote) makes it the
/// owner: for the new process of a rolling deploy, and for processes that only read.
///
/// With a [cache](Builder::cached), memory shows the state of the last [`refresh`](Self::refresh), and reads
/// from disk show the current state. So a shape that was removed since the last refresh has metadata and no
/// record until the next one. Changes that the owner has acknowledged and not committed are not visible here.
///
/// A clone is one atomic increment. The methods are those of [`ReadShapes`] and
/// [`ReadShapesExt`](crate::ReadShapesExt). After promotion all clones read through the promoted store, so
/// readers keep the clone that they have.
///
/// ```no_run
/// # #[cfg(all(feature = "cache", feature = "buffer"))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use shape_meta::{BufferOptions, CacheOptions, NoopCleaner, OnLiveOwner, ShapeMeta, prelude::*};
///
/// let standby = ShapeMeta::builder(NoopCleaner)
///     .cached(CacheOptions::default())
///     .buffered(BufferOptions::default())
///     .open_standby("/var/lib/sync/shapes")?;
/// // Serve reads, and every second or so:
/// standby.refresh()?;
/// // Once the old process was asked to end:
/// let store = standby.promote(OnLiveOwner::Wait(Duration::from_secs(30)))?;
/// store.mark_snapshot_started("54334872-1768476874000000", Wait::No)?;
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "cache", feature = "buffer")))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Standby(Arc<Inner>);

struct Inner {
    database: Arc<dyn Follower>,
    lower: LowerLayers<Arc<dyn Follower>>,
    /// Locked across each refresh and subscription.
    feeds: ObservedLock<StandbyFeeds>,
    /// Set under the lock of `feeds`, so that a refresh or a subscription comes before the promotion or sees
    /// it: once the store accepts mutations, feeds are its own.
    promoted: OnceLock<ShapeMeta>,
    /// Woken by refreshes, and by the promotion. After that, waits are those of the promoted store.
    waits: Arc<ShapeWaits>,
    /// The directory of the database, or its name in messages.
    place: PathBuf,
    futures: Futures,
    /// Locked for the whole of a promotion, so that only one runs at a time.
    promotion: ObservedLock<Promotion>,
    /// Raised after a refresh, and after the promotion.
    changed: Signal,
    /// Whether commits of the owner are pushed.
    is_pushed: OnceLock<bool>,
    /// Whether it becomes the owner by itself when the database has none.
    takes_over: AtomicBool,
    /// When a refresh began that has shown everything that was committed up to then.
    fresh_since: Mutex<Instant>,
}

/// How often a wait looks for changes that are not pushed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a promotion needs in addition to the layers that already serve reads.
struct Promotion {
    cleaner: Arc<dyn ShapeCleaner>,
    cleanup: CleanupOptions,
    upper: Layers,
}

impl Standby {
    pub(crate) fn new(builder: Builder, database: Arc<dyn Follower>, place: PathBuf) -> Result<Self> {
        let Builder { cleaner, cleanup, layers: mut upper, workers, .. } = builder;
        let futures = Futures::of(&upper, workers);
        let lower = lower_layers(Arc::clone(&database), &mut upper)?;
        let has_mirror = lower.has_mirror();
        let inner = Arc::new(Inner {
            database,
            lower,
            feeds: ObservedLock::new(StandbyFeeds::new(Arc::clone(&upper.feeds))),
            promoted: OnceLock::new(),
            waits: Arc::default(),
            place,
            futures,
            promotion: ObservedLock::new(Promotion { cleaner, cleanup, upper }),
            changed: Signal::new(),
            is_pushed: OnceLock::new(),
            takes_over: AtomicBool::new(false),
            fresh_since: Mutex::new(Instant::now()),
        });
        let this = Arc::downgrade(&inner);
        let followed = inner.database.follow(Box::new(move |is_owned| {
            // A standby that is gone follows nothing.
            this.upgrade().is_none_or(|inner| Self(inner).pushed(is_owned))
        }))?;
        inner.is_pushed.get_or_init(|| has_mirror && followed);
        Ok(Self(inner))
    }

    /// Follows a commit of the owner, or its end. Returns whether it has.
    fn pushed(&self, is_owned: bool) -> bool {
        // The observer has a failure, and the next poll calls this again.
        let refreshed = self.refresh();
        if !is_owned && self.0.takes_over.load(Ordering::Acquire) {
            // Another standby may have been faster.
            let _ = self.promote(OnLiveOwner::Fail);
        }
        refreshed.is_ok()
    }

    /// Brings memory up to date with what the owner has committed, in one step: a shape that exists before
    /// and after the refresh is visible all the time.
    ///
    /// Costs some microseconds for each change, whatever the number of shapes. Reads all shapes, as opening
    /// does, if the owner's change log no longer reaches back to the last refresh, or if its database was
    /// repaired. Without a cache it only checks whether the file was replaced. Does nothing after promotion.
    ///
    /// Blocks: disk.
    ///
    /// # Errors
    ///
    /// If the database cannot be read or is gone. Memory then shows what it showed before.
    pub fn refresh(&self) -> Result<RefreshReport> {
        match self.0.promoted.get() {
            Some(_) => Ok(RefreshReport::default()),
            None => {
                let began = Instant::now();
                self.0.database.check_source()?;
                let mut feeds = self.0.feeds.lock()?;
                if self.0.promoted.get().is_some() {
                    return Ok(RefreshReport::default());
                }
                let refreshed = feeds.refresh(&self.0.lower);
                drop(feeds);
                self.0.waits.all_changed();
                let refreshed = refreshed?;
                *self.0.fresh_since.lock().unwrap_or_else(PoisonError::into_inner) = began;
                self.0.changed.raise();
                Ok(refreshed)
            }
        }
    }

    /// Returns how old what this standby shows may be: the time since a refresh began that has shown
    /// everything that was committed up to then. Zero after a promotion. Reads no disk; for a gauge.
    ///
    /// Where commits are pushed, it also grows while there are none, up to the poll interval of the pool.
    ///
    /// Blocks: short lock.
    pub fn staleness(&self) -> Duration {
        match self.0.promoted.get() {
            Some(_) => Duration::ZERO,
            None => self.0.fresh_since.lock().unwrap_or_else(PoisonError::into_inner).elapsed(),
        }
    }

    /// Blocks this thread until reads of this standby show the mutation with this sequence number, for up to
    /// `timeout`. Returns whether they do: so a client whose mutation one process has accepted can be served
    /// by another one. Take the number from a [`Receipt`](crate::Receipt).
    ///
    /// The owner commits the mutation first; wait for its receipt there if that is urgent. If the owner fails
    /// before, the number may later stand for another mutation. Refreshes itself where commits are not
    /// pushed.
    ///
    /// Blocks: waits for up to `timeout`; disk where commits are not pushed, or without a cache.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn wait_visible(&self, seq: Seq, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            // Listen, then check: a refresh in between is not missed.
            let waiter = self.0.changed.listen();
            if !self.is_pushed() {
                self.refresh()?;
            }
            if self.last_seq()? >= seq {
                return Ok(true);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(false);
            }
            let look_again = if self.is_pushed() { None } else { Some(now + LOOK_AGAIN) };
            waiter.wait(deadline.into_iter().chain(look_again).min());
        }
    }

    /// Waits until reads of this standby show the mutation with this sequence number, as a future of any
    /// runtime. Ends only where commits are pushed, or another task [refreshes](Self::refresh); for a
    /// time-out, race it against a timer. See [`wait_visible`](Self::wait_visible).
    ///
    /// With a cache it reads memory alone; without one, it reads the disk on a thread of the store.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn visible(&self, seq: Seq) -> Result<()> {
        let is_in_memory = self.0.futures.memory > MemoryLookups::Nothing;
        loop {
            let waiter = self.0.changed.listen();
            let shown = if is_in_memory { self.last_seq()? } else { self.last_seq_async().await? };
            if shown >= seq {
                return Ok(());
            }
            waiter.await;
        }
    }

    /// Returns the process that owns the database, with its address, so that a service can forward mutations
    /// to it; `None` if no live process does, and for a file of SQLite. A round trip to the server.
    ///
    /// Blocks: disk.
    ///
    /// # Errors
    ///
    /// Those of the server.
    #[cfg(feature = "postgres")]
    pub fn owner(&self) -> Result<Option<crate::StackOwner>> {
        self.0.database.owner_info()
    }

    /// Becomes the owner by itself, as [`promote`](Self::promote) does, when the database has no live owner:
    /// when it was closed, or its lease has run out. Of several standbys one succeeds, and the others go on
    /// as standbys of it. [`promoted`](Self::promoted) waits for it.
    ///
    /// It happens on a thread of the pool. Has no effect on a file of SQLite, whose end is not pushed; there,
    /// call `promote` with [`OnLiveOwner::Wait`].
    ///
    /// Blocks: never.
    pub fn promote_when_free(&self) {
        self.0.takes_over.store(true, Ordering::Release);
    }

    /// Waits until this standby is the owner, as a future of any runtime, and returns the promoted store.
    pub async fn promoted(&self) -> ShapeMeta {
        loop {
            let waiter = self.0.changed.listen();
            if let Some(store) = self.store() {
                return store;
            }
            waiter.await;
        }
    }

    /// Waits until this standby is the owner, for up to `timeout`, and returns the promoted store.
    ///
    /// Blocks: waits for up to `timeout`.
    pub fn wait_promoted(&self, timeout: Duration) -> Option<ShapeMeta> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let waiter = self.0.changed.listen();
            if let Some(store) = self.store() {
                return Some(store);
            }
            if !waiter.wait(deadline) {
                return self.store();
            }
        }
    }

    /// Subscribes to the changes of the list of shapes (C15): those of each [`refresh`](Self::refresh), in
    /// one step, as net changes, and after a promotion those of the promoted store. A feed goes on through a
    /// promotion. Visible and durable changes are the same until then.
    ///
    /// Waits for a refresh in progress. After a sequence number, it refreshes. A refresh that reads
    /// everything again ends the feeds: their subscribers list anew. Without a cache, changes have only the
    /// ids of shapes that were removed or marked, and the next refresh may repeat what was caught up.
    ///
    /// Blocks: disk, and waits for a refresh in progress.
    ///
    /// # Errors
    ///
    /// Those of [`StoreControl::subscribe`].
    pub fn subscribe(&self, options: &FeedOptions) -> Result<Feed, FeedError> {
        if let Some(store) = self.0.promoted.get() {
            return store.subscribe(options);
        }
        let mut feeds = self.0.feeds.lock()?;
        match self.0.promoted.get() {
            Some(store) => {
                drop(feeds);
                store.subscribe(options)
            }
            None => feeds.subscribe(&self.0.lower, options),
        }
    }

    /// Becomes the owner. Takes ownership, runs what [`Builder::open`] runs (migration, repair, recovery),
    /// brings memory up to date, and starts to accept mutations. Reads go on all the time.
    ///
    /// `on_live_owner` decides what happens while the present owner is alive: fail, wait for it, or fence it.
    /// Recovery removes the shapes whose snapshot is not complete, as at every open, because the process that
    /// made those snapshots is gone. A second call returns the same store.
    ///
    /// Blocks: disk; with [`OnLiveOwner::Wait`](crate::OnLiveOwner), it also waits.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::open`]; `AlreadyOpen` if there is another owner. It is then still a standby, and
    /// the call can be repeated. A failure after it took ownership keeps the ownership.
    pub fn promote(&self, on_live_owner: OnLiveOwner) -> Result<ShapeMeta> {
        self.promote_unless_stopped(on_live_owner, &StopHandle::new())
    }

    /// [`promote`](Self::promote), which ends when `stop` is stopped while it waits, for a live owner or for
    /// another promotion: for a process that has to end meanwhile. It is still a standby then.
    ///
    /// Blocks: as [`promote`](Self::promote), until it is stopped.
    ///
    /// # Errors
    ///
    /// Those of [`promote`](Self::promote), and `Interrupted` if it was stopped.
    pub fn promote_unless_stopped(&self, on_live_owner: OnLiveOwner, stop: &StopHandle) -> Result<ShapeMeta> {
        let promotion = self.0.promotion.lock_unless_stopped(stop)?;
        if let Some(store) = self.0.promoted.get() {
            return Ok(store.clone());
        }
        let observer = Arc::clone(&promotion.upper.observer);
        let store = Activity::Promote { path: &self.0.place }
            .observed(&*observer, || self.take_over(&promotion, on_live_owner, stop))?;
        let feeds = self.0.feeds.lock()?;
        let store = self.0.promoted.get_or_init(|| store).clone();
        drop(feeds);
        // They go on with the waits of the store.
        self.0.waits.all_changed();
        self.0.changed.raise();
        Ok(store)
    }

    fn take_over(
        &self,
        promotion: &Promotion,
        on_live_owner: OnLiveOwner,
        stop: &StopHandle,
    ) -> Result<ShapeMeta> {
        let Promotion { cleaner, cleanup, upper } = promotion;
        let owner = self.0.database.promote(on_live_owner, stop)?;
        let report = owner.database().recover(*cleanup)?;
        // The former owner can no longer commit, so this refresh is the last that is needed.
        self.0.feeds.lock()?.refresh(&self.0.lower)?;
        self.0.lower.merge_saved_reads(|created| owner.database().first_seen_at(created))?;
        let stack = self.0.lower.stack_under(upper.clone())?;
        let cleanup = Cleanup::new(Arc::clone(cleaner), Arc::clone(&upper.observer), *cleanup);
        let opened = Opened { store: owner, report };
        Ok(ShapeMeta::over_database(stack, opened, cleanup, self.0.futures.clone()))
    }

    /// Returns the promoted store; `None` before promotion.
    ///
    /// Blocks: never.
    pub fn store(&self) -> Option<ShapeMeta> {
        self.0.promoted.get().cloned()
    }

    fn is_pushed(&self) -> bool {
        self.0.is_pushed.get() == Some(&true)
    }

    fn reads(&self) -> &dyn ReadShapes {
        match self.0.promoted.get() {
            Some(store) => store,
            None => self.0.lower.reads(),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for Standby {
    shape_meta_core::forward_reads!(self => self.reads());
}

#[allow(private_interfaces, reason = "only this crate calls it")]
impl HasFutures for Standby {
    fn futures(&self) -> &Futures {
        &self.0.futures
    }
}

/// Woken by each [`refresh`](Standby::refresh), since that alone changes what a standby shows from memory.
/// After the promotion, a wait goes on with the promoted store.
#[deny(clippy::missing_trait_methods)]
impl AwaitShapes for Standby {
    fn shape_waits(&self) -> Arc<ShapeWaits> {
        self.0.promoted.get().map_or_else(|| Arc::clone(&self.0.waits), AwaitShapes::shape_waits)
    }

    /// A standby shows what is committed.
    fn shown_receipt(&self) -> Option<Receipt> {
        self.0.promoted.get()?.shown_receipt()
    }

    fn look_up_elsewhere(&self, handle: &Handle) -> Option<LookUp> {
        look_up_elsewhere(self, handle)
    }
}

impl std::fmt::Debug for Standby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standby")
            .field("place", &self.0.place)
            .field("promoted", &self.0.promoted.get().is_some())
            .finish_non_exhaustive()
    }
}
