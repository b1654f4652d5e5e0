use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, PoisonError},
};

use shape_meta_core::{Counts, Retired, Seq, Signal, Timestamp};

use super::{
    Generation, Kept, State,
    filter::Filter,
    hashing::Hashing,
    kept::KeptBytes,
    state::Sealed,
    writer_queue::{Entered, WriterQueue},
};
use crate::{
    BufferOptions,
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    write_state::WriteState,
};

/// The view of pending changes, which every reader consults before the store below.
///
/// There are up to three generations. Mutations go to the *active* one. A flush seals it, puts an empty one
/// in its place, and commits the *sealed* one. The sealed generation then becomes the *committed* one. It is
/// published, possibly during the next commit, and then dropped as a whole. All indexes of a generation are
/// behind one lock, so they change in one step (C1). No disk work runs under the lock (I5).
///
/// # Why a reader is never wrong
///
/// A reader looks up the overlay first and the store below second (I3). Say that the overlay has nothing
/// about a shape. Then every change to the shape that was acknowledged before the read has been published,
/// because a generation is dropped only after that (I2). The store below has that state, or a newer one that
/// was acknowledged during the read. Each of the two was current at one moment of the read.
///
/// A read that merges both (relations, lists) needs both at one moment. It [pins](State::pin) the overlay,
/// reads below, and then takes its [view](State::view): all generations, with those that were dropped since
/// the pin. The store below shows everything that was dropped before the pin, and nothing that is not in the
/// view. So the view, laid over it, is the state at the moment of the view. Nothing is read again, and no
/// flush waits, however many generations are sealed and dropped meanwhile (I9).
///
/// A dropped generation is kept as what was [committed](Generation::of_committed) of it, without the changes
/// that the store rejected.
pub(crate) struct Overlay {
    /// Lock 5 of the table in `shared.rs`.
    ///
    /// It is the lock of the standard library, which lets a running thread overtake a sleeping one. A fair
    /// lock (`parking_lot`) forces a hand-over every half millisecond, and with 64 threads adding on 2 cores
    /// each hand-over is a context switch. Mutations wait in front of it, so that each gets it in time.
    state: RwLock<State>,
    /// Where mutations wait for it.
    writer_queue: WriterQueue,
    /// The number of drops. Written under the lock, read without.
    drops: AtomicU64,
    /// Whether no generation has a change. Readers then skip the overlay.
    is_empty: AtomicBool,
    /// A copy of [`State::last`] for readers without the lock.
    last: AtomicU64,
    /// The hints of each generation, used round-robin.
    hints: [Hints; GENERATIONS],
    pub(crate) hashing: Hashing,
}

/// The largest number of generations at a time.
const GENERATIONS: usize = 3;

/// Facts about one generation that readers consult without the lock.
struct Hints {
    filter: Filter,
    /// The earliest last-read time of a shape that the generation adds, in microseconds.
    earliest_touch: AtomicU64,
}

impl Overlay {
    /// An empty overlay over a store with these counts and this last sequence number.
    ///
    /// `capacity` is raised when a read ends that kept dropped generations in memory.
    pub(crate) fn new(counts: Counts, last: Seq, options: &BufferOptions, capacity: Arc<Signal>) -> Self {
        let hints = || Hints {
            filter: Filter::for_shapes(options.filter_capacity()),
            earliest_touch: AtomicU64::new(u64::MAX),
        };
        Self {
            state: RwLock::new(State {
                active: Generation::with_capacity(options.initial_capacity()),
                sealed: None,
                committed: None,
                shared_handles: 0,
                dropped: Retired::default(),
                kept_bytes: KeptBytes::new(capacity),
                rebuilds: 0,
                counts: counts.into(),
                disk_counts: counts.into(),
                last,
                writing: WriteState::default(),
                hints: 0,
            }),
            writer_queue: WriterQueue::new(),
            drops: AtomicU64::new(0),
            is_empty: AtomicBool::new(true),
            last: AtomicU64::new(last.get()),
            hints: std::array::from_fn(|_| hints()),
            hashing: Hashing::default(),
        }
    }

