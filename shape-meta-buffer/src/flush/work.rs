use std::sync::Arc;

use shape_meta_core::{Batch, Change, Error, Seq};

use crate::{memtable::Generation, memtable::Hashing, memtable::State};

/// What is left to do of one flush: usually one segment, with all changes of the sealed generation.
///
/// A store that refuses one change for good (C8) mostly says which; then that one is taken out and the
/// rest is tried again, still as one transaction (I1). If it does not say, the segment is halved until
/// the change is found. Only then do several transactions make up one flush, and a crash between them
/// leaves a part of it.
pub(crate) struct Work {
    pub(crate) generation: Arc<Generation>,
    /// The next one last.
    segments: Vec<Vec<Change>>,
    /// Where the order shall stand after the next segment, while others follow.
    ///
    /// There are never more segments than mutations, since each change comes from at least one; so this
    /// stays below the end of the generation.
    next: Seq,
    done: Vec<Batch>,
    rejected: Vec<Rejection>,
}

/// A flush that is committed and not published yet.
pub(crate) struct Committed {
    pub(crate) generation: Arc<Generation>,
    pub(crate) batches: Vec<Batch>,
    rejected: Vec<Rejection>,
}

/// A change that the store refused for good.
pub(crate) struct Rejection {
    pub(crate) change: Change,
    pub(crate) error: Error,
    /// The mutations that came to nothing with it. Known once it is [settled](Committed::settle_rejected).
    pub(crate) mutations: Vec<Seq>,
}

impl Rejection {
    fn new(change: Change, error: Error) -> Self {
        Self { change, error, mutations: Vec::new() }
    }
}

impl Work {
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        let (segments, next) = (vec![generation.changes()], generation.first());
        Self { generation, segments, next, done: Vec::new(), rejected: Vec::new() }
    }

    /// The next segment, and where the order stands after it. The last one may be empty: mutations that
    /// came to nothing cost the disk no row, but their places in the order must not be given again.
    pub(crate) fn next(&mut self) -> Option<(Vec<Change>, Seq)> {
        loop {
            let segment = self.segments.pop()?;
            if self.segments.is_empty() {
                return Some((segment, self.generation.last()));
            }
            if !segment.is_empty() {
                return Some((segment, self.next));
            }
        }
    }

    /// A segment that was committed.
    pub(crate) fn done(&mut self, batch: Batch) -> &Batch {
        self.next = batch.through.next();
        self.done.push_mut(batch)
    }

    /// All of it is committed, or rejected.
    pub(crate) fn into_committed(self) -> Committed {
        Committed { generation: self.generation, batches: self.done, rejected: self.rejected }
    }

    /// A segment that was not applied, to be tried again as it is.
    pub(crate) fn put_back(&mut self, segment: Vec<Change>) {
        self.segments.push(segment);
    }

    /// Takes the change that was refused out of a segment, or comes closer to it. Gives the error back if
    /// nothing can be taken out: a reset that is refused leaves nothing to go on with.
    pub(crate) fn isolate(&mut self, mut segment: Vec<Change>, error: Error) -> Result<(), Error> {
        let named = error.rejected_seq().and_then(|rejected_seq| {
            let is = |change: &Change| change.entry().is_some_and(|entry| entry.created() == rejected_seq);
            segment.iter().position(is)
        });
        match named {
            None if segment.len() > 1 => {
                let second = segment.split_off(segment.len() / 2);
                self.segments.push(second);
                self.segments.push(segment);
            }
            named => {
                let change = segment.remove(named.unwrap_or(0));
                self.segments.push(segment);
                if matches!(change, Change::Reset) {
                    return Err(error);
                }
                if let Change::Remove { entry } = &change {
                    self.reject_successors(entry.handle().as_bytes(), entry.key(), &error);
                }
                self.rejected.push(Rejection::new(change, error));
            }
        }
        Ok(())
    }

    /// A shape that stays keeps its handle and its key: whatever was to take them over cannot come.
    /// Removals come before adds, so none of those was applied yet.
    fn reject_successors(&mut self, handle: &[u8], key: &shape_meta_core::Key, error: &Error) {
        for segment in &mut self.segments {
            let successors = segment.extract_if(.., |change| match change {
                Change::Add { record, .. } => record.handle().as_bytes() == handle || record.key() == key,
                _ => false,
            });
            self.rejected.extend(successors.map(|change| Rejection::new(change, error.clone())));
        }
    }
}

impl Committed {
    pub(crate) fn changes(&self) -> usize {
        self.batches.iter().map(|batch| batch.changes.len()).sum()
    }

    /// Whether all of it was written. If not, nothing else is committed before that is put right.
    pub(crate) fn is_whole(&self) -> bool {
        self.rejected.is_empty()
    }

    /// What has to be put right in the overlay when the generation is dropped. Returns what was rejected,
    /// with the mutations that came to nothing.
    pub(crate) fn settle_rejected(&mut self, state: &mut State, hashing: &Hashing) -> Vec<Rejection> {
        let mut rejections = std::mem::take(&mut self.rejected);
        for Rejection { change, mutations, .. } in &mut rejections {
            let Some(entry) = change.entry() else { continue };
            if let Some(at) = self.generation.slot_about(entry.created()) {
                let from = match &*change {
                    Change::Add { .. } => entry.created(),
                    _ => Seq::ZERO,
                };
                mutations.extend(self.generation.mutations_of(at, from));
            }
            match &*change {
                Change::Add { record, .. } => {
                    state.correct_for(&record.entry, false);
                    // What was accepted since, on the assumption that the shape exists.
                    let hash = hashing.handle(entry.handle().as_bytes());
                    if let Some(at) = state.active_without_base(hash, entry) {
                        mutations.extend(state.active.mutations_of(at, Seq::ZERO));
                        state.active.take_back(at);
                    }
                }
                Change::Remove { entry } => {
                    state.correct_for(entry, true);
                    mutations.extend(state.take_successors_out(entry, hashing));
                }
                Change::Mark { .. } | Change::Reset => {}
            }
        }
        rejections
    }
}
