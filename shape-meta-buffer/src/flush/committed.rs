use std::{collections::HashSet, sync::Arc};

use shape_meta_core::{
    Batch, Change, Entry, Error, Record, Seq, SnapshotState,
    feed::{FeedChange, FeedEvent},
};

use crate::memtable::{Generation, Hashes, Hashing, Lookup, SlotMutations, State};

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

    /// Takes the rejections, each with its mutations in this generation. O(slots + mutations), without a
    /// lock.
    pub(super) fn take_rejections(&mut self, hashing: &Hashing) -> Rejections {
        let mut rejections = std::mem::take(&mut self.rejections);
        let hashes = rejections.iter().map(|rejection| match rejection.change.entry() {
            Some(entry) => {
                let handle = hashing.handle(entry.handle().as_bytes());
                Hashes { handle, key: hashing.key(entry.key()) }
            }
            None => Hashes::default(),
        });
        let hashes = hashes.collect();
        if !rejections.is_empty() {
            let slots = self.generation.slots_of_shapes();
            let mut wanted = SlotMutations::default();
            for (number, Rejection { change, .. }) in rejections.iter().enumerate() {
                let Some(entry) = change.entry() else { continue };
                let Some(at) = slots.get(&entry.created()) else { continue };
                let from = if matches!(change, Change::Add { .. }) { entry.created() } else { Seq::ZERO };
                wanted.want(*at, from, number);
            }
            self.generation
                .for_each_mutation_of(&wanted, |seq, number| rejections[number].mutations.push(seq));
        }
        Rejections { rejections, hashes, revoked: Vec::new() }
    }
}

/// The rejections of a generation, and what is looked up for them before the overlay's lock is taken.
pub(super) struct Rejections {
    pub(super) rejections: Vec<Rejection>,
    hashes: Vec<Hashes>,
    /// The revoked records, to be freed when the lock is released, each with the number of its rejection.
    revoked: Vec<(usize, Arc<Record>)>,
}

impl Rejections {
    /// Corrects the overlay when the generation is dropped: the counts, and the changes in the active
    /// generation that depend on rejected ones. Adds the mutations of these changes to the rejections.
    ///
    /// O(rejections), and a single pass over the mutations of the active generation if one of them is
    /// rejected.
    pub(super) fn reconcile(&mut self, state: &mut State, hashing: &Hashing) {
        if self.rejections.is_empty() {
            return;
        }
        let mut wanted = SlotMutations::default();
        let mut forgotten = Vec::new();
        for (number, Rejection { change, .. }) in self.rejections.iter().enumerate() {
            match change {
                Change::Add { record, .. } => {
                    state.correct_counts(&record.entry, false);
                    let known = state.forget_base(self.hashes[number].handle, &record.entry);
                    if known.was_removed {
                        forgotten.push(Arc::clone(&record.entry));
                    }
                    if let Some(at) = known.impossible {
                        wanted.want(at, Seq::ZERO, number);
                        let record = state.active.revoke(at, hashing).1;
                        self.revoked.extend(record.map(|record| (number, record)));
                    }
                }
                Change::Remove { entry } => {
                    state.correct_counts(entry, true);
                    for (at, from) in state.revoke_successors(self.hashes[number], entry, |active, at| {
                        let (lost, record) = active.revoke(at, hashing);
                        self.revoked.extend(record.map(|record| (number, record)));
                        lost
                    }) {
                        wanted.want(at, from, number);
                    }
                }
                Change::Mark { .. } | Change::Discard { .. } | Change::Reset => {}
            }
        }
        state.active.forget_removed(&forgotten);
        let rejections = &mut self.rejections;
        state.active.for_each_mutation_of(&wanted, |seq, number| rejections[number].mutations.push(seq));
        state.active.forget_fed(&self.mutations());
    }

    /// Whether nothing was rejected.
    pub(super) fn is_empty(&self) -> bool {
        self.rejections.is_empty()
    }

    /// Returns the mutations that were rejected. Known once it is reconciled.
    pub(super) fn mutations(&self) -> HashSet<Seq> {
        self.rejections.iter().flat_map(|rejection| &rejection.mutations).copied().collect()
    }

    /// Returns the state below of each shape whose removal or mark was rejected, with `state_of`. For the
    /// [corrections](Self::corrections), before the overlay's lock is taken.
    pub(super) fn states_below<E>(
        &self,
        state_of: impl Fn(&Entry) -> Result<Option<SnapshotState>, E>,
    ) -> Result<Vec<Option<SnapshotState>>, E> {
        let state = |rejection: &Rejection| match &rejection.change {
            Change::Remove { entry } | Change::Mark { entry, .. } => state_of(entry),
            Change::Add { .. } | Change::Discard { .. } | Change::Reset => Ok(None),
        };
        self.rejections.iter().map(state).collect()
    }

