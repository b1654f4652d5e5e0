use std::{borrow::Cow, fmt, sync::Arc, time::Instant};

use super::{eviction::Eviction, options::EvictorOptions, pins::Pins, removal};
use crate::{
    EvictionStats, Handle, MutateError, MutateShapes, NoopObserver, Observer, Result, Timestamp,
    sync::atomic::{AtomicBool, Ordering},
};

/// How often a step searches again because a predicate has pinned what it found (I9).
const SEARCHES: usize = 3;

/// Removes the least recently used shapes of one store, so that a number of shapes, or those that were read
/// lately, stay.
///
/// It has no thread. [`step`](Self::step) does a bounded amount of work: call it at an interval, and again at
/// once while it reports [`more`](Eviction::more). The crate `shape-meta` has a thread for any number of
/// stores.
///
/// A shape that is read after a step has begun is not removed by it. A shape that was never read is not
/// considered, unless the store counts the creation as a read (`creation_counts_as_read` of the options of a
/// store): set that option, or shapes that no client reads stay for ever.
///
/// Each shape is removed alone, and those that depend on it stay. [Pin](Self::pin) a shape that another one
/// needs, if your engine does not touch it by itself.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_core::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let shape = |number: u8| NewShape {
/// #     handle: Handle::new(number.to_string()).expect("printable"),
/// #     key: Key::new([number; 32]),
/// #     hash: DefinitionHash::new(0),
/// #     relations: Relations::default(),
/// #     dependencies: [].into(),
/// #     indexed: false,
/// #     definition: [].into(),
/// #     created_at: None,
/// # };
/// let store = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver))?
///     .creation_counts_as_read(true);
/// for number in 0..150 {
///     store.add(shape(number), Wait::No)?;
/// }
/// let evictor = Evictor::new(EvictorOptions::default().max_shapes(100).low_water(90));
/// evictor.pin(Handle::new("0")?);
/// while evictor.step(&store).more {}
/// assert_eq!(store.counts()?.total, 90);
/// assert!(store.has_handle("0")?);
/// # Ok(())
/// # }
/// ```
pub struct Evictor {
    options: EvictorOptions,
    observer: Arc<dyn Observer>,
    pins: Pins,
    /// Whether there were more shapes than the maximum, and are still more than the low water.
    is_above: AtomicBool,
}

impl Evictor {
    /// Returns an evictor with these options. It removes nothing until it is stepped.
    pub fn new(options: EvictorOptions) -> Self {
        let observer = Arc::new(NoopObserver);
        Self { options, observer, pins: Pins::default(), is_above: AtomicBool::new(false) }
    }

    /// Sets the observer to which each step that did something, or failed, is emitted: usually that of the
    /// store. Default: none.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Keeps the shape with this handle, whether it is live or not, until it is [unpinned](Self::unpin).
    /// Takes a short lock, and copies the set of pins if a step is searching.
    ///
    /// A removal that has begun is not undone: pin first, then look the handle up.
    pub fn pin(&self, handle: Handle) {
        self.pins.insert(handle);
    }

    /// Lets the shape with this handle be removed again. Costs the same as [`pin`](Self::pin).
    pub fn unpin(&self, handle: &Handle) {
        self.pins.remove(handle);
    }

    /// Removes what is due, up to [`step_shapes`](EvictorOptions::step_shapes), within about
    /// [`step_time`](EvictorOptions::step_time) and the time of one search. Steps of one evictor from several
    /// threads are safe, and useless.
    ///
    /// The search visits every shape in memory, and makes no mutation wait for longer than a part of it. Each
    /// removal is a mutation: with a buffer it takes a short lock; without one it is a transaction and blocks
    /// for the disk. With an index on disk ([`MutateShapes`] over a store without a cache), the search reads
    /// the disk.
    pub fn step<S: MutateShapes + ?Sized>(&self, store: &S) -> Eviction {
        self.step_at(store, Timestamp::now())
    }

