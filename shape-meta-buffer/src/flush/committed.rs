use std::sync::Arc;

use shape_meta_core::{Batch, Change, Error, Seq};

use crate::memtable::{Generation, Hashing, State};

/// A generation that is committed and not published yet.
pub(crate) struct Committed {
    pub(super) generation: Arc<Generation>,
    pub(super) batches: Vec<Batch>,
    pub(super) rejections: Vec<Rejection>,
}

/// A change that the store below rejected for good (C8).
pub(crate) struct Rejection {
    pub(super) change: Change,
    pub(super) error: Error,
    /// The mutations that are rejected with it. Known once it is [reconciled](Committed::reconcile).
    pub(super) mutations: Vec<Seq>,
}

impl Rejection {
    pub(super) fn new(change: Change, error: Error) -> Self {
        Self { change, error, mutations: Vec::new() }
    }
}

impl Committed {
    /// Returns the number of changes that were committed.
    pub(super) fn changes(&self) -> usize {
        self.batches.iter().map(|batch| batch.changes.len()).sum()
    }

    /// Whether no change was rejected. If one was, it is reconciled before the next generation is committed.
    pub(super) fn is_whole(&self) -> bool {
        self.rejections.is_empty()
    }

    /// Returns what readers that began before the drop keep of the generation: what was committed.
    pub(super) fn kept(&self, hashing: &Hashing) -> Arc<Generation> {
        match self.is_whole() {
            true => Arc::clone(&self.generation),
            false => Arc::new(Generation::of_committed(self.batches.iter(), hashing)),
        }
    }

    /// Corrects the overlay for the rejected changes when the generation is dropped: the counts, and the
    /// changes in the active generation that depend on them. Returns the rejections, each with all mutations
    /// that are rejected with it.
    pub(super) fn reconcile(&mut self, state: &mut State, hashing: &Hashing) -> Vec<Rejection> {
        let mut rejections = std::mem::take(&mut self.rejections);
        for Rejection { change, mutations, .. } in &mut rejections {
            let Some(entry) = change.entry() else { continue };
            if let Some(at) = self.generation.slot_of_shape(entry.created()) {
                let from = match &*change {
                    Change::Add { .. } => entry.created(),
                    _ => Seq::ZERO,
                };
                mutations.extend(self.generation.mutations_of(at, from));
            }
            match &*change {
                Change::Add { record, .. } => {
                    state.correct_counts(&record.entry, false);
                    let hash = hashing.handle(entry.handle().as_bytes());
                    if let Some(at) = state.forget_base(hash, entry) {
                        mutations.extend(state.active.mutations_of(at, Seq::ZERO));
                        state.active.revoke(at);
                    }
                }
                Change::Remove { entry } => {
                    state.correct_counts(entry, true);
                    mutations.extend(state.revoke_successors(entry, hashing));
                }
                Change::Mark { .. } | Change::Discard { .. } | Change::Reset => {}
            }
        }
        rejections
    }
}
