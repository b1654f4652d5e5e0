use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use shape_meta_core::{Counts, Entry, Error, Key, Record, Seq, Timestamp};

use crate::{
    BufferOptions,
    filter::Filter,
    generation::{Generation, Hashes, Seen},
    hashing::Hashing,
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    tally::Tally,
};

/// The view of what is pending: the first thing that every reader consults.
///
/// There are two generations. Mutations go to the *active* one. A flush seals it (and puts an empty one
/// in its place), commits and publishes the *sealed* one below, and then drops it whole. All indexes of a
/// generation stand behind one lock, so they change in one step (C1); nobody holds the lock across disk
/// work (I5).
///
/// # Why a reader is never wrong
///
/// A reader asks the overlay first and what is below second (I3). Say that the overlay knows nothing of a
/// shape. Then every change to it that was acknowledged before has been published below already, because
/// a generation is dropped only after that (I2); what the reader finds below is that, or something newer
/// that was acknowledged while it was reading. Either way it was so at one moment of the read.
///
/// A read that merges both (relations, lists) has to see them at one moment. What is below can only
/// contain what was sealed, so if nothing was sealed between the view of the overlay and the read below,
/// everything that the latter shows is in the view as well, and the view decides. [`version`] says whether
/// something was; then the read starts again, as often as flushes begin, which is some times a second.
///
/// [`version`]: Self::version
pub(crate) struct Overlay {
    /// The lock of the standard library, which lets a running thread overtake a sleeping one. A fair one
    /// (`parking_lot`) hands itself over every half a millisecond, and with 64 threads adding on 2 cores each
    /// hand-over is a switch of threads: the p99 of an add was 1 ms with it, and is 3 us. The price is the
    /// longest wait: a tenth of a second, in a storm that does nothing but add.
    state: RwLock<State>,
    /// Changes with every seal and every drop. Written under the lock, read without.
    version: AtomicU64,
    /// Shapes with pending changes: nothing to ask the overlay for while it is zero.
    pending: AtomicUsize,
    /// The latest accepted mutation.
    last: AtomicU64,
    /// The latest mutation of the generation that was dropped last.
    below: AtomicU64,
    /// What readers look at without the lock, one for each generation: [`State::side`] is the active one's.
    sides: [Side; 2],
}

pub(crate) struct Side {
    pub(crate) filter: Filter,
    /// The earliest time at which one of the generation's new shapes was touched, in microseconds.
    earliest_touch: AtomicU64,
}

pub(crate) struct State {
    pub(crate) active: Generation,
    pub(crate) sealed: Option<Arc<Generation>>,
    /// How many shapes are live, with all that is pending.
    pub(crate) counts: Tally,
    /// How many were when the sealed generation was sealed, and how many are below.
    sealed_counts: Tally,
    below_counts: Tally,
    pub(crate) last: Seq,
    pub(crate) gate: Gate,
    side: usize,
}

/// Whether mutations are accepted.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    Open,
    Shut(Error),
}

impl Gate {
    pub(crate) fn replace(&mut self, gate: Self) -> Self {
        std::mem::replace(self, gate)
    }
}

impl State {
    /// What the overlay says of a handle. A mark in the active generation on a shape of the sealed one
    /// comes out as that shape in the marked state.
    pub(crate) fn handle(&self, hash: u64, handle: &[u8]) -> Option<Seen<'_>> {
        let active = self.active.handle(hash, handle);
        let (None | Some(Seen::Marked(..))) = active else { return active };
        let sealed = self.sealed.as_ref().and_then(|sealed| sealed.handle(hash, handle));
        match (active, sealed) {
            (Some(Seen::Marked(_, state)), Some(Seen::Here(record, known))) => {
                Some(Seen::Here(record, state.max(known)))
            }
            (Some(Seen::Marked(entry, state)), Some(Seen::Marked(_, known))) => {
                Some(Seen::Marked(entry, state.max(known)))
            }
            (None, sealed) => sealed,
            (active, _) => active,
        }
    }

    /// The pending shape that has a key, `Some(None)` if none has it any more.
    pub(crate) fn key(&self, hash: u64, key: &Key) -> Option<Option<&Arc<Record>>> {
        self.active.key(hash, key).or_else(|| self.sealed.as_ref()?.key(hash, key))
    }

    pub(crate) fn len(&self) -> usize {
        self.active.len() + self.sealed.as_ref().map_or(0, |sealed| sealed.len())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.active.bytes() + self.sealed.as_ref().map_or(0, |sealed| sealed.bytes())
    }

    /// The generations that count, the newest first: a reset hides what was before it.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        let sealed = self.sealed.as_deref().filter(|_| !self.active.is_reset());
        std::iter::once(&self.active).chain(sealed)
    }

    /// The generations that are not on disk.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(self.sealed.as_deref())
    }

    /// When the oldest pending change was accepted.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.pending().filter_map(Generation::since).min()
    }

    /// How many shapes more there are than on disk.
    pub(crate) fn net(&self) -> i64 {
        self.counts.total - self.below_counts.total
    }

    /// A change of the sealed generation was rejected: this shape lives on, or it never came to be.
    pub(crate) fn correct_for(&mut self, entry: &Entry, lives: bool) {
        let mut by = Tally::default();
        if lives {
            by.add(entry)
        } else {
            by.remove(entry)
        }
        self.sealed_counts += by;
        if !self.active.is_reset() {
            self.counts += by;
        }
    }

    /// A shape that the active generation rests on does not exist after all. Returns the slot whose change
    /// has become impossible with that.
    pub(crate) fn active_without_base(&mut self, hash: u64, entry: &Entry) -> Option<u32> {
        let (gained, impossible) = self.active.forget_base(hash, entry);
        self.counts += gained;
        impossible
    }

    /// A shape that was to be removed stays: takes what has or had its handle, or has its key, out of the active
    /// generation, and returns the mutations that came to nothing.
    pub(crate) fn take_successors_out(&mut self, entry: &Entry, hashing: &Hashing) -> Vec<Seq> {
        if self.active.is_reset() {
            // The shape goes after all, and what came since took nothing over from it.
            return Vec::new();
        }
        let hashes =
            Hashes { handle: hashing.handle(entry.handle().as_bytes()), key: hashing.key(entry.key()) };
        let mut mutations = Vec::new();
        for at in self.active.successors(hashes, entry) {
            mutations.extend(self.active.mutations_of(at, Seq::ZERO));
            let effect = self.active.take_out(at, hashing);
            self.counts = self.counts - effect;
        }
        self.active.forget_freed(hashes.key, entry.key());
        mutations
    }

    /// So many shapes are below, and nothing is pending.
    pub(crate) fn recount(&mut self, below: Counts) {
        let below = Tally::from(below);
        (self.counts, self.sealed_counts, self.below_counts) = (below, below, below);
    }

    /// Whether a pending reset hides all that is below.
    pub(crate) fn is_reset(&self) -> bool {
        self.generations().any(Generation::is_reset)
    }
}

