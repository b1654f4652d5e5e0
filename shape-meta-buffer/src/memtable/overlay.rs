use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use shape_meta_core::{Counts, Entry, Error, Key, Record, Seq, SnapshotState, Timestamp};

use crate::{
    BufferOptions,
    memtable::CountDelta,
    memtable::Filter,
    memtable::Hashing,
    memtable::{Generation, Hashes, Seen},
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The view of what is pending: the first thing that every reader consults.
///
/// There are up to three generations. Mutations go to the *active* one. A flush seals it (and puts an empty one
/// in its place) and commits the *sealed* one below; then it is the *committed* one, and is dropped whole when it is
/// published there, which may be while the next one is being committed. All indexes of a generation stand
/// behind one lock, so they change in one step (C1); nobody holds the lock across disk work (I5).
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
    /// Whether nothing is pending, so that there is nothing to ask the overlay for.
    is_quiet: AtomicBool,
    /// The latest accepted mutation.
    last: AtomicU64,
    /// The latest mutation of the generation that was dropped last.
    below: AtomicU64,
    /// What readers look at without the lock, one for each generation: [`State::side`] is the active one's.
    sides: [Side; GENERATIONS],
}

/// The most generations that there are at a time.
const GENERATIONS: usize = 3;

pub(crate) struct Side {
    pub(crate) filter: Filter,
    /// The earliest time at which one of the generation's new shapes was touched, in microseconds.
    earliest_touch: AtomicU64,
}

pub(crate) struct State {
    pub(crate) active: Generation,
    /// What is being committed, or could not be.
    pub(crate) sealed: Option<Sealed>,
    /// What is committed, and is being published.
    pub(crate) committed: Option<Sealed>,
    /// How many shapes are live, with all that is pending.
    pub(crate) counts: CountDelta,
    /// How many are on disk.
    disk_counts: CountDelta,
    pub(crate) last: Seq,
    pub(crate) gate: Gate,
    side: usize,
}

