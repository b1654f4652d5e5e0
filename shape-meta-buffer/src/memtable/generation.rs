use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry as TableEntry;
use shape_meta_core::{
    Batch, Change, Entry, Handle, Key, Latencies, Record, Relation, Seq, SnapshotState, feed::FeedChange,
};

use super::{CountDelta, Hashing, Slot, SlotState, Slots, parts::Position, table::Table};

/// Returns the bytes that an element of this size takes in a list, which doubles when it is full.
const fn in_list(size: usize) -> usize {
    2 * size
}

/// Returns the bytes that an element of this size takes in a hash table, in the worst case: just after the
/// table has doubled, 7 elements have 16 places, each with a control byte.
const fn in_table(size: usize) -> usize {
    ((size + 1) * 16).div_ceil(7)
}

// Backpressure assumes the worst load of each table. So it never counts less memory than the generation
// holds, and at most 2.5 times as much.

/// Bytes that a mutation takes in addition to its change: its element of `slot_of_mutation`.
const MUTATION_BYTES: usize = in_list(size_of::<u32>());
/// Bytes that a handle takes in addition to its record: its slot, and its element of `by_handle`.
const SLOT_BYTES: usize = in_list(size_of::<Slot>()) + in_table(size_of::<u32>());
/// Bytes that a key takes. The table keeps the key after its shape was removed, and one handle can leave many
/// keys.
const KEY_BYTES: usize = in_table(size_of::<KeyHolder>());
/// Bytes that a relation takes in addition to its lists.
const RELATION_BYTES: usize = in_table(size_of::<(Relation, RelationChanges)>());
/// Bytes that a change takes for the feeds of durable changes, in addition to its entry.
const FED_BYTES: usize = in_list(size_of::<FeedChange>());
/// The element of `slot_of_mutation` for a reset.
const RESET: u32 = u32::MAX;

/// The changes accepted between two flushes (a memtable), with every index that a reader needs.
///
/// It is filled under the overlay's lock, and sealed, committed and dropped as a whole. No entry is removed
/// one by one after a commit, so an older flush cannot delete a newer change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generation {
    /// Whether a reset was accepted, which hides everything below this generation.
    reset: bool,
    slots: Slots,
    by_handle: Table<u32>,
    by_key: Table<KeyHolder>,
    by_relation: HashMap<Relation, RelationChanges, RandomState>,
    /// The slot and the id of every shape that was added with dependencies. An element counts only if its
    /// slot still has that shape.
    dependants: Vec<(u32, Seq)>,
    /// The slot of each mutation from `slot_of_mutation_from` on, so that a rejected slot is reported to
    /// every mutation that went to it.
    slot_of_mutation: Vec<u32>,
    /// The sequence number of the first element of `slot_of_mutation`: the first mutation, or the latest
    /// reset.
    slot_of_mutation_from: Seq,
    first: Seq,
    last: Seq,
    bytes: usize,
    count_delta: CountDelta,
    /// How often slots were changed without a mutation, because an older generation was not committed whole.
    revocations: u64,
    /// What resets have replaced.
    replaced: Vec<Replaced>,
    /// The bytes of `replaced`.
    replaced_bytes: usize,
    /// When the first mutation was accepted; `None` while the generation is empty.
    since: Option<Instant>,
    /// The latencies of its mutations, where the observer wants them.
    latencies: Option<Box<Latencies>>,
    /// What the feeds of durable changes get once it is committed: its mutations since the latest reset, from
    /// the one on at which such a feed was subscribed to.
    fed: Vec<FeedChange>,
    /// Whether it has removed or marked a shape that it adds: no batch has that removal or mark.
    has_cancelled: bool,
}

/// What a reset has replaced. Of that, only the shapes matter that are never committed.
#[derive(Clone, Debug)]
enum Replaced {
    /// All of it. A reset takes the same short time however much is pending, so it neither frees nor walks
    /// this.
    Whole(Box<Generation>),
    /// The shapes.
    Condensed(Vec<(Seq, Handle)>),
}

