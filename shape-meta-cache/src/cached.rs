use std::{
    fmt,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    thread,
};

use shape_meta_core::{Counts, Entry, Observer, Result, Seq, ShapeStore};

use crate::{
    CacheMemory, CacheOptions, LookupIndex,
    definitions::Definitions,
    draft::Writer,
    in_flight::InFlight,
    memory::Tally,
    mirror::Mirror,
    readers::Readers,
    roster::Roster,
    slots::{Gathering, Slots},
    table::{InOrder, Table, Totals},
};

/// What the store below says of the number of its shapes is believed up to here, before they are counted.
const MOST_AT_ONCE: usize = 1 << 20;
/// So many shapes are worth a thread of the moment at open, which takes some 30 microseconds to start.
const WORTH_A_THREAD: usize = 10_000;

/// A store with a mirror of everything small in memory, which is read without a lock. See the
/// [crate](crate) for how it works.
pub struct Cached<S> {
    pub(crate) inner: S,
    pub(crate) mirror: Mirror,
    /// Held across disk work by [`apply`](ShapeStore::apply) and [`refresh`](Self::refresh); no reader
    /// ever wants it (I5).
    pub(crate) writer: Mutex<Writer>,
    /// Where the next turn of saving last-read times begins.
    pub(crate) swept: Mutex<Seq>,
    pub(crate) in_flight: InFlight,
    /// Whether a buffer above shows what is committed and not published.
    pub(crate) below_buffer: bool,
    /// Whether `unsure` or `outdated` may be set in the writer: for a commit, which does not want its lock.
    pub(crate) in_doubt: AtomicBool,
    pub(crate) observer: Arc<dyn Observer>,
}

impl<S: ShapeStore> Cached<S> {
    /// Fills a mirror from the store, which nobody else may change from now on. Reads the small columns
    /// of all shapes once.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn open(inner: S, options: CacheOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        Self::open_with(inner, options, observer, Slots::new(), false)
    }

    /// Like [`open`](Self::open), for a cache below a layer that shows every change from before its
    /// [`commit`](ShapeStore::commit) until its [`publish`](ShapeStore::publish) has returned, as `Buffered` does.
    ///
    /// Reads of the disk (scans, and look-ups left on disk) then do not wait for the apply that is in flight, and a
    /// batch can be published while the next one is committed. Without such a layer above, this breaks the order of
    /// reads (C1): a change that a scan has shown may be missing in the next look-up.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn open_below_buffer(inner: S, options: CacheOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        Self::open_with(inner, options, observer, Slots::new(), true)
    }

    pub(crate) fn open_with(
        inner: S,
        options: CacheOptions,
        observer: Arc<dyn Observer>,
        slots: Slots,
        below_buffer: bool,
    ) -> Result<Self> {
        let expected =
            inner.resource_usage().shapes.map_or(0, |shapes| usize::try_from(shapes.total).unwrap_or(0));
        let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(expected.min(MOST_AT_ONCE));
        let last_seq = inner.load(&mut |entry| entries.push(entry))?;

        let in_memory = options.lookup_index == LookupIndex::Memory;
        let room = options.initial_capacity.max(entries.len() + entries.len() / 8);
        let gathering = Gathering::new(options.keys_per_slot, options.keys_apart, room);
        let grouping = gathering.of(room as u64);
        let key_slots = if in_memory { grouping.slots(room) } else { 0 };
        let table_slots = room + key_slots;
        let mut totals = Totals { counts: Counts::default(), last_seq, grouping };
        let (mut table, reader) = Table::new(totals, table_slots);
        let mut mirror = Mirror {
            slots,
            readers: Readers::new(reader, options.preallocated_readers),
            roster: Roster::default(),
            tally: Tally::new(in_memory),
            definitions: Definitions::new(options.definitions),
            lookup_index: options.lookup_index,
            gathering,
        };

        // The pointers are counted up here, while the entries come in the order in which they lie.
        let (handles, lookup_index) = beside(
            entries.len(),
            || {
                let slot = |entry: &Arc<Entry>| (mirror.slots.handle(entry.handle()), Arc::clone(entry));
                InOrder::new(table_slots, entries.iter().map(slot))
            },
            || {
                let values = entries.iter().flat_map(|entry| {
                    mirror.lookup_slots_of(entry, grouping).map(|slot| (slot, Arc::clone(entry)))
                });
                InOrder::new(table_slots, values)
            },
        );
        table.insert_all(handles);
        table.insert_all(lookup_index);
        entries.iter().for_each(|entry| totals.counts.add(entry.is_indexed()));
        table.set_totals(totals);
        table.publish();
        // Until the first publish, there is one side. The second makes the other, which takes a fifth of a
        // second at a million shapes; better now than in the first flush. It copies the entries and not
        // what is published with them, so that is said again.
        table.set_totals(totals);
        let ((), (tally, roster)) = beside(
            entries.len(),
            || table.publish(),
            || (Tally::of(in_memory, &entries), Roster::of(entries)),
        );
        (mirror.tally, mirror.roster) = (tally, roster);
        mirror.tally.slots(table_slots.max(table.slots()));

        let writer = Writer { table, totals, unsure: false, adding: Vec::new(), outdated: false, behind: 0 };
        let writer = Mutex::new(writer);
        let in_flight = InFlight::default();
        let (swept, in_doubt) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { inner, mirror, writer, swept, in_flight, below_buffer, in_doubt, observer })
    }
}

/// Does the one beside the other, if there are so many shapes that it is worth a thread, and one can be had.
fn beside<A, B: Send>(shapes: usize, here: impl FnOnce() -> A, there: impl FnOnce() -> B + Send) -> (A, B) {
    if shapes < WORTH_A_THREAD {
        return (here(), there());
    }
    // A thread that cannot be started must not take with it what it was to do.
    let there = Mutex::new(Some(there));
    let take = || there.lock().unwrap_or_else(PoisonError::into_inner).take().map(|there| there());
    thread::scope(|scope| {
        let started = thread::Builder::new().name("shape-meta-cache".into()).spawn_scoped(scope, take);
        let here = here();
        let done = match started {
            Ok(started) => started.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => take(),
        };
        (here, done.expect("one of the two has taken it"))
    })
}

impl<S> Cached<S> {
    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// About how many bytes the mirror holds. Costs nothing: it is counted as things come and go, and is
    /// within a fifth of the truth for many shapes.
    pub fn memory(&self) -> CacheMemory {
        let definitions = self.mirror.definitions.bytes();
        CacheMemory { definitions, ..self.mirror.tally.memory() }
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        // What a panic may have left half-done is found by `unsure`.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For those who have read the disk and are about to return.
    pub(crate) fn settle(&self) {
        if !self.below_buffer {
            self.in_flight.settle();
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("inner", &self.inner)
            .field("lookup_index", &self.mirror.lookup_index)
            .field("below_buffer", &self.below_buffer)
            .finish_non_exhaustive()
    }
}