impl Overlay {
    pub(crate) fn new(counts: Counts, last: Seq, options: &BufferOptions) -> Self {
        let side = || Side {
            filter: Filter::for_shapes(options.filtered()),
            earliest_touch: AtomicU64::new(u64::MAX),
        };
        Self {
            state: RwLock::new(State {
                active: Generation::with_capacity(options.room_ahead()),
                sealed: None,
                counts: counts.into(),
                sealed_counts: counts.into(),
                below_counts: counts.into(),
                last,
                gate: Gate::Open,
                side: 0,
            }),
            version: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            last: AtomicU64::new(last.get()),
            below: AtomicU64::new(last.get()),
            sides: [side(), side()],
        }
    }

    /// Whether nothing is pending, so that there is nothing to ask here: one load, and no hash needs to be made.
    pub(crate) fn is_quiet(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// Whether the overlay may have something to say of what has this hash. Without the lock; when
    /// nothing is pending, one load.
    ///
    /// Why two loads one after the other miss nothing: a change that was acknowledged before the read
    /// began and is not published below by its end keeps its bit set in one and the same filter all that
    /// time. A generation takes its filter with it from active to sealed.
    pub(crate) fn may_know(&self, hash: u64) -> bool {
        !self.is_quiet() && self.sides.iter().any(|side| side.filter.may_know(hash))
    }

    // A panic under the lock would be a defect of this crate alone: no code of a store or of an observer runs
    // there. Reads then go on with what there is.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The latest accepted mutation.
    pub(crate) fn last(&self) -> Seq {
        Seq::new(self.last.load(Ordering::Acquire))
    }

    /// A place at or after the add of whatever the overlay does not know and the store below does. It is
    /// settled, or is about to be: generations are dropped just before.
    pub(crate) fn below(&self) -> Seq {
        Seq::new(self.below.load(Ordering::Acquire))
    }

    /// Shapes with pending changes.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// The filter that the active generation's changes must be in before they are acknowledged.
    pub(crate) fn filter(&self, state: &State) -> &Filter {
        &self.sides[state.side].filter
    }

    /// Makes a change that was put into the active generation known to those who look without the lock.
    pub(crate) fn acknowledge(&self, state: &State) {
        self.pending.store(state.len(), Ordering::Release);
        self.last.store(state.last.get(), Ordering::Release);
    }

    /// Notes a touch of a pending shape.
    pub(crate) fn touched(&self, at: Timestamp) {
        // Which generation it is in would have to be found out, so it is noted for both.
        for side in &self.sides {
            if side.earliest_touch.load(Ordering::Relaxed) > at.as_micros() {
                side.earliest_touch.fetch_min(at.as_micros(), Ordering::Relaxed);
            }
        }
    }

    /// Whether a pending shape may have been touched at or before this moment.
    pub(crate) fn may_be_touched_by(&self, at: Timestamp) -> bool {
        self.sides.iter().any(|side| side.earliest_touch.load(Ordering::Relaxed) <= at.as_micros())
    }

    /// Seals the active generation and puts this empty one in its place. `None`, and no change, if nothing
    /// is pending there. The sealed place must be free.
    pub(crate) fn seal(&self, empty: Generation) -> Option<Arc<Generation>> {
        let mut state = self.write();
        debug_assert!(state.sealed.is_none(), "one flush at a time");
        if state.active.is_empty() {
            return None;
        }
        let sealed = Arc::new(std::mem::replace(&mut state.active, empty));
        state.sealed = Some(Arc::clone(&sealed));
        state.sealed_counts = state.counts;
        state.side ^= 1;
        self.version.fetch_add(1, Ordering::AcqRel);
        Some(sealed)
    }

    /// Drops the sealed generation, which has been committed and published below (I2), after `edit` has
    /// done what a rejected change leaves to do. The flusher still holds it, so its memory is not freed
    /// under the lock.
    pub(crate) fn drop_sealed<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.write();
        let edited = edit(&mut state);
        if let Some(sealed) = state.sealed.take() {
            self.below.store(sealed.last().get(), Ordering::Release);
        }
        state.below_counts = state.sealed_counts;
        self.version.fetch_add(1, Ordering::AcqRel);
        self.pending.store(state.len(), Ordering::Release);
        let side = &self.sides[state.side ^ 1];
        drop(state);
        // Readers that still see the old bits ask in vain, and then below. The side is used again by the
        // next seal, which the same flusher does after this.
        side.earliest_touch.store(u64::MAX, Ordering::Relaxed);
        side.filter.clear();
        edited
    }
}