/// What was [taken](Generation::take_replaced) from a generation to be condensed.
pub(crate) struct Condensing {
    replaced: Vec<Replaced>,
    bytes: usize,
}

impl Condensing {
    /// Frees all but the shapes. O(slots), without a lock.
    pub(crate) fn condense(self) -> Condensed {
        let shapes = self.replaced.into_iter().map(|replaced| match replaced {
            Replaced::Whole(generation) => generation.uncommitted(),
            Replaced::Condensed(shapes) => shapes,
        });
        let replaced = shapes.filter(|shapes| !shapes.is_empty()).map(Replaced::Condensed);
        Condensed { replaced: replaced.collect(), bytes: self.bytes }
    }
}

/// What [`Condensing`] leaves.
pub(crate) struct Condensed {
    replaced: Vec<Replaced>,
    /// The bytes that it had before.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct KeyHolder {
    key: Key,
    hash: u64,
    /// The slot of the shape that has the key; `None` if the generation has freed the key.
    slot: Option<u32>,
}

/// The changes of a generation to the set of shapes that read one relation.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelationChanges {
    /// The slot and the id of every shape that was added. An element counts only if its slot still has that
    /// shape.
    pub(crate) added: Vec<(u32, Seq)>,
    /// The handles of removed bases, each once.
    pub(crate) removed: Vec<Handle>,
}

/// The slots whose mutations are wanted, each from a sequence number on, and for a number of the caller.
#[derive(Default)]
pub(crate) struct SlotMutations(HashMap<u32, Vec<(Seq, usize)>, RandomState>);

impl SlotMutations {
    pub(crate) fn want(&mut self, at: u32, from: Seq, number: usize) {
        self.0.entry(at).or_default().push((from, number));
    }
}

/// What became of a base that was forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ForgottenBase {
    /// Whether the generation removes it.
    pub(crate) was_removed: bool,
    /// The slot, if it has a mark, which is impossible without the base.
    pub(crate) impossible: Option<u32>,
}

/// The result of looking up a handle in a generation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'a> {
    /// A shape that is pending, in this snapshot state.
    Added(&'a Arc<Record>, SnapshotState),
    /// A shape of an older generation or of the store below, with its snapshot advanced to this state.
    Marked(&'a Arc<Entry>, SnapshotState),
    /// No shape has the handle.
    Tombstone,
}

/// The hashes of a change's handle and key, computed outside of the overlay's lock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashes {
    pub(crate) handle: u64,
    pub(crate) key: u64,
}

impl Generation {
    /// An empty generation whose tables hold this many shapes before they grow, which makes writers wait.
    pub(crate) fn with_capacity(shapes: usize) -> Self {
        Self {
            slots: Slots::with_capacity(shapes),
            by_handle: Table::with_capacity(shapes),
            by_key: Table::with_capacity(shapes),
            slot_of_mutation: Vec::with_capacity(shapes),
            ..Self::default()
        }
    }

