use std::collections::HashSet;

use shape_meta_core::{Handle, HandleSet, LeastRecentlyUsed, Result, Seq, ShapeStore, Timestamp};

use crate::{
    Buffered,
    memtable::{Generation, Slot},
};

/// The reads below with a limit, before the last one without.
const LIMITED_READS: usize = 2;
/// The smallest number of spare shapes in the second read below.
const MIN_SPARE: usize = 16;

/// The pending changes that matter to the order of last reads.
///
/// Generations are added from the newest to the oldest: what a newer one removes does not count in an older
/// one.
#[derive(Default)]
struct RecencyView {
    /// The handles of shapes that were removed.
    removed: HashSet<Handle>,
    /// The shapes that were added and read since.
    touched: Vec<(Seq, Handle, Timestamp)>,
}

/// What one generation adds to the view.
struct RecencyDiff {
    removed: Vec<Handle>,
    touched: Vec<(Seq, Handle, Timestamp)>,
}

impl RecencyDiff {
    /// Without the shapes that were read, if none of them can be in the result.
    fn of(generation: &Generation, with_touched: bool) -> Self {
        let now = Timestamp::now();
        let removed = generation.slots().iter().filter_map(Slot::removed);
        let removed = removed.map(|base| base.handle().clone()).collect();
        let added = generation.slots().iter().filter_map(Slot::added).filter(|_| with_touched);
        let touched = added.filter_map(|record| {
            let at = record.entry.last_read()?.min(now);
            Some((record.entry.created(), record.handle().clone(), at))
        });
        Self { removed, touched: touched.collect() }
    }
}

impl RecencyView {
    fn add(&mut self, diff: RecencyDiff) {
        let touched = diff.touched.into_iter().filter(|(_, handle, _)| !self.removed.contains(handle));
        self.touched.extend(touched);
        self.removed.extend(diff.removed);
    }
}

impl<S: ShapeStore + 'static> Buffered<S> {
    /// Walks pending changes only if a pending shape may have been read as early as those of the store below.
    ///
    /// Removals during the read below can leave too few of the shapes that it returned. Then the store below
    /// is read again with spare shapes, and at last without a limit (I9).
    pub(super) fn merge_least_recently_used(
        &self,
        n: usize,
        excluded: &HandleSet,
    ) -> Result<LeastRecentlyUsed> {
        if self.shared.overlay.is_empty() {
            return self.shared.store.least_recently_used(n, excluded);
        }
        let mut limit = n;
        for _ in 0..LIMITED_READS {
            let (found, missing) = self.least_recently_used_within(limit, n, excluded)?;
            if missing == 0 {
                return Ok(found);
            }
            limit = n.saturating_add(missing.saturating_mul(4).max(MIN_SPARE));
        }
        let (found, _) = self.least_recently_used_within(usize::MAX, n, excluded)?;
        Ok(found)
    }

    /// Returns the least recently used shapes among the first `limit` of the store below and the pending
    /// ones, and how many may be missing because of what happened during the read below.
    fn least_recently_used_within(
        &self,
        limit: usize,
        n: usize,
        excluded: &HandleSet,
    ) -> Result<(LeastRecentlyUsed, usize)> {
        let overlay = &self.shared.overlay;
        let drops = overlay.drops();
        let hidden = if limit == usize::MAX { HashSet::new() } else { self.removed_handles() };
        let excluded_below: HandleSet = excluded.union(&hidden).cloned().collect();
        let read_below = || self.shared.store.least_recently_used(limit, &excluded_below);
        let ((mut view, with_touched, is_reset, older), mut below) =
            self.at_one_moment(read_below, |seen, below| {
                // Asked after the read below, and valid for the state before it: no drop has reset the hints.
                let is_decided = |at| !overlay.may_be_touched_by(at) && overlay.drops() == drops;
                let is_full = below.shapes.len() >= limit;
                let is_reset = seen.is_reset();
                let with_touched = is_reset || !is_full || !below.most_recent().is_some_and(is_decided);
                let mut view = RecencyView::default();
                view.add(RecencyDiff::of(seen.active, with_touched));
                (view, with_touched, is_reset, seen.older)
            })?;
        for generation in &older {
            view.add(RecencyDiff::of(generation, with_touched));
        }
        let is_limited = below.shapes.len() >= limit && !is_reset;
        below.shapes.retain(|(handle, _)| !is_reset && !view.removed.contains(handle));
        // Those that were removed during the read, and those whose removal was rejected during it.
        let restored = hidden.iter().filter(|handle| !view.removed.contains(*handle)).count();
        let too_few = if is_limited { n.saturating_sub(below.shapes.len()) } else { 0 };
        let missing = if is_reset { 0 } else { restored.max(too_few) };
        let RecencyView { mut touched, .. } = view;
        touched.retain(|(_, handle, _)| !excluded.contains(handle));
        if !touched.is_empty() {
            // A shape that was published during the read may be in both.
            let listed: HashSet<&Handle> = below.shapes.iter().map(|(handle, _)| handle).collect();
            touched.retain(|(_, handle, _)| !listed.contains(handle));
            touched.sort_unstable_by_key(|(created, ..)| *created);
            below.shapes.extend(touched.into_iter().map(|(_, handle, at)| (handle, at)));
            // Stable: among equal times the older shape comes first, and those of the store below are older.
            below.shapes.sort_by_key(|(_, at)| *at);
        }
        below.shapes.truncate(n);
        Ok((below, missing))
    }

    /// Returns the handles of the shapes below that pending changes remove.
    fn removed_handles(&self) -> HandleSet {
        let state = self.shared.overlay.read();
        let view = state.view(&state.pin());
        let mut removed: HandleSet = RecencyDiff::of(view.active, false).removed.into_iter().collect();
        let older = view.older;
        drop(state);
        removed.extend(older.iter().flat_map(|older| RecencyDiff::of(older, false).removed));
        removed
    }
}
