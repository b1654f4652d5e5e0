use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use shape_meta_core::{Change, Entry, Handle, Key, Latencies, Record, Relation, Seq, SnapshotState};

use crate::{
    memtable::CountDelta,
    memtable::{Now, Slot},
};

/// What a mutation costs in the order, beside what it holds: its place in the log.
const LOGGED: usize = size_of::<u32>();
/// What a handle costs in the tables, beside the record: its slot, and places in the three indexes.
const INDEXED: usize = size_of::<Slot>() + 2 * size_of::<Keyed>() + 32;
/// The log's word for a reset.
const RESET: u32 = u32::MAX;

/// The changes accepted between two flushes, with every index that a reader asks. A generation is filled
/// under the overlay's lock, sealed, committed, and dropped whole: nothing is ever cleaned out of it entry
/// by entry, so an older flush cannot delete what is newer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generation {
    /// Everything below this generation is gone.
    reset: bool,
    slots: Vec<Slot>,
    by_handle: HashTable<u32>,
    by_key: HashTable<Keyed>,
    by_relation: HashMap<Relation, Readers, RandomState>,
    /// The slot that each mutation since the first (or the latest reset) went to, so that a rejected
    /// slot can be told to all that wait for one of its mutations.
    log: Vec<u32>,
    logged_from: Seq,
    first: Seq,
    last: Seq,
    bytes: usize,
    count_delta: CountDelta,
    /// When the first of them was accepted.
    since: Option<Instant>,
    /// How long they took, where somebody wants to know.
    latencies: Option<Box<Latencies>>,
}

#[derive(Clone, Debug)]
struct Keyed {
    key: Key,
    hash: u64,
    /// The slot of the shape that has the key; none if the generation has freed it.
    holder: Option<u32>,
}

/// What a generation changes about the readers of one relation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers {
    /// Every shape that was added. It still counts if its slot still holds it.
    added: Vec<(u32, Seq)>,
    /// The handles of bases that are gone, each once.
    pub(crate) removed: Vec<Handle>,
}

#[cfg(test)]
impl Generation {
    /// For how many its tables have room: slots, handles, keys, and mutations in their order.
    pub(crate) fn room(&self) -> [usize; 4] {
        [self.slots.capacity(), self.by_handle.capacity(), self.by_key.capacity(), self.log.capacity()]
    }
}

#[cfg(test)]
impl Readers {
    /// How many changes a read of the relation looks at.
    pub(crate) fn walked(&self) -> usize {
        self.added.len() + self.removed.len()
    }
}

/// What a generation says of a handle. Where it says nothing, those below are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'a> {
    Here(&'a Arc<Record>, SnapshotState),
    Marked(&'a Arc<Entry>, SnapshotState),
    Gone,
}

/// The hashes of a change's handle and key, made outside of the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashes {
    pub(crate) handle: u64,
    pub(crate) key: u64,
}

impl Generation {
    /// With room for so many shapes, so that no table has to grow while writers wait.
    pub(crate) fn with_capacity(shapes: usize) -> Self {
        Self {
            slots: Vec::with_capacity(shapes),
            by_handle: HashTable::with_capacity(shapes),
            by_key: HashTable::with_capacity(shapes),
            log: Vec::with_capacity(shapes),
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.reset
    }

    /// How many handles it has an answer for: what the bound counts, and no less than the changes.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() + usize::from(self.reset)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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

    /// A mutation of it took so long.
    pub(crate) fn acknowledged(&mut self, took: Duration) {
        self.latencies.get_or_insert_default().record(took);
    }

    pub(crate) fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_deref()
    }

    pub(crate) fn count_delta(&self) -> CountDelta {
        self.count_delta
    }

