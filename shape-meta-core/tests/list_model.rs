//! A second implementation that differs from the reference model on purpose: a list with linear searches and
//! its own validation. The comparison of both checks the reference model, on which all other tests rely. The
//! list model is durable only after a flush, so it also shows that the suite checks durability.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use proptest::prelude::*;
use shape_meta_core::{
    AwaitShapes, Counts, DurabilityTracker, Entry, GetOrAdd, Handle, HandleSet, Key, LeastRecentlyUsed,
    Metadata, MutateError, MutateShapes, Mutation, NewShape, ReadShapes, Receipt, Record, Refusal, Relation,
    Result, Scan, ScanItem, Seq, ShapeWaits, Signal, SnapshotState, Timestamp,
    conformance::{
        CompositionFixture,
        ops::{Op, lockstep},
    },
};

#[derive(Clone)]
struct Shape {
    new: NewShape,
    created: u64,
    state: SnapshotState,
    last_read: Option<Timestamp>,
}

impl Shape {
    fn metadata(&self) -> Metadata {
        let Self { created, state, last_read, .. } = *self;
        Metadata {
            created: Seq::new(created),
            created_at: self.new.created_at,
            hash: self.new.hash,
            state,
            last_read,
        }
    }

    fn record(&self) -> Arc<Record> {
        let record = self.new.record(Seq::new(self.created));
        let NewShape { handle, key, hash, relations, indexed, .. } = self.new.clone();
        let entry = Entry::new(Seq::new(self.created), handle, key, hash, relations, indexed);
        let entry = entry.with_created_at(self.new.created_at).with_state(self.state, self.last_read);
        Arc::new(Record { entry: Arc::new(entry), ..record })
    }
}

#[derive(Default)]
struct ListModel {
    shapes: Mutex<(u64, Vec<Shape>)>,
    progress: Arc<DurabilityTracker>,
    paused: AtomicBool,
    waits: Arc<ShapeWaits>,
}

impl ListModel {
    fn all(&self) -> MutexGuard<'_, (u64, Vec<Shape>)> {
        self.shapes.lock().expect("no thread panics while it holds the lock")
    }

    fn find<T>(&self, handle: &str, then: impl FnOnce(&mut Shape) -> T) -> Option<T> {
        self.all().1.iter_mut().find(|shape| shape.new.handle == *handle).map(then)
    }

    fn accepted(&self, last: &mut u64) -> Receipt {
        *last += 1;
        Receipt::new(Seq::new(*last), Arc::clone(&self.progress))
    }
}

fn limit_refusal(new: &NewShape) -> Option<Refusal> {
    let handle = || new.handle.clone();
    match new {
        _ if new.handle.len() > 256 => Some(Refusal::HandleTooLong { bytes: new.handle.len(), max: 256 }),
        _ if new.definition.len() > 1_048_576 => Some(Refusal::DefinitionTooLarge {
            handle: handle(),
            bytes: new.definition.len(),
            max: 1_048_576,
        }),
        _ if new.relations.len() > 1_000 => {
            Some(Refusal::TooManyRelations { handle: handle(), count: new.relations.len(), max: 1_000 })
        }
        _ if new.dependencies.len() > 1_000 => {
            Some(Refusal::TooManyDependencies { handle: handle(), count: new.dependencies.len(), max: 1_000 })
        }
        _ => None,
    }
}