    /// Whether no generation has a change. One atomic load; the caller need not compute a hash.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Acquire)
    }

    /// Whether the overlay may have something about this hash. Takes no lock; one load when nothing is
    /// pending.
    ///
    /// Although it checks the filters one after the other, it misses nothing. A change that was acknowledged
    /// before the read began, and is not published by its end, has its bit set in the same filter for that
    /// whole time: a generation keeps its filter from active to dropped.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        !self.is_empty() && self.hints.iter().any(|hints| hints.filter.may_contain(hash))
    }

    // A panic under the lock could only be a defect of this crate, since no code of a store or an observer
    // runs there. Reads then continue with the state as it is.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`write`](Self::write) for a mutation, which gets the lock in bounded time next to others.
    pub(crate) fn write_queued(&self) -> QueuedGuard<'_> {
        let entered = self.writer_queue.enter();
        QueuedGuard { state: self.write(), _entered: entered }
    }

    /// Returns a number that changes with each drop of a generation and each rebuild of the store below.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    /// Records that the store below was rebuilt: it may have lost shapes, so what was read of it before is
    /// outdated, as after a drop.
    pub(crate) fn record_rebuild(&self, state: &mut State) {
        state.rebuilds += 1;
        self.drops.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the largest sequence number that was given to a mutation.
    pub(crate) fn last(&self) -> Seq {
        Seq::new(self.last.load(Ordering::Acquire))
    }

    /// Returns the filter of the active generation. A change is added to it before it is acknowledged.
    pub(crate) fn active_filter(&self, state: &State) -> &Filter {
        &self.hints[state.hints].filter
    }

    /// Makes readers check the filters, to which a change that is about to be inserted was added.
    pub(crate) fn announce(&self) {
        self.is_empty.store(false, Ordering::Release);
    }

    /// Takes back an announcement: nothing was inserted. The bits stay set until the generation is dropped;
    /// a reader that sees one finds nothing.
    pub(crate) fn withdraw(&self, state: &State) {
        self.is_empty.store(state.is_empty(), Ordering::Release);
    }

    /// Makes an inserted change visible to readers that do not take the lock.
    pub(crate) fn acknowledge(&self, state: &State) {
        self.last.store(state.last.get(), Ordering::Release);
    }

    /// Records the touch of a pending shape.
    pub(crate) fn record_touch(&self, at: Timestamp) {
        // Recorded for every generation: to look up the right one would cost more than an occasional needless
        // walk later.
        for hints in &self.hints {
            if hints.earliest_touch.load(Ordering::Relaxed) > at.as_micros() {
                hints.earliest_touch.fetch_min(at.as_micros(), Ordering::Relaxed);
            }
        }
    }

    /// Whether a pending shape may have been touched at or before this time.
    ///
    /// A generation that is dropped takes its earliest touch with it. So a reader asks this after its read
    /// below, and then makes sure that [`drops`](Self::drops) is what it was before the read: a shape that
    /// the read did not find there yet may have been in a generation that is dropped by now.
    pub(crate) fn may_be_touched_by(&self, at: Timestamp) -> bool {
        self.hints.iter().any(|hints| hints.earliest_touch.load(Ordering::Acquire) <= at.as_micros())
    }

    /// Seals the active generation and puts this empty one in its place. Returns `None`, without a change, if
    /// the active generation is empty. No other generation may be sealed.
    pub(crate) fn seal(&self, empty: Generation) -> Option<Arc<Generation>> {
        let mut state = self.write();
        debug_assert!(state.sealed.is_none(), "one commit at a time");
        if state.active.is_empty() {
            return None;
        }
        let generation = Arc::new(std::mem::replace(&mut state.active, empty));
        let sealed = Sealed { generation: Arc::clone(&generation), counts: state.counts, hints: state.hints };
        // The next hints are free: there are as many as generations, and generations are dropped in the order
        // in which they were active.
        state.hints = (state.hints + 1) % GENERATIONS;
        state.sealed = Some(sealed);
        state.shared_handles = 0;
        Some(generation)
    }

    /// Makes the sealed generation the committed one, after the store below has committed it. The generation
    /// before it must have been dropped.
    pub(crate) fn mark_committed(&self) {
        let mut state = self.write();
        debug_assert!(state.committed.is_none(), "generations are published in the order of commits");
        if let Some(sealed) = state.sealed.take() {
            state.disk_counts = sealed.counts;
            state.committed = Some(sealed);
            state.shared_handles = 0;
        }
        // In the same step, so that a caller whose receipt resolves next finds the store healthy.
        state.writing.flush_succeeded();
    }

    /// Condenses what resets have replaced in the active generation. The caller holds the flush lock, so that
    /// it is not sealed meanwhile. Returns whether there was something.
    pub(crate) fn condense_replaced(&self) -> bool {
        if !self.read().active.has_whole_replaced() {
            return false;
        }
        let replaced = self.write().active.take_replaced();
        let condensed = replaced.condense();
        self.write().active.put_back(condensed);
        true
    }

    /// Drops the committed generation, which the store below has published (I2), after `edit` has corrected
    /// the state for rejected changes. `committed` is what readers with a pin keep of it. The flusher still
    /// holds both, so their memory is not freed under the lock.
    pub(crate) fn drop_committed<T>(
        &self,
        committed: &Arc<Generation>,
        edit: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut state = self.write();
        let edited = edit(&mut state);
        let dropped = state.committed.take();
        if state.dropped.is_pinned() {
            let kept = Kept::new(Arc::clone(committed), &state.kept_bytes);
            state.dropped.retire(kept);
        }
        self.drops.fetch_add(1, Ordering::AcqRel);
        self.is_empty.store(state.is_empty(), Ordering::Release);
        drop(state);
        if let Some(Sealed { hints, .. }) = dropped {
            // A reader that still sees the old bits takes the lock, finds nothing, and reads below. A later
            // seal uses the hints again; the flush lock orders it after this. Release: a reader that sees the
            // time reset sees the new number of drops.
            self.hints[hints].earliest_touch.store(u64::MAX, Ordering::Release);
            self.hints[hints].filter.clear();
        }
        edited
    }
}

/// The state that a mutation has locked.
pub(crate) struct QueuedGuard<'a> {
    state: RwLockWriteGuard<'a, State>,
    /// Dropped after the lock is released.
    _entered: Entered<'a>,
}

impl Deref for QueuedGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for QueuedGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