    /// Returns the corrections for feeds that have reached `seq`: what each shape is of which a change was
    /// rejected or revoked. That is its state `below`, with the changes of the active generation for those
    /// that have shown them.
    pub(super) fn corrections(
        &self,
        seq: Seq,
        below: &[Option<SnapshotState>],
        active: Option<&Generation>,
    ) -> Vec<FeedChange> {
        let below = self.rejections.iter().zip(&self.hashes).zip(below);
        let rejected = below.filter_map(|((Rejection { change, error, .. }, hashes), below)| {
            let entry = change.entry()?;
            let found = active.and_then(|active| active.handle(hashes.handle, entry.handle().as_bytes()));
            let state = match found {
                None => *below,
                Some(Lookup::Marked(marked, state)) if marked.created() == entry.created() => {
                    below.map(|below| below.max(state))
                }
                Some(Lookup::Marked(..) | Lookup::Added(..) | Lookup::Tombstone) => None,
            };
            Some((entry, state, error))
        });
        let revoked = self.revoked.iter();
        let revoked = revoked.map(|(number, record)| (&record.entry, None, &self.rejections[*number].error));
        let mut corrected: Vec<_> = rejected.chain(revoked).collect();
        // A shape that is live again takes its handle and its key from one that is gone.
        corrected.sort_by_key(|(_, state, _)| state.is_some());
        let correction = |(entry, state, error): (&Arc<Entry>, _, &Error)| {
            let (entry, error) = (Arc::clone(entry), error.clone());
            FeedChange::new(seq, FeedEvent::Rejected { entry, state, error })
        };
        corrected.into_iter().map(correction).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use shape_meta_core::{
        Counts, ErrorKind, SnapshotState,
        conformance::{relations, shape},
    };

    use super::*;
    use crate::{
        BufferOptions,
        memtable::{Overlay, SlotState},
    };

    const SHAPES: u64 = 20_000;
    const REJECTED: u64 = 4_000;

    /// Once, each rejection walked all slots, mutations and keys under the lock: 72 ms of `counts()` on a
    /// quiet machine, and several seconds in this test.
    #[test]
    fn c14_thousands_of_rejections_hold_the_lock_shortly() {
        let options = BufferOptions::default();
        let overlay = Overlay::new(Counts::default(), Seq::ZERO, &options, Arc::default());
        let hashing = &overlay.hashing;
        let records: Vec<_> = (1..=SHAPES)
            .map(|number| {
                let new = shape_meta_core::NewShape { relations: relations(&[1]), ..shape(number) };
                Arc::new(new.record(Seq::new(number)))
            })
            .collect();
        let hashes = |record: &Record| Hashes {
            handle: hashing.handle(record.handle().as_bytes()),
            key: hashing.key(record.key()),
        };
        let (mut sealed, mut batches) = (Generation::default(), Vec::new());
        for record in &records {
            let add = Change::Add { record: Arc::clone(record), state: SnapshotState::Pending };
            sealed.insert(add, hashes(record), record.entry.created());
        }
        batches.push(Batch { changes: Vec::new(), through: sealed.last() });
        let mut state = overlay.write();
        // Each shape is removed in the meantime, every second one after a mark.
        let mut seq = sealed.last();
        for record in &records {
            let entry = &record.entry;
            if entry.created().get() % 2 == 0 {
                seq = seq.next();
                let mark = Change::Mark { entry: Arc::clone(entry), state: SnapshotState::Started };
                state.active.insert(mark, hashes(record), seq);
            }
            if entry.created().get() % 4 != 0 {
                seq = seq.next();
                state.active.insert(Change::Remove { entry: Arc::clone(entry) }, hashes(record), seq);
            }
        }
        let rejection = |record: &Arc<Record>| {
            let add = Change::Add { record: Arc::clone(record), state: SnapshotState::Pending };
            Rejection::new(add, Error::new(ErrorKind::Rejected, "injected by a test"))
        };
        let rejected = records.iter().step_by((SHAPES / REJECTED) as usize);
        let mut committed = Committed {
            generation: Arc::new(sealed),
            batches,
            rejections: rejected.clone().map(rejection).collect(),
        };
        let mut rejections = committed.take_rejections(hashing);
        let started_at = Instant::now();
        rejections.reconcile(&mut state, hashing);
        assert!(started_at.elapsed() < Duration::from_secs(1), "{:?}", started_at.elapsed());

        for (Rejection { mutations, .. }, record) in rejections.rejections.iter().zip(rejected) {
            let created = record.entry.created();
            // The removal of a shape that was not marked has nothing to remove any more.
            let is_marked = created.get() % 4 == 0;
            assert_eq!((mutations[0], mutations.len()), (created, 1 + usize::from(is_marked)));
            let hash = hashes(record).handle;
            assert!(
                state
                    .active
                    .handle(hash, record.handle().as_bytes())
                    .is_none_or(|found| { matches!(found, Lookup::Tombstone) })
            );
        }
        let removed = state.active.relation(shape_meta_core::Relation::new(1)).expect("removals").walked();
        let all_removed =
            state.active.slots().iter().filter(|slot| matches!(slot.state, SlotState::Tombstone));
        assert_eq!(removed, all_removed.filter(|slot| slot.base.is_some()).count());
    }
}