    /// What it says of a handle; `None` if it has nothing to say.
    pub(crate) fn handle(&self, hash: u64, handle: &[u8]) -> Option<Seen<'_>> {
        match self.slot_of(hash, handle) {
            Some(at) => self.seen(&self.slots[at as usize]),
            None => self.reset.then_some(Seen::Gone),
        }
    }

    fn seen<'a>(&self, slot: &'a Slot) -> Option<Seen<'a>> {
        Some(match (&slot.now, &slot.base) {
            (Now::Here(record, state), _) => Seen::Here(record, *state),
            (Now::Marked(state), Some(base)) => Seen::Marked(base, *state),
            (Now::Marked(_), None) => return None,
            (Now::Gone, _) => Seen::Gone,
        })
    }

    /// The record that holds a key, or `Some(None)` if none does any more; `None` if it has nothing to say.
    pub(crate) fn key(&self, hash: u64, key: &Key) -> Option<Option<&Arc<Record>>> {
        match self.by_key.find(hash, |keyed| keyed.key == *key) {
            Some(keyed) => Some(keyed.holder.and_then(|at| self.slots[at as usize].added())),
            None => self.reset.then_some(None),
        }
    }

    pub(crate) fn readers(&self, relation: Relation) -> Option<&Readers> {
        self.by_relation.get(&relation)
    }

    /// Whether it adds to the readers of one of these relations, or takes away from them: otherwise it has nothing to
    /// say of any of them, a reset apart.
    pub(crate) fn changes_readers(&self, relations: &[Relation]) -> bool {
        self.reset || relations.iter().any(|relation| self.by_relation.contains_key(relation))
    }

    /// The entries of the shapes that it adds to the readers of a relation.
    pub(crate) fn added<'a>(&'a self, readers: &'a Readers) -> impl Iterator<Item = &'a Arc<Entry>> {
        readers.added.iter().filter_map(|(at, created)| {
            let entry = &self.slots[*at as usize].added()?.entry;
            (entry.created() == *created).then_some(entry)
        })
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Takes in a change. Its hashes are those of its handle, and of the key of the shape that it adds or
    /// removes.
    pub(crate) fn put(&mut self, change: Change, hashes: Hashes, seq: Seq) {
        if self.is_empty() {
            self.since = Some(Instant::now());
            self.first = seq;
            self.logged_from = seq;
        }
        self.last = seq;
        self.bytes += LOGGED;
        let at = match change {
            Change::Add { record, state } => self.add(record, state, hashes),
            Change::Remove { entry } => self.remove(entry, hashes),
            Change::Mark { entry, state } => self.mark(entry, state, hashes),
            Change::Reset => {
                *self = Self {
                    reset: true,
                    first: self.first,
                    last: seq,
                    logged_from: seq,
                    since: self.since,
                    bytes: LOGGED,
                    latencies: self.latencies.take(),
                    ..Self::default()
                };
                RESET
            }
        };
        self.log.push(at);
    }

    fn add(&mut self, record: Arc<Record>, state: SnapshotState, hashes: Hashes) -> u32 {
        let at = self.slot_for(record.handle(), hashes.handle, || None);
        self.count_delta.add(&record.entry);
        self.bytes += record.memory();
        self.set_holder(hashes.key, *record.key(), Some(at));
        for relation in record.entry.relations().iter() {
            self.by_relation.entry(*relation).or_default().added.push((at, record.entry.created()));
            self.bytes += size_of::<(u32, Seq)>();
        }
        self.slots[at as usize].now = Now::Here(record, state);
        at
    }

    fn remove(&mut self, entry: Arc<Entry>, hashes: Hashes) -> u32 {
        let at = self.slot_for(entry.handle(), hashes.handle, || Some(Arc::clone(&entry)));
        self.count_delta.remove(&entry);
        self.set_holder(hashes.key, *entry.key(), None);
        match std::mem::replace(&mut self.slots[at as usize].now, Now::Gone) {
            Now::Here(record, _) => self.bytes -= record.memory(),
            Now::Marked(_) | Now::Gone => {
                for relation in entry.relations().iter() {
                    let readers = self.by_relation.entry(*relation).or_default();
                    readers.removed.push(entry.handle().clone());
                    self.bytes += size_of::<Handle>();
                }
            }
        }
        at
    }

    fn mark(&mut self, entry: Arc<Entry>, state: SnapshotState, hashes: Hashes) -> u32 {
        let at = self.slot_for(entry.handle(), hashes.handle, || Some(Arc::clone(&entry)));
        match &mut self.slots[at as usize].now {
            Now::Here(_, known) | Now::Marked(known) => *known = (*known).max(state),
            now @ Now::Gone => *now = Now::Marked(state),
        }
        at
    }

    /// The slot of a handle, made with this base if the generation hears of it for the first time.
    fn slot_for(&mut self, handle: &Handle, hash: u64, base: impl FnOnce() -> Option<Arc<Entry>>) -> u32 {
        if let Some(at) = self.slot_of(hash, handle.as_bytes()) {
            return at;
        }
        let at = self.slots.len() as u32;
        // Gone with a base is overwritten by the caller at once.
        self.slots.push(Slot { handle: handle.clone(), hash, base: base(), now: Now::Gone });
        let slots = &self.slots;
        self.by_handle.insert_unique(hash, at, |at| slots[*at as usize].hash);
        self.bytes += INDEXED + handle.heap_bytes();
        at
    }

    fn slot_of(&self, hash: u64, handle: &[u8]) -> Option<u32> {
        self.by_handle.find(hash, |at| self.slots[*at as usize].handle.as_bytes() == handle).copied()
    }

    fn set_holder(&mut self, hash: u64, key: Key, holder: Option<u32>) {
        self.by_key
            .entry(hash, |keyed| keyed.key == key, |keyed| keyed.hash)
            .and_modify(|keyed| keyed.holder = holder)
            .or_insert_with(|| Keyed { key, hash, holder });
    }

    /// What the disk has to do: removals first, so that handles and keys are free for the adds, which
    /// come in the order of creation.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.len());
        if self.reset {
            changes.push(Change::Reset);
        }
        for entry in self.slots.iter().filter_map(Slot::removed) {
            changes.push(Change::Remove { entry: Arc::clone(entry) });
        }
        let adds = changes.len();
        for slot in &self.slots {
            if let Now::Here(record, state) = &slot.now {
                changes.push(Change::Add { record: Arc::clone(record), state: *state });
            }
        }
        changes[adds..].sort_by_key(|change| change.entry().map(|entry| entry.created()));
        for slot in &self.slots {
            if let (Now::Marked(state), Some(base)) = (&slot.now, &slot.base) {
                changes.push(Change::Mark { entry: Arc::clone(base), state: *state });
            }
        }
        changes
    }

    /// The slot whose change is about this shape.
    pub(crate) fn slot_about(&self, created: Seq) -> Option<u32> {
        let is = |entry: &Arc<Entry>| entry.created() == created;
        let about = |slot: &Slot| {
            slot.added().is_some_and(|record| is(&record.entry)) || slot.base.as_ref().is_some_and(is)
        };
        self.slots.iter().position(about).map(|at| at as u32)
    }

    /// The mutations from this one on that went to a slot.
    pub(crate) fn mutations_of(&self, at: u32, from: Seq) -> impl Iterator<Item = Seq> {
        let logged = (self.logged_from.get()..).zip(&self.log);
        logged.filter(move |(seq, slot)| **slot == at && *seq >= from.get()).map(|(seq, _)| Seq::new(seq))
    }

    /// What a slot adds or marks does not come to be after all; that its base is removed stands. Returns what the
    /// counts lose by it.
    ///
    /// Only after a change that the store refused for good, so it may cost a pass over a table.
    pub(crate) fn take_back(&mut self, at: u32) -> CountDelta {
        let mut effect = CountDelta::default();
        if let Now::Here(record, _) = std::mem::replace(&mut self.slots[at as usize].now, Now::Gone) {
            effect.add(&record.entry);
            self.bytes -= record.memory();
            for keyed in self.by_key.iter_mut().filter(|keyed| keyed.holder == Some(at)) {
                keyed.holder = None;
            }
        }
        self.count_delta = self.count_delta - effect;
        effect
    }

    /// The readers of its relations hear no more of it that this shape is gone.
    fn forget_removed(&mut self, base: &Entry) {
        for relation in base.relations().iter() {
            if let Some(readers) = self.by_relation.get_mut(relation) {
                readers.removed.retain(|handle| handle != base.handle());
            }
        }
    }

    /// The shape below that a slot rests on does not exist after all. Returns what the counts gain by not
    /// removing it, and whether the slot's own change has become impossible.
    pub(crate) fn forget_base(&mut self, hash: u64, base: &Entry) -> (CountDelta, Option<u32>) {
        let mut gain = CountDelta::default();
        let Some(at) = self.slot_of(hash, base.handle().as_bytes()) else { return (gain, None) };
        let slot = &mut self.slots[at as usize];
        if slot.base.as_ref().is_none_or(|known| known.created() != base.created()) {
            return (gain, None);
        }
        if slot.removed().is_some() {
            gain.add(base);
            self.count_delta.add(base);
            self.forget_removed(base);
        }
        let slot = &mut self.slots[at as usize];
        slot.base = None;
        (gain, matches!(slot.now, Now::Marked(_)).then_some(at))
    }

    /// What took over from a shape that stays after all, and from which mutation on: the slot of its handle, whatever
    /// came of it, and the one of the added shape that has its key.
    pub(crate) fn successors(&self, hashes: Hashes, entry: &Entry) -> Vec<(u32, Seq)> {
        let by_handle = self.slot_of(hashes.handle, entry.handle().as_bytes()).map(|at| (at, Seq::ZERO));
        let holder =
            self.by_key.find(hashes.key, |keyed| keyed.key == *entry.key()).and_then(|keyed| keyed.holder);
        let by_key = holder.and_then(|at| Some((at, self.slots[at as usize].added()?.entry.created())));
        let mut successors: Vec<_> = by_handle.into_iter().chain(by_key).collect();
        successors.dedup_by_key(|(at, _)| *at);
        successors
    }

    /// Says nothing any more of the handle and of the key of a shape that stays after all, once its successors are
    /// taken back: nobody has them here.
    pub(crate) fn forget_freed(&mut self, hashes: Hashes, entry: &Entry) {
        let slots = &self.slots;
        let is_of = |at: &u32| slots[*at as usize].handle == *entry.handle();
        if let Ok(freed) = self.by_handle.find_entry(hashes.handle, is_of) {
            freed.remove();
        }
        if let Ok(freed) = self.by_key.find_entry(hashes.key, |keyed| keyed.key == *entry.key()) {
            freed.remove();
        }
    }
}
