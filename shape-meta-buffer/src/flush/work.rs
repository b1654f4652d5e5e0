use std::sync::Arc;

use shape_meta_core::{Batch, Change, Error, Key, Seq};

use super::committed::{Committed, Rejection};
use crate::memtable::Generation;

/// The changes of one generation that are still to be committed: usually one segment with all of them.
///
/// A store that rejects one change for good (C8) usually names it. The flusher then takes that change out and
/// retries the rest, still as one transaction (I1). If the store does not name it, the flusher halves the
/// segment until it finds the change. Only then does a flush take several transactions, and a crash between
/// them leaves a part of the flush on disk.
pub(super) struct FlushWork {
    pub(super) generation: Arc<Generation>,
    /// In reverse order: the last element is committed next.
    segments: Vec<Vec<Change>>,
    /// The lowest sequence number that the next segment may bring the store to. See
    /// [`through`](Self::through).
    next: Seq,
    batches: Vec<Batch>,
    rejections: Vec<Rejection>,
}

impl FlushWork {
    pub(super) fn new(generation: Arc<Generation>) -> Self {
        let (segments, next) = (vec![generation.changes()], generation.first());
        Self { generation, segments, next, batches: Vec::new(), rejections: Vec::new() }
    }

    /// Returns the next segment, and the sequence number that it brings the store to.
    ///
    /// The last segment may be empty. Mutations without a change cost no row, but their sequence numbers must
    /// not be given again.
    pub(super) fn next(&mut self) -> Option<(Vec<Change>, Seq)> {
        loop {
            let segment = self.segments.pop()?;
            if self.segments.is_empty() {
                return Some((segment, self.generation.last()));
            }
            if !segment.is_empty() {
                let through = self.through(&segment);
                return Some((segment, through));
            }
        }
    }

    /// Returns the sequence number that a segment other than the last one brings the store to: no shape in
    /// the store is newer, so that no sequence number is given twice after a crash.
    ///
    /// It stays below the last one of the generation. Each change comes from at least one mutation, and every
    /// later segment has changes of later adds: adds come last, in the order of creation.
    fn through(&self, segment: &[Change]) -> Seq {
        let adds = segment.iter().filter(|change| matches!(change, Change::Add { .. }));
        let newest = adds.filter_map(Change::entry).map(|entry| entry.created()).max();
        newest.map_or(self.next, |newest| newest.max(self.next))
    }

    /// Records a segment that was committed.
    pub(super) fn committed(&mut self, batch: Batch) -> &Batch {
        self.next = batch.through.next();
        self.batches.push_mut(batch)
    }

    /// Whether a segment was committed.
    pub(super) fn has_committed(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Returns the result, once every segment is committed or rejected.
    pub(super) fn into_committed(self) -> Committed {
        let Self { generation, batches, rejections, .. } = self;
        Committed { generation, batches, rejections }
    }

    /// Puts back a segment whose commit failed, to be retried as it is.
    pub(super) fn put_back(&mut self, segment: Vec<Change>) {
        self.segments.push(segment);
    }

    /// Takes the rejected change out of a segment, or halves the segment to find it.
    ///
    /// # Errors
    ///
    /// The same error, with the segment as it was, if a reset was rejected: nothing that follows can be
    /// committed without it. Also if a batch without changes was rejected.
    pub(super) fn isolate(&mut self, mut segment: Vec<Change>, error: Error) -> Result<(), Error> {
        let named = error.rejected_seq().and_then(|rejected| {
            let is = |change: &Change| change.entry().is_some_and(|entry| entry.created() == rejected);
            segment.iter().position(is)
        });
        match named {
            None if segment.len() > 1 => {
                let second = segment.split_off(segment.len() / 2);
                self.segments.push(second);
                self.segments.push(segment);
            }
            named => {
                let at = named.unwrap_or(0);
                if matches!(segment.get(at), None | Some(Change::Reset)) {
                    self.segments.push(segment);
                    return Err(error);
                }
                let change = segment.remove(at);
                insert_discards(&mut segment, discard(&change));
                self.segments.push(segment);
                if let Change::Remove { entry } = &change {
                    self.reject_successors(entry.handle().as_bytes(), entry.key(), &error);
                }
                self.rejections.push(Rejection::new(change, error));
            }
        }
        Ok(())
    }

    /// Rejects the adds that were to take over the handle or the key of a shape whose removal was rejected.
    /// Removals are committed before adds, so none of those was committed yet.
    fn reject_successors(&mut self, handle: &[u8], key: &Key, error: &Error) {
        for segment in &mut self.segments {
            let successors = segment.extract_if(.., |change| match change {
                Change::Add { record, .. } => record.handle().as_bytes() == handle || record.key() == key,
                _ => false,
            });
            let rejected: Vec<_> = successors.collect();
            insert_discards(segment, rejected.iter().filter_map(discard));
            self.rejections.extend(rejected.into_iter().map(|change| Rejection::new(change, error.clone())));
        }
    }
}

/// Inserts these before the adds.
fn insert_discards(segment: &mut Vec<Change>, discards: impl IntoIterator<Item = Change>) {
    let adds = segment.partition_point(|change| !matches!(change, Change::Add { .. }));
    segment.splice(adds..adds, discards);
}

/// Returns what a rejected add leaves to do: its shape was acknowledged, so it may have stored data.
fn discard(rejected: &Change) -> Option<Change> {
    match rejected {
        Change::Add { record, .. } => {
            let (created, handle) = (record.entry.created(), record.handle().clone());
            Some(Change::Discard { created, handle })
        }
        _ => None,
    }
}