    /// [`step`](Self::step) as if it were this time. For tests.
    pub fn step_at<S: MutateShapes + ?Sized>(&self, store: &S, now: Timestamp) -> Eviction {
        let started = Instant::now();
        let mut eviction = Eviction::default();
        if let Err(error) = self.evict(store, now, &mut eviction) {
            eviction.error = Some(error);
            eviction.more = false;
        }
        eviction.stats.removed = eviction.removed.len();
        eviction.stats.took = started.elapsed();
        let stats = &eviction.stats;
        if stats.removed > 0 || stats.over_limit > 0 || eviction.error.is_some() {
            self.observer.evicted(stats, eviction.error.as_ref());
        }
        eviction
    }

    fn evict<S: MutateShapes + ?Sized>(
        &self,
        store: &S,
        now: Timestamp,
        eviction: &mut Eviction,
    ) -> Result<(), MutateError> {
        let options = &self.options;
        let total = store.counts()?.total;
        let excess = self.excess(total);
        eviction.stats.total = total;
        let step = options.step_shapes;
        let wanted = match options.max_unread {
            Some(_) => step,
            None => usize::try_from(excess).unwrap_or(usize::MAX).min(step),
        };
        let candidates = self.candidates(store, wanted, &mut eviction.stats)?;
        // Whether more are due than this step has taken on.
        let mut is_cut_off =
            candidates.len() == wanted && (options.max_unread.is_some() || excess > wanted as u64);
        let began_at = Instant::now();
        for (handle, last_read) in candidates {
            let unread = last_read.age_at(now);
            let is_excess = (eviction.removed.len() as u64) < excess && unread >= options.min_unread;
            // They are sorted: all that follow were read later.
            if !is_excess && options.max_unread.is_none_or(|most| unread <= most) {
                is_cut_off = false;
                break;
            }
            if !eviction.removed.is_empty() && began_at.elapsed() >= options.step_time {
                is_cut_off = true;
                break;
            }
            // Again, because it may be pinned since the search.
            if self.pins.contains(&handle) {
                eviction.stats.pinned += 1;
            } else if removal::remove_if_unread(store, &handle, last_read)? {
                eviction.stats.total = eviction.stats.total.saturating_sub(1);
                eviction.stats.newest_unread = Some(unread);
                eviction.removed.push(handle);
            } else {
                eviction.stats.spared += 1;
            }
        }
        eviction.more = is_cut_off && !eviction.removed.is_empty();
        let (high, low) = options.water().unwrap_or((u64::MAX, u64::MAX));
        if eviction.stats.total <= low {
            self.is_above.store(false, Ordering::Relaxed);
        }
        eviction.stats.over_limit = if eviction.more { 0 } else { eviction.stats.total.saturating_sub(high) };
        Ok(())
    }

    /// Returns how many shapes are to be removed because there are too many, with the hysteresis.
    fn excess(&self, total: u64) -> u64 {
        let Some((high, low)) = self.options.water() else { return 0 };
        let is_above = total > high || self.is_above.load(Ordering::Relaxed) && total > low;
        self.is_above.store(is_above, Ordering::Relaxed);
        if is_above { total - low } else { 0 }
    }

    /// Returns the least recently used shapes that are not pinned, up to this many.
    fn candidates<S: MutateShapes + ?Sized>(
        &self,
        store: &S,
        wanted: usize,
        stats: &mut EvictionStats,
    ) -> Result<Vec<(Handle, Timestamp)>> {
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let pins = self.pins.all();
        let Some(is_pinned) = &self.options.pinned else {
            return Ok(store.least_recently_used(wanted, &pins)?.shapes);
        };
        let mut excluded = Cow::Borrowed(&*pins);
        let mut search = 1;
        loop {
            let mut found = store.least_recently_used(wanted, &excluded)?.shapes;
            let before = found.len();
            let mut pinned = Vec::new();
            found.retain(|(handle, _)| {
                let keeps = is_pinned(handle);
                if keeps {
                    pinned.push(handle.clone());
                }
                !keeps
            });
            stats.pinned += pinned.len();
            if pinned.is_empty() || before < wanted || search == SEARCHES {
                return Ok(found);
            }
            excluded.to_mut().extend(pinned);
            search += 1;
        }
    }
}

impl fmt::Debug for Evictor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evictor")
            .field("options", &self.options)
            .field("pins", &self.pins)
            .field("is_above", &self.is_above)
            .finish_non_exhaustive()
    }
}