    /// A generation of exactly these committed changes, for reads that began before it is dropped.
    pub(crate) fn of_committed<'a>(batches: impl Iterator<Item = &'a Batch>, hashing: &Hashing) -> Self {
        let mut committed = Self::default();
        for batch in batches {
            for change in &batch.changes {
                let hashes = change.entry().map_or_else(Hashes::default, |entry| Hashes {
                    handle: hashing.handle(entry.handle().as_bytes()),
                    key: hashing.key(entry.key()),
                });
                committed.insert(change.clone(), hashes, batch.through);
            }
        }
        committed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.reset
    }

    /// Returns the number of handles with a slot, plus one for a reset. Backpressure bounds this number. It
    /// is at least the number of changes.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() + usize::from(self.reset)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.replaced_bytes
    }

    pub(crate) fn mutations(&self) -> u64 {
        if self.is_empty() { 0 } else { self.last.get() - self.first.get() + 1 }
    }

    pub(crate) fn first(&self) -> Seq {
        self.first
    }

    pub(crate) fn last(&self) -> Seq {
        self.last
    }

    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(crate) fn record_latency(&mut self, took: Duration) {
        self.latencies.get_or_insert_default().record(took);
    }

    pub(crate) fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_deref()
    }

    /// Keeps a change that was inserted for the feeds of durable changes.
    pub(crate) fn feed(&mut self, change: FeedChange) {
        self.bytes += FED_BYTES;
        self.fed.push(change);
    }

    /// Returns what the feeds of durable changes get once it is committed, without rejected mutations.
    pub(crate) fn fed(&self, rejected: &HashSet<Seq>) -> Vec<FeedChange> {
        self.fed.iter().filter(|change| !rejected.contains(&change.seq)).cloned().collect()
    }

    /// Whether a list as of its middle cannot be resumed: it has removed or marked a shape that it adds.
    pub(crate) fn has_cancelled(&self) -> bool {
        self.has_cancelled
    }

    /// Forgets what the feeds of durable changes would get for these mutations, which were rejected.
    pub(crate) fn forget_fed(&mut self, rejected: &HashSet<Seq>) {
        self.fed.retain(|change| !rejected.contains(&change.seq));
    }

    pub(crate) fn count_delta(&self) -> CountDelta {
        self.count_delta
    }

    /// Returns the position after all that it has now.
    pub(super) fn position(&self) -> Position {
        let of = (self.first.get(), self.slot_of_mutation_from.get(), self.revocations);
        Position { of, mutations: self.slot_of_mutation.len() }
    }

    /// Returns the slot of each mutation after this position, or `None` if the position is not one of this
    /// generation any more.
    pub(super) fn mutations_since(&self, position: Position) -> Option<&[u32]> {
        (self.position().of == position.of).then(|| &self.slot_of_mutation[position.mutations..])
    }

    /// Looks up a handle. Returns `None` if this generation has no answer: the caller asks older generations,
    /// then the store below.
    pub(crate) fn handle(&self, hash: u64, handle: &[u8]) -> Option<Lookup<'_>> {
        match self.slot_of(hash, handle) {
            Some(at) => Self::lookup(&self.slots[at as usize]),
            None => self.reset.then_some(Lookup::Tombstone),
        }
    }

    fn lookup(slot: &Slot) -> Option<Lookup<'_>> {
        Some(match (&slot.state, &slot.base) {
            (SlotState::Added(record, state), _) => Lookup::Added(record, *state),
            (SlotState::Marked(state), Some(base)) => Lookup::Marked(base, *state),
            // The base was rejected, and the mark with it.
            (SlotState::Marked(_), None) => return None,
            (SlotState::Tombstone | SlotState::Discarded(_), _) => Lookup::Tombstone,
        })
    }

    /// Looks up the record that holds a key. Returns `Some(None)` if the key is free, and `None` if this
    /// generation has no answer.
    pub(crate) fn key(&self, hash: u64, key: &Key) -> Option<Option<&Arc<Record>>> {
        match self.by_key.part(hash).find(hash, |holder| holder.key == *key) {
            Some(holder) => Some(holder.slot.and_then(|at| self.slots[at as usize].added())),
            None => self.reset.then_some(None),
        }
    }

    pub(crate) fn relation(&self, relation: Relation) -> Option<&RelationChanges> {
        self.by_relation.get(&relation)
    }

    /// Returns the entry of an element of [`RelationChanges::added`], if that still counts.
    pub(crate) fn added(&self, at: u32, created: Seq) -> Option<&Arc<Entry>> {
        let entry = &self.slots[at as usize].added()?.entry;
        (entry.created() == created).then_some(entry)
    }

    /// Returns the shapes that it adds and that have dependencies.
    pub(crate) fn dependants(&self) -> impl Iterator<Item = &Record> {
        self.dependants.iter().filter_map(|(at, created)| {
            let record = self.slots[*at as usize].added()?;
            (record.entry.created() == *created).then_some(&**record)
        })
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Inserts a change. `hashes` are those of its handle, and of the key of the shape that it adds or
    /// removes.
    pub(crate) fn insert(&mut self, change: Change, hashes: Hashes, seq: Seq) {
        if self.is_empty() {
            self.since = Some(Instant::now());
            self.first = seq;
            self.slot_of_mutation_from = seq;
        }
        self.last = seq;
        self.bytes += MUTATION_BYTES;
        let at = match change {
            Change::Add { record, state } => self.add(record, state, hashes),
            Change::Remove { entry } => self.remove(entry, hashes),
            Change::Mark { entry, state } => self.mark(entry, state, hashes),
            // Only batches have it, and readers do not see it.
            Change::Discard { .. } => RESET,
            Change::Reset => {
                self.reset(seq);
                RESET
            }
        };
        self.slot_of_mutation.push(at);
    }

    fn add(&mut self, record: Arc<Record>, state: SnapshotState, hashes: Hashes) -> u32 {
        let at = self.slot_for(record.handle(), hashes.handle, || None);
        self.count_delta.add(&record.entry);
        self.bytes += record.memory();
        self.set_key_holder(hashes.key, *record.key(), Some(at));
        for relation in record.entry.relations().iter() {
            let element = (at, record.entry.created());
            self.bytes +=
                push(&mut changes_of(&mut self.by_relation, *relation, &mut self.bytes).added, element);
        }
        if !record.dependencies.is_empty() {
            self.bytes += push(&mut self.dependants, (at, record.entry.created()));
        }
        self.slots[at as usize].state = SlotState::Added(record, state);
        at
    }

    fn remove(&mut self, entry: Arc<Entry>, hashes: Hashes) -> u32 {
        let at = self.slot_for(entry.handle(), hashes.handle, || Some(Arc::clone(&entry)));
        self.count_delta.remove(&entry);
        self.set_key_holder(hashes.key, *entry.key(), None);
        let state = &mut self.slots[at as usize].state;
        match std::mem::replace(state, SlotState::Tombstone) {
            SlotState::Added(record, _) => {
                self.bytes -= record.memory();
                *state = SlotState::Discarded(record.entry.created());
                self.has_cancelled = true;
            }
            SlotState::Marked(_) | SlotState::Tombstone | SlotState::Discarded(_) => {
                for relation in entry.relations().iter() {
                    let handle = entry.handle().clone();
                    self.bytes += push(
                        &mut changes_of(&mut self.by_relation, *relation, &mut self.bytes).removed,
                        handle,
                    );
                }
            }
        }
        at
    }

    fn mark(&mut self, entry: Arc<Entry>, state: SnapshotState, hashes: Hashes) -> u32 {
        let at = self.slot_for(entry.handle(), hashes.handle, || Some(Arc::clone(&entry)));
        match &mut self.slots[at as usize].state {
            SlotState::Added(_, known) => {
                *known = (*known).max(state);
                self.has_cancelled = true;
            }
            SlotState::Marked(known) => *known = (*known).max(state),
            new @ (SlotState::Tombstone | SlotState::Discarded(_)) => *new = SlotState::Marked(state),
        }
        at
    }

    /// Replaces everything, in constant time.
    fn reset(&mut self, seq: Seq) {
        let mut old = std::mem::take(self);
        *self = Self {
            reset: true,
            first: old.first,
            last: seq,
            slot_of_mutation_from: seq,
            since: old.since,
            bytes: MUTATION_BYTES,
            replaced: std::mem::take(&mut old.replaced),
            replaced_bytes: std::mem::take(&mut old.replaced_bytes),
            latencies: old.latencies.take(),
            has_cancelled: old.has_cancelled || !old.slots.is_empty(),
            ..Self::default()
        };
        if old.slots.is_empty() {
            return;
        }
        // Without the reset, which counts in the new one.
        self.replaced_bytes += old.bytes - MUTATION_BYTES;
        self.replaced.push(Replaced::Whole(Box::new(old)));
    }

    /// Whether a reset has replaced something that is not condensed yet.
    pub(crate) fn has_whole_replaced(&self) -> bool {
        self.replaced.iter().any(|replaced| matches!(replaced, Replaced::Whole(_)))
    }

    /// Takes what resets have replaced, to be condensed without the lock. It counts until it is put back.
    pub(crate) fn take_replaced(&mut self) -> Condensing {
        Condensing { replaced: std::mem::take(&mut self.replaced), bytes: self.replaced_bytes }
    }

    /// Puts back what was taken. The generation must not have been sealed meanwhile.
    pub(crate) fn put_back(&mut self, condensed: Condensed) {
        let shapes = condensed.replaced.iter().map(|replaced| match replaced {
            Replaced::Condensed(shapes) => shapes.capacity(),
            Replaced::Whole(_) => 0,
        });
        self.replaced_bytes -= condensed.bytes;
        self.replaced_bytes += shapes.sum::<usize>() * size_of::<(Seq, Handle)>();
        self.replaced.splice(..0, condensed.replaced);
    }

    /// Returns the shapes that it leaves uncommitted if none of its slots is committed.
    fn uncommitted(&self) -> Vec<(Seq, Handle)> {
        let shapes = self.slots.iter().filter_map(|slot| Some((slot.acknowledged()?, slot.handle.clone())));
        shapes.collect()
    }

    /// Returns the slot of a handle, and creates it if there is none: with this base, and with a tombstone
    /// that the caller overwrites.
    fn slot_for(&mut self, handle: &Handle, hash: u64, base: impl FnOnce() -> Option<Arc<Entry>>) -> u32 {
        if let Some(at) = self.slot_of(hash, handle.as_bytes()) {
            return at;
        }
        let at = self.slots.len() as u32;
        let base = base();
        // Shared with the store below until that drops it.
        self.bytes += base.as_ref().map_or(0, |base| base.memory());
        self.slots.push(Slot { handle: handle.clone(), hash, base, state: SlotState::Tombstone });
        let slots = &self.slots;
        self.by_handle.part_mut(hash).insert_unique(hash, at, |at| slots[*at as usize].hash);
        self.bytes += SLOT_BYTES + handle.heap_bytes();
        at
    }

    /// Whether a handle has a slot. If so, a change of it needs no further slot.
    pub(crate) fn knows(&self, hash: u64, handle: &[u8]) -> bool {
        self.slot_of(hash, handle).is_some()
    }

    fn slot_of(&self, hash: u64, handle: &[u8]) -> Option<u32> {
        self.by_handle
            .part(hash)
            .find(hash, |at| self.slots[*at as usize].handle.as_bytes() == handle)
            .copied()
    }

    fn set_key_holder(&mut self, hash: u64, key: Key, slot: Option<u32>) {
        match self.by_key.part_mut(hash).entry(hash, |holder| holder.key == key, |holder| holder.hash) {
            TableEntry::Occupied(mut known) => known.get_mut().slot = slot,
            TableEntry::Vacant(free) => {
                free.insert(KeyHolder { key, hash, slot });
                self.bytes += KEY_BYTES;
            }
        }
    }

    /// Returns the changes for the disk: removals first, which free handles and keys, then marks, then what
    /// was added and never committed, and last adds in the order of creation.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.len());
        if self.reset {
            changes.push(Change::Reset);
        }
        for entry in self.slots.iter().filter_map(Slot::removed) {
            changes.push(Change::Remove { entry: Arc::clone(entry) });
        }
        for slot in self.slots.iter() {
            if let (SlotState::Marked(state), Some(base)) = (&slot.state, &slot.base) {
                changes.push(Change::Mark { entry: Arc::clone(base), state: *state });
            }
        }
        let discard = |(created, handle)| Change::Discard { created, handle };
        for replaced in &self.replaced {
            match replaced {
                Replaced::Whole(generation) => {
                    changes.extend(generation.uncommitted().into_iter().map(discard))
                }
                Replaced::Condensed(shapes) => changes.extend(shapes.iter().cloned().map(discard)),
            }
        }
        // A handle that was added again is live: its stored data belongs to the new shape.
        for slot in self.slots.iter().filter(|slot| slot.added().is_none()) {
            if let Some(created) = slot.acknowledged() {
                changes.push(Change::Discard { created, handle: slot.handle.clone() });
            }
        }
        let adds = changes.len();
        for slot in self.slots.iter() {
            if let SlotState::Added(record, state) = &slot.state {
                changes.push(Change::Add { record: Arc::clone(record), state: *state });
            }
        }
        changes[adds..].sort_by_key(|change| change.entry().map(|entry| entry.created()));
        changes
    }

    /// Returns the slot of each shape that it adds, removes or marks, by id. O(slots).
    pub(crate) fn slots_of_shapes(&self) -> HashMap<Seq, u32, RandomState> {
        let shapes = (0..).zip(self.slots.iter()).flat_map(|(at, slot)| {
            let entries = slot.added().map(|record| &record.entry).into_iter().chain(&slot.base);
            entries.map(move |entry| (entry.created(), at))
        });
        shapes.collect()
    }

    /// Passes each of these mutations to `each`, with the number that it was wanted under. O(mutations).
    pub(crate) fn for_each_mutation_of(&self, wanted: &SlotMutations, mut each: impl FnMut(Seq, usize)) {
        if wanted.0.is_empty() {
            return;
        }
        for (seq, at) in (self.slot_of_mutation_from.get()..).map(Seq::new).zip(&self.slot_of_mutation) {
            for (from, number) in wanted.0.get(at).into_iter().flatten() {
                if seq >= *from {
                    each(seq, *number);
                }
            }
        }
    }

    /// Revokes the add or the mark of a slot; the removal of its base stands. Returns the decrease of the
    /// counts, and the record of the add, to be freed without the lock.
    pub(crate) fn revoke(&mut self, at: u32, hashing: &Hashing) -> (CountDelta, Option<Arc<Record>>) {
        let mut lost = CountDelta::default();
        let slot = &mut self.slots[at as usize];
        let record = match std::mem::replace(&mut slot.state, SlotState::Tombstone) {
            SlotState::Added(record, _) => record,
            SlotState::Discarded(created) => {
                slot.state = SlotState::Discarded(created);
                return (lost, None);
            }
            SlotState::Marked(_) | SlotState::Tombstone => return (lost, None),
        };
        slot.state = SlotState::Discarded(record.entry.created());
        lost.add(&record.entry);
        self.bytes -= record.memory();
        let hash = hashing.key(record.key());
        let holder = self.by_key.part_mut(hash).find_mut(hash, |holder| holder.key == *record.key());
        if let Some(holder) = holder.filter(|holder| holder.slot == Some(at)) {
            holder.slot = None;
        }
        self.count_delta = self.count_delta - lost;
        (lost, Some(record))
    }

    /// Deletes these shapes from the removals of their relations, each of which is walked once.
    pub(crate) fn forget_removed(&mut self, bases: &[Arc<Entry>]) {
        self.revocations += 1;
        let mut forgotten: HashMap<Relation, HashSet<&Handle, RandomState>, RandomState> = HashMap::default();
        for base in bases {
            for relation in base.relations().iter() {
                forgotten.entry(*relation).or_default().insert(base.handle());
            }
        }
        for (relation, handles) in forgotten {
            if let Some(changes) = self.by_relation.get_mut(&relation) {
                changes.removed.retain(|handle| !handles.contains(handle));
            }
        }
    }

    /// Forgets the base of a slot, because the shape was rejected and does not exist below. If it was
    /// removed, [`forget_removed`](Self::forget_removed) does the rest.
    pub(crate) fn forget_base(&mut self, hash: u64, base: &Entry) -> ForgottenBase {
        let mut forgotten = ForgottenBase::default();
        let Some(at) = self.slot_of(hash, base.handle().as_bytes()) else { return forgotten };
        let slot = &mut self.slots[at as usize];
        if slot.base.as_ref().is_none_or(|known| known.created() != base.created()) {
            return forgotten;
        }
        forgotten.was_removed = slot.removed().is_some();
        if forgotten.was_removed {
            self.count_delta.add(base);
        }
        self.bytes -= slot.base.take().map_or(0, |base| base.memory());
        forgotten.impossible = matches!(slot.state, SlotState::Marked(_)).then_some(at);
        forgotten
    }

    /// Returns the slots that reuse the handle or the key of a shape whose removal was rejected, each with
    /// the first mutation to reject. In the slot with the handle, all mutations are rejected. In the slot
    /// with the key, those from the add of its shape on are.
    pub(crate) fn successors(&self, hashes: Hashes, entry: &Entry) -> Vec<(u32, Seq)> {
        let by_handle = self.slot_of(hashes.handle, entry.handle().as_bytes()).map(|at| (at, Seq::ZERO));
        let holder = self.by_key.part(hashes.key).find(hashes.key, |holder| holder.key == *entry.key());
        let by_key = holder
            .and_then(|holder| holder.slot)
            .and_then(|at| Some((at, self.slots[at as usize].added()?.entry.created())));
        let mut successors: Vec<_> = by_handle.into_iter().chain(by_key).collect();
        successors.dedup_by_key(|(at, _)| *at);
        successors
    }

    /// Forgets the handle and the key of a shape whose removal was rejected, after its successors were
    /// revoked.
    pub(crate) fn forget_freed(&mut self, hashes: Hashes, entry: &Entry) {
        let slots = &self.slots;
        let has_handle = |at: &u32| slots[*at as usize].handle == *entry.handle();
        if let Ok(freed) = self.by_handle.part_mut(hashes.handle).find_entry(hashes.handle, has_handle) {
            freed.remove();
        }
        if let Ok(freed) =
            self.by_key.part_mut(hashes.key).find_entry(hashes.key, |holder| holder.key == *entry.key())
        {
            freed.remove();
        }
    }
}

