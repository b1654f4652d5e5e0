//! Removals in bulk: selected in the store below and in the overlay, and accepted in one step.

use std::{sync::Arc, time::Instant};

use shape_meta_core::{Change, Entry, MutateError, Removal, Result, Selection, ShapeStore};

use crate::{
    backpressure::Needs,
    memtable::{DroppedSince, Hashes, Lookup, State},
    mutate::{Accepted, Inserted, rebuilt_meanwhile},
    shared::Shared,
};

impl<S: ShapeStore> Shared<S> {
    /// Removes the shapes of this selection under one lock, so that readers see all of it or nothing (C1).
    ///
    /// The store below is read before the lock is taken (I5), with the overlay pinned: the overlay then has
    /// an answer for all that was dropped since, and decides which shapes are live, whatever is flushed
    /// meanwhile (I9). Only a whole repair of the store below in between makes it fail: `Busy`.
    ///
    /// O(shapes) under the lock, and with dependants O(pending shapes that have dependencies).
    pub(crate) fn accept_all(
        &self,
        removal: &Removal,
        started_at: Option<Instant>,
    ) -> Result<Accepted, MutateError> {
        let (pin, rebuilds) = {
            let state = self.overlay.read();
            (state.pin(), state.rebuilds)
        };
        let mut selection = removal.select(&self.store)?;
        let mut state = self.overlay.write();
        if let Some(error) = state.writing.refusal() {
            return Err(error.into());
        }
        if state.rebuilds != rebuilds {
            return Err(rebuilt_meanwhile().into());
        }
        self.select_pending(removal, &state, &pin, &mut selection);
        let removed = selection.into_shapes(|entry| self.live_entry(&state, &pin, entry));
        if removed.is_empty() {
            return Ok(Accepted::Nothing(state.last));
        }
        let is_pending = |entry: &Arc<Entry>| {
            let handle = entry.handle().as_bytes();
            state.is_pending(self.overlay.hashing.handle(handle), handle)
        };
        let needs = if removed.iter().all(is_pending) { Needs::Nothing } else { Needs::Shape(0) };
        if let Err(refusal) = self.backpressure.check(&state, needs) {
            let last = state.last;
            drop(state);
            self.requests.need(last);
            return Err(refusal.into());
        }
        let first = state.last.next();
        let mut inserted = Inserted::default();
        for entry in &removed {
            let seq = state.last.next();
            let hash = self.overlay.hashing.handle(entry.handle().as_bytes());
            let change = Change::Remove { entry: Arc::clone(entry) };
            let hashes = self.announce(&state, &change, Hashes { handle: hash, key: 0 });
            self.insert_and_emit(&mut state, change, hashes, seq, &mut inserted);
            if let Some(started_at) = started_at {
                state.active.record_latency(started_at.elapsed());
            }
        }
        let last = state.last;
        drop(state);
        self.finish(inserted);
        removed.iter().for_each(|entry| self.waits.removed(entry.handle()));
        Ok(Accepted::All(first, last))
    }

    /// Adds what the overlay has, with what was dropped from it since the pin.
    fn select_pending(
        &self,
        removal: &Removal,
        state: &State,
        pin: &DroppedSince,
        selection: &mut Selection,
    ) {
        for handle in removal.handles() {
            let handle = handle.as_bytes();
            let found = state.handle_since(pin, self.overlay.hashing.handle(handle), handle);
            if let Some(Lookup::Added(record, _)) = found {
                selection.add_root(Arc::clone(&record.entry));
            }
        }
        for generation in state.all_since(pin) {
            for relation in removal.relations() {
                let added = generation.relation(*relation).map_or(&[][..], |changes| &changes.added);
                let added = added.iter().filter_map(|(at, created)| generation.added(*at, *created));
                added.for_each(|entry| selection.add_root(Arc::clone(entry)));
            }
            if removal.has_dependants() {
                generation.dependants().for_each(|record| selection.add_dependant(record));
            }
        }
    }

    /// Returns the entry of this very shape, if it is live.
    fn live_entry(&self, state: &State, pin: &DroppedSince, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
        let handle = entry.handle().as_bytes();
        let live = match state.handle_since(pin, self.overlay.hashing.handle(handle), handle) {
            Some(Lookup::Added(record, _)) => &record.entry,
            Some(Lookup::Marked(base, _)) => base,
            Some(Lookup::Tombstone) => return None,
            None => entry,
        };
        (live.created() == entry.created()).then(|| Arc::clone(live))
    }
}
