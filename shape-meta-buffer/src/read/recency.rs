use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use shape_meta_core::{Entry, Handle, HandleSet, LeastRecentlyUsed, Result, Seq, ShapeStore, Timestamp};

use super::Seen;
use crate::{
    Buffered,
    memtable::{Generation, PART, ReadInParts, Slot},
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
        Self { removed, touched: added.filter_map(|record| touched(&record.entry, now)).collect() }
    }
}

fn touched(entry: &Entry, now: Timestamp) -> Option<(Seq, Handle, Timestamp)> {
    Some((entry.created(), entry.handle().clone(), entry.last_read()?.min(now)))
}

/// What the active generation adds to the view.
#[derive(Default)]
struct ActiveRecency {
    with_touched: bool,
    /// The number of slots that were read.
    slots: usize,
    /// The handles of the removed shapes, by slot.
    removed: HashMap<u32, Handle, RandomState>,
    /// The shapes that were added, by slot. Their last reads are read last, all at the same moment.
    added: Vec<Option<Arc<Entry>>>,
}

impl ActiveRecency {
    fn read_slot(&mut self, at: usize, slot: &Slot) {
        match slot.removed() {
            Some(base) => drop(self.removed.insert(at as u32, base.handle().clone())),
            None => drop(self.removed.remove(&(at as u32))),
        }
        if self.with_touched {
            if self.added.len() <= at {
                self.added.resize(at + 1, None);
            }
            self.added[at] = slot.added().map(|record| Arc::clone(&record.entry));
        }
    }
}

impl ReadInParts for ActiveRecency {
    fn clear(&mut self) {
        *self = Self { with_touched: self.with_touched, ..Self::default() };
    }

    fn read(&mut self, active: &Generation) -> bool {
        let before = self.slots;
        for (at, slot) in (before..).zip(active.slots().from(before).take(PART)) {
            self.read_slot(at, slot);
            self.slots += 1;
        }
        self.slots > before
    }

    fn read_again(&mut self, active: &Generation, slot: u32) {
        if let Some(changed) = active.slots().get(slot as usize) {
            self.read_slot(slot as usize, changed);
        }
    }
}

impl From<ActiveRecency> for RecencyDiff {
    fn from(active: ActiveRecency) -> Self {
        let now = Timestamp::now();
        Self {
            removed: active.removed.into_values().collect(),
            touched: active.added.iter().flatten().filter_map(|entry| touched(entry, now)).collect(),
        }
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
        let read_below = || {
            if hidden.len() > excluded.len() {
                let both: HandleSet = excluded.union(&hidden).cloned().collect();
                return self.shared.store.least_recently_used(limit, &both);
            }
            // Spare shapes cost less than a copy of a large set.
            let spare = limit.saturating_add(hidden.len());
            let mut below = self.shared.store.least_recently_used(spare, excluded)?;
            below.shapes.retain(|(handle, _)| !hidden.contains(handle));
            below.shapes.truncate(limit);
            Ok(below)
        };
        // Asked after the read below, and valid for the state before it: no drop has reset the hints. Asked
        // again at the moment of the view, because a shape may have been touched since.
        let is_decided = |at| !overlay.may_be_touched_by(at) && overlay.drops() == drops;
        let (with_touched, most_recent) = (Cell::new(true), Cell::new(None));
        let active = |below: &LeastRecentlyUsed| {
            most_recent.set(below.most_recent().filter(|_| below.shapes.len() >= limit));
            with_touched.set(!most_recent.get().is_some_and(is_decided) || overlay.read().has_reset());
            ActiveRecency { with_touched: with_touched.get(), ..ActiveRecency::default() }
        };
        let is_outdated = Cell::new(false);
        let at_that_moment = || is_outdated.set(!most_recent.get().is_some_and(is_decided));
        let (seen, mut below) = self.at_one_moment(read_below, active, at_that_moment)?;
        let Seen { active, is_reset, older } = seen;
        let with_touched = with_touched.get();
        if !with_touched && (is_reset || is_outdated.get()) {
            // Not after the last read below, which has no limit: nothing is decided by it.
            return Ok((below, n));
        }
        let mut view = RecencyView::default();
        view.add(active.into());
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
        let overlay = &self.shared.overlay;
        let pin = overlay.read().pin();
        let mut active = ActiveRecency::default();
        let older = overlay.read_in_parts(&pin, &mut active, |view| view.older);
        let mut removed: HandleSet = RecencyDiff::from(active).removed.into_iter().collect();
        removed.extend(older.iter().flat_map(|older| RecencyDiff::of(older, false).removed));
        removed
    }
}
