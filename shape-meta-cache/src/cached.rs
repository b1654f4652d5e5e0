use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shape_meta_core::{ApplyChanges, Counts, Entry, Observer, Result, Seq};

use crate::{
    CacheMemory, CacheOptions, Lookups,
    draft::Writer,
    in_flight::InFlight,
    memory::Tally,
    mirror::Mirror,
    readers::Readers,
    roster::Roster,
    slots::{Gathering, Slots},
    table::{Table, Totals},
};

/// A store with a mirror of everything small in memory, which is read without a lock. See the
/// [crate](crate) for how it works.
pub struct Cached<S> {
    pub(crate) inner: S,
    pub(crate) mirror: Mirror,
    /// Held across disk work by [`apply`](ApplyChanges::apply) and [`refresh`](Self::refresh); no reader
    /// ever wants it (I5).
    pub(crate) writer: Mutex<Writer>,
    /// Where the next turn of saving last-read times begins.
    pub(crate) swept: Mutex<Seq>,
    pub(crate) in_flight: InFlight,
    pub(crate) overlaid: bool,
    pub(crate) observer: Arc<dyn Observer>,
}

impl<S: ApplyChanges> Cached<S> {
    /// Fills a mirror from the store, which nobody else may change from now on. Reads the small columns
    /// of all shapes once.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn open(inner: S, options: CacheOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        Self::open_with(inner, options, observer, Slots::new())
    }

    pub(crate) fn open_with(
        inner: S,
        options: CacheOptions,
        observer: Arc<dyn Observer>,
        slots: Slots,
    ) -> Result<Self> {
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let last_seq = inner.load(&mut |entry| entries.push(entry))?;

        let in_memory = options.lookups == Lookups::InMemory;
        let room = options.expected_shapes.max(entries.len() + entries.len() / 8);
        let gathering = Gathering::new(options.keys_per_slot, options.keys_apart, room);
        let grouping = gathering.of(room as u64);
        let key_slots = if in_memory { grouping.slots(room) } else { 0 };
        let table_slots = room + key_slots;
        let mut totals = Totals { counts: Counts::default(), last_seq, grouping };
        let (mut table, reader) = Table::new(totals, table_slots);
        let mirror = Mirror {
            slots,
            readers: Readers::new(reader, options.readers_ahead),
            roster: Roster::default(),
            tally: Tally::new(in_memory),
            lookups: options.lookups,
            gathering,
        };
        mirror.tally.slots(table_slots);

        // In two rounds, as each needs 32 bytes a slot until it is done. The pointers are counted up here,
        // while the entries come in the order in which they lie.
        let handles = entries.iter().map(|entry| (mirror.slots.handle(entry.handle()), Arc::clone(entry)));
        table.insert_all(table_slots, handles);
        let lookups = entries
            .iter()
            .flat_map(|entry| mirror.lookup_slots_of(entry, grouping).map(|slot| (slot, Arc::clone(entry))));
        table.insert_all(table_slots, lookups);
        for entry in entries {
            totals.counts.add(entry.is_indexed());
            mirror.tally.add(&entry);
            mirror.roster.enter(entry);
        }
        table.set_totals(totals);
        table.publish();
        // Until the first publish, there is one side. The second makes the other, which takes a fifth of a
        // second at a million shapes; better now than in the first flush. It copies the entries and not
        // what is published with them, so that is said again.
        table.set_totals(totals);
        table.publish();
        mirror.tally.slots(table.slots());

        let writer = Writer { table, totals, unsure: false, adding: Vec::new(), outdated: false, behind: 0 };
        let writer = Mutex::new(writer);
        let (in_flight, overlaid) = (InFlight::default(), options.overlaid);
        Ok(Self { inner, mirror, writer, swept: Mutex::default(), in_flight, overlaid, observer })
    }
}

impl<S> Cached<S> {
    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// About how many bytes the mirror holds. Costs nothing: it is counted as things come and go, and is
    /// within a fifth of the truth for many shapes.
    pub fn memory(&self) -> CacheMemory {
        self.mirror.tally.memory()
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        // What a panic may have left half-done is found by `unsure`.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For those who have read the disk and are about to return.
    pub(crate) fn settle(&self) {
        if !self.overlaid {
            self.in_flight.settle();
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("inner", &self.inner)
            .field("lookups", &self.mirror.lookups)
            .field("overlaid", &self.overlaid)
            .finish_non_exhaustive()
    }
}