/// Returns the changes of a relation, and counts a new one.
fn changes_of<'a>(
    by_relation: &'a mut HashMap<Relation, RelationChanges, RandomState>,
    relation: Relation,
    bytes: &mut usize,
) -> &'a mut RelationChanges {
    by_relation.entry(relation).or_insert_with(|| {
        *bytes += RELATION_BYTES;
        RelationChanges::default()
    })
}

/// Pushes an element, and returns by how many bytes the list has grown.
fn push<T>(list: &mut Vec<T>, element: T) -> usize {
    let before = list.capacity();
    list.push(element);
    (list.capacity() - before) * size_of::<T>()
}

#[cfg(test)]
impl Generation {
    /// Returns the bytes that its tables and lists hold, from their capacities, and its records and bases.
    pub(crate) fn held(&self) -> usize {
        let relations = (self.by_relation.capacity() * 8).div_ceil(7);
        let lists = self.by_relation.values().map(|changes| {
            changes.added.capacity() * size_of::<(u32, Seq)>()
                + changes.removed.capacity() * size_of::<Handle>()
        });
        let slots = self.slots.iter().map(|slot| {
            slot.handle.heap_bytes()
                + slot.base.as_ref().map_or(0, |base| base.memory())
                + slot.added().map_or(0, |record| record.memory())
        });
        self.slots.capacity() * size_of::<Slot>()
            + self.by_handle.allocation_size()
            + self.by_key.allocation_size()
            + relations * (size_of::<(Relation, RelationChanges)>() + 1)
            + self.slot_of_mutation.capacity() * size_of::<u32>()
            + self.dependants.capacity() * size_of::<(u32, Seq)>()
            + self.fed.capacity() * size_of::<FeedChange>()
            + lists.sum::<usize>()
            + slots.sum::<usize>()
    }

    /// Returns the capacities of its tables: slots, handles, keys, and mutations.
    pub(crate) fn capacities(&self) -> [usize; 4] {
        [
            self.slots.capacity(),
            self.by_handle.capacity(),
            self.by_key.capacity(),
            self.slot_of_mutation.capacity(),
        ]
    }
}

#[cfg(test)]
impl RelationChanges {
    /// Returns how many changes a read of the relation walks.
    pub(crate) fn walked(&self) -> usize {
        self.added.len() + self.removed.len()
    }
}