/// A generation that does not change any more.
pub(crate) struct Sealed {
    pub(crate) generation: Arc<Generation>,
    /// How many shapes were live when it was sealed.
    counts: CountDelta,
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
    /// What the overlay says of a handle. A mark on a shape of an older generation comes out as that shape in the
    /// marked state.
    pub(crate) fn handle(&self, hash: u64, handle: &[u8]) -> Option<Seen<'_>> {
        let mut marked: Option<(&Arc<Entry>, SnapshotState)> = None;
        for generation in self.all() {
            match (generation.handle(hash, handle), marked) {
                (None, _) => {}
                (Some(Seen::Marked(entry, state)), newer) => {
                    marked = Some(newer.map_or((entry, state), |(entry, newer)| (entry, newer.max(state))));
                }
                (Some(Seen::Here(record, state)), Some((_, newer))) => {
                    return Some(Seen::Here(record, newer.max(state)));
                }
                // Nobody marks what is gone.
                (Some(Seen::Gone), Some(_)) => break,
                (seen, None) => return seen,
            }
        }
        marked.map(|(entry, state)| Seen::Marked(entry, state))
    }

    /// The pending shape that has a key, `Some(None)` if none has it any more.
    pub(crate) fn key(&self, hash: u64, key: &Key) -> Option<Option<&Arc<Record>>> {
        self.all().find_map(|generation| generation.key(hash, key))
    }

    /// Those that do not change any more, the newest first.
    fn older(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.sealed.iter().chain(&self.committed).map(|sealed| &sealed.generation)
    }

    /// Whether a flush is under way, or was left to be gone on with.
    pub(crate) fn is_flushing(&self) -> bool {
        self.older().next().is_some()
    }

    /// All generations, the newest first.
    fn all(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(self.older().map(|generation| &**generation))
    }

    /// Those that do not change any more and count, the newest first: a reset hides what was before it.
    pub(crate) fn older_that_count(&self) -> impl Iterator<Item = &Arc<Generation>> {
        let mut is_hidden = self.active.is_reset();
        self.older().take_while(move |older| !std::mem::replace(&mut is_hidden, older.is_reset()))
    }

    /// The generations that count, the newest first.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(self.older_that_count().map(|older| &**older))
    }

    /// The generations that are not on disk, the newest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Generation> {
        let sealed = self.sealed.as_ref().map(|sealed| &*sealed.generation);
        std::iter::once(&self.active).chain(sealed)
    }

    /// Shapes with changes that are not on disk, and what those take in memory: what the bound is on (C7).
    pub(crate) fn pending_shapes(&self) -> usize {
        self.pending().map(Generation::len).sum()
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending().map(Generation::bytes).sum()
    }

    /// When the oldest pending change was accepted.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.pending().filter_map(Generation::since).min()
    }

    /// How many shapes more there are than on disk.
    pub(crate) fn net(&self) -> i64 {
        self.counts.total - self.disk_counts.total
    }

    /// A change of the generation before the active one was rejected: this shape lives on, or it never came to
    /// be.
    pub(crate) fn correct_for(&mut self, entry: &Entry, lives: bool) {
        let mut by = CountDelta::default();
        if lives {
            by.add(entry)
        } else {
            by.remove(entry)
        }
        self.disk_counts += by;
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

    /// A shape that was to be removed stays: takes back what has or had its handle, or has its key, in the active
    /// generation, and returns the mutations that came to nothing.
    pub(crate) fn take_successors_out(&mut self, entry: &Entry, hashing: &Hashing) -> Vec<Seq> {
        if self.active.is_reset() {
            // The shape goes after all, and what came since took nothing over from it.
            return Vec::new();
        }
        let hashes =
            Hashes { handle: hashing.handle(entry.handle().as_bytes()), key: hashing.key(entry.key()) };
        let mut mutations = Vec::new();
        for (at, from) in self.active.successors(hashes, entry) {
            mutations.extend(self.active.mutations_of(at, from));
            let effect = self.active.take_back(at);
            self.counts = self.counts - effect;
        }
        self.active.forget_freed(hashes, entry);
        mutations
    }

    /// So many shapes are below, and nothing is pending.
    pub(crate) fn recount(&mut self, below: Counts) {
        let below = CountDelta::from(below);
        (self.counts, self.disk_counts) = (below, below);
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
                committed: None,
                counts: counts.into(),
                disk_counts: counts.into(),
                last,
                gate: Gate::Open,
                side: 0,
            }),
            version: AtomicU64::new(0),
            is_quiet: AtomicBool::new(true),
            last: AtomicU64::new(last.get()),
            below: AtomicU64::new(last.get()),
            sides: std::array::from_fn(|_| side()),
        }
    }

    /// Whether nothing is pending, so that there is nothing to ask here: one load, and no hash needs to be made.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Acquire)
    }

    /// Whether the overlay may have something to say of what has this hash. Without the lock; when
    /// nothing is pending, one load.
    ///
    /// Why loads one after the other miss nothing: a change that was acknowledged before the read began and is
    /// not published below by its end keeps its bit set in one and the same filter all that time. A
    /// generation keeps its filter from active to dropped.
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

    /// The filter that the active generation's changes must be in before they are acknowledged.
    pub(crate) fn filter(&self, state: &State) -> &Filter {
        &self.sides[state.side].filter
    }

    /// Makes a change that was put into the active generation known to those who look without the lock.
    pub(crate) fn acknowledge(&self, state: &State) {
        self.is_quiet.store(false, Ordering::Release);
        self.last.store(state.last.get(), Ordering::Release);
    }

    /// Notes a touch of a pending shape.
    pub(crate) fn touched(&self, at: Timestamp) {
        // Which generation it is in would have to be found out, so it is noted for all.
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
        debug_assert!(state.sealed.is_none(), "one commit at a time");
        if state.active.is_empty() {
            return None;
        }
        let generation = Arc::new(std::mem::replace(&mut state.active, empty));
        let sealed = Sealed { generation: Arc::clone(&generation), counts: state.counts, side: state.side };
        // The next one in turn is free: there are as many as generations, and they go in the order in which they
        // come.
        state.side = (state.side + 1) % GENERATIONS;
        state.sealed = Some(sealed);
        self.version.fetch_add(1, Ordering::AcqRel);
        Some(generation)
    }

    /// The sealed generation is committed below. The place of the committed one must be free.
    pub(crate) fn committed(&self) {
        let mut state = self.write();
        debug_assert!(state.committed.is_none(), "published in the order of commits");
        if let Some(sealed) = state.sealed.take() {
            state.disk_counts = sealed.counts;
            state.committed = Some(sealed);
        }
    }

    /// Drops the committed generation, which has been published below (I2), after `edit` has done what a
    /// rejected change leaves to do. The flusher still holds it, so its memory is not freed under the lock.
    pub(crate) fn drop_committed<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.write();
        let edited = edit(&mut state);
        let dropped = state.committed.take();
        if let Some(dropped) = &dropped {
            self.below.store(dropped.generation.last().get(), Ordering::Release);
        }
        self.version.fetch_add(1, Ordering::AcqRel);
        self.is_quiet.store(state.all().all(Generation::is_empty), Ordering::Release);
        drop(state);
        if let Some(Sealed { side, .. }) = dropped {
            // Readers that still see the old bits ask in vain, and then below. The side is used again by a
            // later seal, which comes after this.
            self.sides[side].earliest_touch.store(u64::MAX, Ordering::Relaxed);
            self.sides[side].filter.clear();
        }
        edited
    }
}
