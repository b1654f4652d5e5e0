//! Reads: the overlay first, then the store below (I3). [`Overlay`](crate::memtable::Overlay) argues why they
//! are right.

mod recency;
mod relations;
mod scan;

use std::sync::Arc;

use shape_meta_core::{
    Counts, Entry, Handle, HandleSet, Key, LeastRecentlyUsed, Metadata, ReadShapes, Record, Relation, Result,
    Scan, Seq, ShapeStore, SnapshotState, Timestamp,
};

use crate::{
    Buffered,
    memtable::{Generation, Lookup, ReadInParts},
};

/// What the overlay knows of a handle, copied out from under its lock.
enum Pending<T> {
    /// The whole answer: the shape is pending, or no shape has the handle.
    Answer(Option<T>),
    /// The store below has the shape with this id, and a pending mark advances its snapshot to this state.
    Marked(Seq, SnapshotState),
    /// Nothing: the store below decides.
    Nothing,
}

/// What a read lays over the store below.
struct Seen<A> {
    /// What it has read of the active generation.
    active: A,
    /// Whether a reset hides everything below.
    is_reset: bool,
    /// The other generations that no newer reset hides, the newest first. They do not change.
    older: Vec<Arc<Generation>>,
}

impl<S: ShapeStore + 'static> Buffered<S> {
    fn pending_shape<T>(
        &self,
        handle: &str,
        answer: impl FnOnce(&Arc<Record>, SnapshotState) -> T,
    ) -> Pending<T> {
        let overlay = &self.shared.overlay;
        if overlay.is_empty() {
            return Pending::Nothing;
        }
        let handle = handle.as_bytes();
        let hash = overlay.hashing.handle(handle);
        if !overlay.may_contain(hash) {
            return Pending::Nothing;
        }
        match overlay.read().handle(hash, handle) {
            Some(Lookup::Added(record, state)) => Pending::Answer(Some(answer(record, state))),
            Some(Lookup::Tombstone) => Pending::Answer(None),
            Some(Lookup::Marked(entry, state)) => Pending::Marked(entry.created(), state),
            None => Pending::Nothing,
        }
    }

    /// Reads below, and then what to lay over the result: the active generation in parts, which `active`
    /// gets. Both show the state of one moment, at which `at_that_moment` runs, under the overlay's lock.
    fn at_one_moment<A: ReadInParts, T>(
        &self,
        read_below: impl FnOnce() -> Result<T>,
        active: impl FnOnce(&T) -> A,
        at_that_moment: impl FnOnce(),
    ) -> Result<(Seen<A>, T)> {
        let overlay = &self.shared.overlay;
        let pin = overlay.read().pin();
        let below = read_below()?;
        let mut active = active(&below);
        let (is_reset, older) = overlay.read_in_parts(&pin, &mut active, |view| {
            at_that_moment();
            (view.is_reset(), view.older)
        });
        Ok((Seen { active, is_reset, older }, below))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> ReadShapes for Buffered<S> {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        match self.pending_shape(handle, |record, state| record.entry.metadata_in(state)) {
            Pending::Answer(metadata) => Ok(metadata),
            Pending::Nothing => self.shared.store.metadata(handle),
            // The last-read time is in the store below.
            Pending::Marked(created, state) => Ok(self.shared.store.metadata(handle)?.map(|below| {
                let state = if below.created == created { below.state.max(state) } else { below.state };
                Metadata { state, ..below }
            })),
        }
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.shared.holder_of(key)?.map(|holder| holder.handle))
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        match self.pending_shape(handle, |record, _| Arc::clone(&record.entry)) {
            Pending::Answer(entry) => Ok(entry),
            Pending::Marked(..) | Pending::Nothing => self.shared.store.entry(handle),
        }
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        match self.pending_shape(handle, |record, _| Arc::clone(record)) {
            Pending::Answer(record) => Ok(record),
            Pending::Marked(..) | Pending::Nothing => self.shared.store.record(handle),
        }
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        self.merge_relations(relations)
    }

    fn counts(&self) -> Result<Counts> {
        Ok(self.shared.overlay.read().counts.counts())
    }

    fn scan(&self) -> Result<Scan<'_>> {
        self.merge_scan()
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        match self.pending_shape(handle, |record, _| record.entry.touch(at)) {
            Pending::Answer(Some(true)) => {
                self.shared.overlay.record_touch(at);
                Ok(true)
            }
            Pending::Answer(_) => Ok(false),
            Pending::Marked(..) | Pending::Nothing => self.shared.store.touch(handle, at),
        }
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        self.merge_least_recently_used(n, excluded)
    }

    fn last_seq(&self) -> Result<Seq> {
        Ok(self.shared.overlay.last())
    }
}