impl ReadShapes for ListModel {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        Ok(self.find(handle, |shape| shape.metadata()))
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.all().1.iter().find(|shape| shape.new.key == *key).map(|shape| shape.new.handle.clone()))
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        Ok(self.find(handle, |shape| Arc::clone(&shape.record().entry)))
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        Ok(self.find(handle, |shape| shape.record()))
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let all = self.all();
        let reads = |shape: &&Shape| relations.iter().any(|relation| shape.new.relations.contains(relation));
        Ok(all.1.iter().filter(reads).map(|shape| shape.new.handle.clone()).collect())
    }

    fn counts(&self) -> Result<Counts> {
        let all = self.all();
        let indexed = all.1.iter().filter(|shape| shape.new.indexed).count();
        Ok(Counts { total: all.1.len() as u64, indexed: indexed as u64 })
    }

    fn scan(&self) -> Result<Scan<'_>> {
        let all = self.all().1.clone();
        let item = |shape: Shape| Ok(ScanItem { record: shape.record(), metadata: shape.metadata() });
        Ok(Box::new(all.into_iter().map(item)))
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        let read = |shape: &mut Shape| {
            let now = Timestamp::now();
            let known = shape.last_read.filter(|known| *known <= now || *known <= at);
            shape.last_read = known.max(Some(at)).max(shape.last_read.min(Some(now)));
        };
        Ok(self.find(handle, read).is_some())
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        // Removes the least recently used one, n times.
        let mut remaining = self.all().1.clone();
        let now = Timestamp::now();
        remaining.iter_mut().for_each(|shape| shape.last_read = shape.last_read.min(Some(now)));
        let mut shapes = Vec::new();
        while shapes.len() < n {
            let candidates = remaining
                .iter()
                .enumerate()
                .filter(|(_, shape)| shape.last_read.is_some() && !excluded.contains(&shape.new.handle));
            let Some((at, _)) = candidates.min_by_key(|(_, shape)| shape.last_read) else { break };
            let shape = remaining.remove(at);
            shapes.extend(shape.last_read.map(|at| (shape.new.handle, at)));
        }
        Ok(LeastRecentlyUsed { shapes })
    }

    fn last_seq(&self) -> Result<Seq> {
        Ok(Seq::new(self.all().0))
    }
}

/// Wakes the waits for a shape after a mutation, or all.
struct WakeOnDrop<'a>(&'a ShapeWaits, Option<&'a str>);

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        match self.1 {
            Some(handle) => self.0.removed(handle),
            None => self.0.all_changed(),
        }
    }
}

impl AwaitShapes for ListModel {
    fn shape_waits(&self) -> Arc<ShapeWaits> {
        Arc::clone(&self.waits)
    }

    fn shown_receipt(&self) -> Option<Receipt> {
        Some(Receipt::up_to(Seq::new(self.all().0), Arc::clone(&self.progress)))
    }
}

