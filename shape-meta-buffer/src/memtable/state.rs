use std::{sync::Arc, time::Instant};

use shape_meta_core::{Counts, Entry, Key, Record, Retired, RetiredSince, Seq, SnapshotState};

use super::{CountDelta, ForgottenBase, Generation, Hashes, Kept, Lookup, kept::KeptBytes};
use crate::write_state::WriteState;

/// The state that the overlay's lock guards.
pub(crate) struct State {
    /// The generation that takes mutations.
    pub(crate) active: Generation,
    /// The generation that is being committed, or whose commit failed.
    pub(crate) sealed: Option<Sealed>,
    /// The generation that is committed, and is being published.
    pub(crate) committed: Option<Sealed>,
    /// The number of handles with a slot in both the active and the sealed generation. They count once.
    pub(crate) shared_handles: usize,
    /// The generations that were dropped, for reads that began before.
    pub(super) dropped: Retired<Kept>,
    pub(super) kept_bytes: Arc<KeptBytes>,
    /// How often the store below was rebuilt: what was read of it before is outdated, and no pin has it.
    pub(crate) rebuilds: u64,
    /// The number of live shapes, including all pending changes.
    pub(crate) counts: CountDelta,
    /// The number of live shapes on disk.
    pub(super) disk_counts: CountDelta,
    /// The largest sequence number that was given to a mutation.
    pub(crate) last: Seq,
    pub(crate) writing: WriteState,
    /// The index of the active generation's hints.
    pub(super) hints: usize,
}

/// A generation that takes no more mutations.
pub(crate) struct Sealed {
    pub(super) generation: Arc<Generation>,
    /// The number of live shapes at the moment of sealing.
    pub(super) counts: CountDelta,
    pub(super) hints: usize,
}

impl State {
    /// Looks up a handle. A mark on a shape that an older generation added is returned as that shape, in the
    /// marked state.
    pub(crate) fn handle(&self, hash: u64, handle: &[u8]) -> Option<Lookup<'_>> {
        handle_in(self.all(), hash, handle)
    }

    /// Looks up a handle in the generations of a view.
    pub(crate) fn handle_since<'a>(
        &'a self,
        dropped: &'a DroppedSince,
        hash: u64,
        handle: &[u8],
    ) -> Option<Lookup<'a>> {
        handle_in(self.all().chain(newest_first(dropped)), hash, handle)
    }

    /// Looks up the pending shape that has a key; `Some(None)` if the key is free.
    pub(crate) fn key(&self, hash: u64, key: &Key) -> Option<Option<&Arc<Record>>> {
        self.all().find_map(|generation| generation.key(hash, key))
    }

    /// Looks up the shape that has a key in the generations of a view.
    pub(crate) fn key_since<'a>(
        &'a self,
        dropped: &'a DroppedSince,
        hash: u64,
        key: &Key,
    ) -> Option<Option<&'a Arc<Record>>> {
        self.all().chain(newest_first(dropped)).find_map(|generation| generation.key(hash, key))
    }

    /// Returns all generations, with those that were dropped since the pin.
    pub(crate) fn all_since<'a>(&'a self, dropped: &'a DroppedSince) -> impl Iterator<Item = &'a Generation> {
        self.all().chain(newest_first(dropped))
    }

    /// Returns the list of the generations that are dropped from now on: a read of the store below that
    /// begins now shows everything that was dropped before.
    pub(crate) fn pin(&self) -> DroppedSince {
        self.dropped.pin()
    }

    /// Returns the generations that a reader lays over what it read below since the pin, the newest first.
    /// Only the active one still changes, so it has to be read under the lock; the rest need not.
    pub(crate) fn view(&self, dropped: &DroppedSince) -> View<'_> {
        let mut is_hidden = self.active.is_reset();
        let older = self.older().cloned().chain(newest_first_shared(dropped));
        let older = older.take_while(|older| !std::mem::replace(&mut is_hidden, older.is_reset())).collect();
        View { active: &self.active, older }
    }

    /// Returns the generations that take no more mutations, the newest first.
    fn older(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.sealed.iter().chain(&self.committed).map(|sealed| &sealed.generation)
    }

    /// Whether a reset hides everything below.
    pub(crate) fn has_reset(&self) -> bool {
        self.all().any(Generation::is_reset)
    }

    /// Whether a flush is in progress, or has failed and is to be resumed.
    pub(crate) fn is_flushing(&self) -> bool {
        self.older().next().is_some()
    }

    /// Whether nothing is pending, and nothing is committed but not dropped yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().all(Generation::is_empty)
    }

    /// Returns all generations, the newest first.
    fn all(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(self.older().map(|generation| &**generation))
    }

    /// Returns the generations that are not committed, the newest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Generation> {
        let sealed = self.sealed.as_ref().map(|sealed| &*sealed.generation);
        std::iter::once(&self.active).chain(sealed)
    }

    /// Returns the number of shapes with pending changes, which backpressure bounds (C7).
    pub(crate) fn pending_shapes(&self) -> usize {
        self.pending().map(Generation::len).sum::<usize>() - self.shared_handles
    }

    /// Whether this handle has a slot in the sealed generation.
    pub(crate) fn is_sealed(&self, hash: u64, handle: &[u8]) -> bool {
        self.sealed.as_ref().is_some_and(|sealed| sealed.generation.knows(hash, handle))
    }

    /// Whether a change of this handle is pending. If so, a further mark or removal needs no capacity.
    pub(crate) fn is_pending(&self, hash: u64, handle: &[u8]) -> bool {
        self.active.knows(hash, handle) || self.is_sealed(hash, handle)
    }

    /// Returns the memory of pending changes in bytes, which backpressure bounds (C7).
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending().map(Generation::bytes).sum()
    }

    /// Returns the memory of dropped generations that reads still need, in bytes. The bound counts it, too.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes.get()
    }

    /// Returns when the oldest pending change was accepted.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.pending().filter_map(Generation::since).min()
    }

    /// Returns the number of live shapes minus that on disk.
    pub(crate) fn net(&self) -> i64 {
        self.counts.total - self.disk_counts.total
    }

    /// Corrects the counts after a change of the committed generation was rejected: the shape still `exists`
    /// if its removal was rejected, and does not if its add was.
    pub(crate) fn correct_counts(&mut self, entry: &Entry, exists: bool) {
        let mut by = CountDelta::default();
        if exists {
            by.add(entry)
        } else {
            by.remove(entry)
        }
        self.disk_counts += by;
        if !self.active.is_reset() {
            self.counts += by;
        }
    }

    /// Forgets a rejected shape as a base of the active generation.
    pub(crate) fn forget_base(&mut self, hash: u64, entry: &Entry) -> ForgottenBase {
        let forgotten = self.active.forget_base(hash, entry);
        if forgotten.was_removed {
            self.counts.add(entry);
        }
        forgotten
    }

    /// Revokes the changes of the active generation that reuse the handle or the key of a shape whose removal
    /// was rejected, with `revoke`. Returns their slots, each with the first mutation that is rejected.
    pub(crate) fn revoke_successors(
        &mut self,
        hashes: Hashes,
        entry: &Entry,
        mut revoke: impl FnMut(&mut Generation, u32) -> CountDelta,
    ) -> Vec<(u32, Seq)> {
        if self.active.is_reset() {
            // The reset removes the shape anyway, so later changes reuse its handle and key rightly.
            return Vec::new();
        }
        let successors = self.active.successors(hashes, entry);
        for (at, _) in &successors {
            let lost = revoke(&mut self.active, *at);
            self.counts = self.counts - lost;
        }
        self.active.forget_freed(hashes, entry);
        successors
    }

    /// Sets the counts to those of the store below, when nothing is pending.
    pub(crate) fn reset_counts(&mut self, below: Counts) {
        let below = CountDelta::from(below);
        (self.counts, self.disk_counts) = (below, below);
    }
}

