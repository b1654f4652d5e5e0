use std::{collections::HashSet, sync::Arc};

use shape_meta_core::{Handle, HandleSet, LeastRecentlyUsed, Result, ShapeStore, Timestamp};

use crate::{
    Buffered,
    memtable::{Generation, Lookup, Slot, State},
};

impl<S: ShapeStore + 'static> Buffered<S> {
    /// Walks pending changes only if a pending shape may have been read as early as those of the store below.
    pub(super) fn merge_least_recently_used(
        &self,
        n: usize,
        excluded: &HandleSet,
    ) -> Result<LeastRecentlyUsed> {
        let overlay = &self.shared.overlay;
        if overlay.is_empty() {
            return self.shared.store.least_recently_used(n, excluded);
        }
        let (_, below) = self.least_recently_used_below(n, excluded, |_| ())?;
        let is_decided = |at| !overlay.may_be_touched_by(at);
        if below.shapes.len() >= n && below.most_recent().is_some_and(is_decided) {
            return Ok(below);
        }
        let (pending, mut below) =
            self.least_recently_used_below(n, excluded, |state| self.touched(state, excluded))?;
        let handles: HashSet<&Handle> = pending.iter().map(|(handle, _)| handle).collect();
        below.shapes.retain(|(handle, _)| !handles.contains(handle));
        drop(handles);
        below.shapes.extend(pending);
        // Stable: among equal times the older shape comes first, and those of the store below are older.
        below.shapes.sort_by_key(|(_, at)| *at);
        below.shapes.truncate(n);
        Ok(below)
    }

    /// Returns the least recently used shapes of the store below that no pending change removes, and the
    /// `view` of the overlay at the same moment.
    fn least_recently_used_below<V>(
        &self,
        n: usize,
        excluded: &HandleSet,
        view: impl Fn(&State) -> V,
    ) -> Result<(V, LeastRecentlyUsed)> {
        let hidden_and_view = |state: &State| {
            let slots = state.visible().flat_map(Generation::slots);
            let mut hidden = excluded.clone();
            hidden.extend(slots.filter_map(Slot::removed).map(|entry| entry.handle().clone()));
            (hidden, state.is_reset(), view(state))
        };
        let read_below = |(hidden, reset, _): &(HandleSet, bool, _)| match reset {
            true => Ok(LeastRecentlyUsed::default()),
            false => self.shared.store.least_recently_used(n, hidden),
        };
        let ((_, _, seen), below) = self.at_one_moment(hidden_and_view, read_below)?;
        Ok((seen, below))
    }

    /// Returns the pending shapes that were read, with the time of the last read, in the order of creation.
    fn touched(&self, state: &State, excluded: &HandleSet) -> Vec<(Handle, Timestamp)> {
        let added = state.visible().flat_map(Generation::slots).filter_map(Slot::added);
        let mut touched: Vec<_> = added
            .filter(|record| !excluded.contains(record.handle()))
            .filter_map(|record| Some((record, record.entry.last_read()?)))
            // A newer generation may have removed what an older one adds.
            .filter(|(record, _)| {
                let handle = record.handle().as_bytes();
                let found = state.handle(self.shared.overlay.hashing.handle(handle), handle);
                matches!(found, Some(Lookup::Added(known, _)) if Arc::ptr_eq(known, record))
            })
            .collect();
        touched.sort_by_key(|(record, _)| record.entry.created());
        touched.into_iter().map(|(record, at)| (record.handle().clone(), at)).collect()
    }
}