impl MutateShapes for ListModel {
    fn get(&self, key: &Key) -> Result<Option<GetOrAdd>> {
        let found = self.handle_for(key)?;
        let receipt = Receipt::new(self.last_seq()?, Arc::clone(&self.progress));
        Ok(found.map(|handle| GetOrAdd { handle, added: false, receipt }))
    }

    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        // Dropped once the lock is released.
        let _wake = WakeOnDrop(&self.waits, mutation.handle());
        let (last, shapes) = &mut *self.all();
        let at = |handle: &str| shapes.iter().position(|shape| shape.new.handle == *handle);
        let unknown = |handle: &str| {
            let handle = handle.chars().scan(0, |bytes, next| {
                *bytes += next.len_utf8();
                (*bytes <= 256).then_some(next)
            });
            Refusal::UnknownHandle { handle: handle.collect() }
        };
        match mutation {
            Mutation::Add(new) => {
                if let Some(refusal) = limit_refusal(new) {
                    return Err(refusal.into());
                }
                if let Some(holder) = shapes.iter().find(|shape| shape.new.key == new.key) {
                    let held_by = holder.new.handle.clone();
                    return Err(Refusal::DuplicateKey { key: new.key, held_by }.into());
                }
                if at(&new.handle).is_some() {
                    return Err(Refusal::DuplicateHandle { handle: new.handle.clone() }.into());
                }
                let receipt = self.accepted(last);
                let (now, state) = (Timestamp::now(), SnapshotState::Pending);
                let created_at = Some(new.created_at.map_or(now, |at| at.min(now)));
                let new = NewShape { created_at, ..new.clone() };
                shapes.push(Shape { new, created: *last, state, last_read: None });
                Ok(receipt)
            }
            Mutation::Remove(handle) => {
                let at = at(handle).ok_or_else(|| unknown(handle))?;
                shapes.remove(at);
                Ok(self.accepted(last))
            }
            Mutation::RemoveAll(removal) => {
                let is_root = |shape: &Shape| {
                    removal.handles().iter().any(|handle| shape.new.handle == **handle)
                        || removal.relations().iter().any(|read| shape.new.relations.contains(read))
                };
                let mut removed: Vec<bool> = shapes.iter().map(is_root).collect();
                // Once for each shape, since a chain of dependants may be as long as that.
                for _ in shapes.iter().filter(|_| removal.has_dependants()) {
                    for at in 0..shapes.len() {
                        let depends = |on: usize| shapes[at].new.dependencies.contains(&shapes[on].new.key);
                        let is_removed = (0..shapes.len()).any(|on| removed[on] && depends(on));
                        removed[at] = removed[at] || is_removed;
                    }
                }
                let mut removed = removed.into_iter();
                shapes.retain(|_| {
                    !removed.next().unwrap_or(false) || {
                        *last += 1;
                        false
                    }
                });
                Ok(Receipt::up_to(Seq::new(*last), Arc::clone(&self.progress)))
            }
            Mutation::RemoveUnread { handle, since, shape } => {
                let is_meant = |at: &usize| shape.is_none_or(|shape| shape.get() == shapes[*at].created);
                let at = at(handle).filter(is_meant).ok_or_else(|| unknown(handle))?;
                if shapes[at].last_read.is_some_and(|read| read.min(Timestamp::now()) >= *since) {
                    return Err(Refusal::ReadSince { handle: shapes[at].new.handle.clone() }.into());
                }
                shapes.remove(at);
                Ok(self.accepted(last))
            }
            Mutation::Mark(handle, state) => {
                let at = at(handle).ok_or_else(|| unknown(handle))?;
                if shapes[at].state >= *state {
                    return Ok(Receipt::new(Seq::new(*last), Arc::clone(&self.progress)));
                }
                shapes[at].state = *state;
                Ok(self.accepted(last))
            }
            Mutation::Reset => {
                shapes.clear();
                Ok(self.accepted(last))
            }
            _ => unimplemented!("a mutation that the list model does not support"),
        }
    }

    fn try_get_or_add(&self, new: &NewShape) -> Result<GetOrAdd, MutateError> {
        if let Some(handle) = self.handle_for(&new.key)? {
            let receipt = Receipt::new(self.last_seq()?, Arc::clone(&self.progress));
            return Ok(GetOrAdd { handle, added: false, receipt });
        }
        // Another thread may have added the key since. The refusal then names its handle.
        match self.try_mutate(&Mutation::Add(new.clone())) {
            Ok(receipt) => Ok(GetOrAdd { handle: new.handle.clone(), added: true, receipt }),
            Err(MutateError::Refused(Refusal::DuplicateKey { held_by, .. })) => {
                let receipt = Receipt::new(self.last_seq()?, Arc::clone(&self.progress));
                Ok(GetOrAdd { handle: held_by, added: false, receipt })
            }
            Err(other) => Err(other),
        }
    }

    fn capacity_signal(&self) -> Option<&Signal> {
        None
    }
}

struct ListModelFixture;

impl CompositionFixture for ListModelFixture {
    type Store = ListModel;

    fn open(&self) -> ListModel {
        ListModel::default()
    }

    fn flush(&self, store: &ListModel) {
        assert!(!store.paused.load(Ordering::SeqCst), "flush is never called while paused");
        let last = store.all().0;
        store.progress.settle(Seq::new(last));
    }

    fn large_count(&self) -> usize {
        300
    }

    fn pause(&self, store: &ListModel) -> bool {
        store.paused.store(true, Ordering::SeqCst);
        true
    }

    fn resume(&self, store: &ListModel) {
        assert!(store.paused.swap(false, Ordering::SeqCst), "resume is only called after a pause");
    }

    fn reopen(&self, store: ListModel, at: Timestamp) -> Result<ListModel, ListModel> {
        self.flush(&store);
        {
            let shapes = &mut store.all().1;
            shapes.retain(|shape| shape.state == SnapshotState::Complete);
            shapes.iter_mut().for_each(|shape| shape.last_read = shape.last_read.or(Some(at)));
        }
        Ok(store)
    }
}

mod suite {
    shape_meta_core::conformance_tests!(composition without control: super::ListModelFixture);
}

proptest! {
    #[test]
    fn c5_the_reference_equals_the_list_model(
        ops in prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..120),
    ) {
        lockstep(&ListModelFixture, &ops);
    }
}
