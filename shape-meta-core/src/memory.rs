use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError},
};

use crate::{
    Batch, Change, ChangeLog, Counts, Entry, Handle, HandleSet, Key, LastReadStore, LeastRecentlyUsed,
    Metadata, ReadShapes, RebuildStore, Record, Relation, Result, Scan, ScanItem, Seq, ShapeStore,
    SweepProgress, Timestamp, Usage,
    sync::{RwLock, RwLockReadGuard},
};

/// The reference model: a store in memory, written to be obviously correct rather than fast.
///
/// The other stores are compared with it, and tests of the layers above use it as their store. Its contents
/// are lost when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    shapes: RwLock<Shapes>,
}

#[derive(Debug, Default)]
struct Shapes {
    by_handle: HashMap<Handle, Arc<Record>>,
    by_key: HashMap<Key, Handle>,
    by_relation: HashMap<Relation, BTreeSet<Seq>>,
    by_seq: BTreeMap<Seq, Arc<Record>>,
    counts: Counts,
    last_seq: Seq,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Simulates a restart: removes the shapes without a complete snapshot, and marks shapes that were never
    /// read as read at `at`. Returns the removed handles, in order of creation.
    pub fn reopen(&self, at: Timestamp) -> Vec<Handle> {
        let mut shapes = self.shapes.write().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Vec::new();
        let old = std::mem::take(&mut *shapes);
        shapes.last_seq = old.last_seq;
        for record in old.by_seq.into_values() {
            let state = record.entry.state();
            if state.is_complete() {
                let last_read = record.entry.last_read().unwrap_or(at);
                let entry =
                    record.entry.clone_with_seq(record.entry.created()).with_state(state, Some(last_read));
                shapes.add(Arc::new(Record { entry: Arc::new(entry), ..(*record).clone() }));
            } else {
                removed.push(record.handle().clone());
            }
        }
        removed
    }

    fn read(&self) -> RwLockReadGuard<'_, Shapes> {
        self.shapes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shapes {
    fn add(&mut self, record: Arc<Record>) {
        let entry = &record.entry;
        if self.by_seq.contains_key(&entry.created()) {
            return;
        }
        self.by_key.insert(*entry.key(), entry.handle().clone());
        for relation in entry.relations().iter() {
            self.by_relation.entry(*relation).or_default().insert(entry.created());
        }
        self.counts.add(entry.is_indexed());
        self.by_seq.insert(entry.created(), Arc::clone(&record));
        self.by_handle.insert(entry.handle().clone(), record);
    }

    fn remove(&mut self, entry: &Entry) {
        if self.by_seq.remove(&entry.created()).is_none() {
            return;
        }
        self.by_handle.remove(entry.handle());
        self.by_key.remove(entry.key());
        for relation in entry.relations().iter() {
            if let Some(readers) = self.by_relation.get_mut(relation) {
                readers.remove(&entry.created());
                if readers.is_empty() {
                    self.by_relation.remove(relation);
                }
            }
        }
        self.counts.remove(entry.is_indexed());
    }

    fn entry(&self, handle: &str) -> Option<&Arc<Entry>> {
        self.by_handle.get(handle).map(|record| &record.entry)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for MemoryStore {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        Ok(self.read().entry(handle).map(|entry| entry.metadata()))
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.read().by_key.get(key).cloned())
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        Ok(self.read().entry(handle).cloned())
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        Ok(self.read().by_handle.get(handle).cloned())
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let shapes = self.read();
        let readers: BTreeSet<_> =
            relations.iter().filter_map(|one| shapes.by_relation.get(one)).flatten().collect();
        Ok(readers
            .into_iter()
            .filter_map(|seq| shapes.by_seq.get(seq))
            .map(|record| record.handle().clone())
            .collect())
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.read().counts)
    }

    fn scan(&self) -> Result<Scan<'_>> {
        let shapes = self.read();
        let all: Vec<_> = shapes
            .by_seq
            .values()
            .map(|record| Ok(ScanItem { record: Arc::clone(record), metadata: record.entry.metadata() }))
            .collect();
        Ok(Box::new(all.into_iter()))
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        Ok(self.read().entry(handle).is_some_and(|entry| entry.touch(at)))
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        let (shapes, now) = (self.read(), Timestamp::now());
        let mut read: Vec<_> = shapes
            .by_seq
            .values()
            .filter(|record| !excluded.contains(record.handle()))
            .filter_map(|record| Some((record.entry.last_read()?.min(now), &record.entry)))
            .collect();
        read.sort_by_key(|(at, entry)| (*at, entry.created()));
        let oldest = read.into_iter().take(n);
        Ok(LeastRecentlyUsed { shapes: oldest.map(|(at, entry)| (entry.handle().clone(), at)).collect() })
    }

    fn last_seq(&self) -> Result<Seq> {
        Ok(self.read().last_seq)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ShapeStore for MemoryStore {
    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut shapes = self.shapes.write().unwrap_or_else(PoisonError::into_inner);
        if batch.through <= shapes.last_seq {
            return Ok(());
        }
        for change in &batch.changes {
            match change {
                Change::Add { record, state } => {
                    record.entry.advance(*state);
                    shapes.add(Arc::clone(record));
                }
                Change::Remove { entry } => shapes.remove(entry),
                Change::Mark { entry, state } => {
                    if let Some(record) = shapes.by_seq.get(&entry.created()) {
                        record.entry.advance(*state);
                    }
                }
                Change::Discard { .. } => {}
                Change::Reset => *shapes = Shapes::default(),
            }
        }
        shapes.last_seq = batch.through;
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.apply(batch)
    }

    /// A commit is visible at once.
    fn publish(&self, _: &Batch) {}

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        let (entries, last_seq) = {
            let shapes = self.read();
            let entries: Vec<_> = shapes.by_seq.values().map(|record| Arc::clone(&record.entry)).collect();
            (entries, shapes.last_seq)
        };
        entries.into_iter().for_each(each);
        Ok(last_seq)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        Ok(self.read().by_seq.get(&entry.created()).map(|record| match Arc::ptr_eq(&record.entry, entry) {
            true => Arc::clone(record),
            // The entry is older than a reopening, or the cache has created its own.
            false => Arc::new(Record { entry: Arc::clone(entry), ..(**record).clone() }),
        }))
    }

    fn claim_unread(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        entry.claim_unread(since)
    }

    fn release_claim(&self, entry: &Arc<Entry>) {
        entry.release_claim();
    }

    /// The ownership has no lease.
    fn check_lease(&self) -> Result<()> {
        Ok(())
    }

    fn resource_usage(&self) -> Usage {
        Usage { shapes: self.counts().ok(), ..Usage::default() }
    }

    /// No changes are kept: a mirror reloads everything.
    fn change_log(&self) -> Option<&dyn ChangeLog> {
        None
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }

    /// There is no file.
    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        None
    }
}

/// The entries of the store are what it saves to: what they contain survives [`reopen`](MemoryStore::reopen).
impl LastReadStore for MemoryStore {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        let shapes = self.read();
        for (created, at) in reads {
            if let Some(record) = shapes.by_seq.get(created) {
                record.entry.merge_last_read(*at);
            }
        }
        Ok(())
    }

    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        let saved: Vec<_> = {
            let shapes = self.read();
            shapes.by_seq.iter().filter_map(|(seq, one)| Some((*seq, one.entry.last_read()?))).collect()
        };
        saved.into_iter().for_each(|(created, at)| each(created, at));
        Ok(())
    }

    /// Everything that was recorded is in the entries already.
    fn sweep(&self) -> Result<SweepProgress> {
        Ok(SweepProgress::default())
    }
}