/// The generations that were dropped since a reader pinned the overlay.
pub(crate) type DroppedSince = RetiredSince<Kept>;

/// What a reader lays over the store below: the changes that no newer reset hides.
pub(crate) struct View<'a> {
    pub(crate) active: &'a Generation,
    /// The older generations, which do not change, the newest first.
    pub(crate) older: Vec<Arc<Generation>>,
}

impl View<'_> {
    /// Whether a reset hides everything below.
    pub(crate) fn is_reset(&self) -> bool {
        self.active.is_reset() || self.older.last().is_some_and(|oldest| oldest.is_reset())
    }
}

fn newest_first(dropped: &DroppedSince) -> impl Iterator<Item = &Generation> {
    let oldest_first: Vec<_> = dropped.iter().map(|kept| &***kept).collect();
    oldest_first.into_iter().rev()
}

fn newest_first_shared(dropped: &DroppedSince) -> impl Iterator<Item = Arc<Generation>> {
    let oldest_first: Vec<_> = dropped.iter().map(|kept| Arc::clone(kept)).collect();
    oldest_first.into_iter().rev()
}

/// Looks up a handle in generations, the newest first.
fn handle_in<'a>(
    generations: impl Iterator<Item = &'a Generation>,
    hash: u64,
    handle: &[u8],
) -> Option<Lookup<'a>> {
    let mut marked: Option<(&Arc<Entry>, SnapshotState)> = None;
    for generation in generations {
        match (generation.handle(hash, handle), marked) {
            (None, _) => {}
            (Some(Lookup::Marked(entry, state)), newer) => {
                marked = Some(newer.map_or((entry, state), |(entry, newer)| (entry, newer.max(state))));
            }
            (Some(Lookup::Added(record, state)), Some((_, newer))) => {
                return Some(Lookup::Added(record, newer.max(state)));
            }
            // A mark is only accepted on a live shape.
            (Some(Lookup::Tombstone), Some(_)) => break,
            (found, None) => return found,
        }
    }
    marked.map(|(entry, state)| Lookup::Marked(entry, state))
}
