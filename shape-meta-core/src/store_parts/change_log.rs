//! The rows of the change log: the changes since a sequence number, for standbys.
//!
//! A batch writes a row if it removed or marked shapes that existed before it, or reset the store. Adds are
//! not logged: a shape's id is the sequence number of its add, so the adds after a sequence number are a
//! range of rows. A recovery takes no sequence number, and appends to the row of the last one. So a standby
//! reads the row of its own sequence number again, which is idempotent (I6).
//!
//! The oldest row is the floor: its changes, and those before it, are unknown. Trimming the log makes a later
//! row the floor.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Counts, Delta, Entry, Seq, SnapshotState};

/// A logged change is one number: the lowest bits are the kind, the others the id of the shape. The kind of a
/// mark is the bits of its state.
const REMOVED: u64 = 4;
const RESET: u64 = 5;
const KIND_BITS: u32 = 3;

/// The row of the change log that one batch writes.
#[derive(Debug)]
pub struct LoggedChanges {
    /// The sequence number before the batch. No standby has seen shapes that were added after it.
    before: Seq,
    bytes: Vec<u8>,
    /// The batch cannot be logged: standbys must reload everything.
    needs_full_reload: bool,
}

impl LoggedChanges {
    /// Begins the row of a batch on a store at sequence number `before`.
    pub fn since(before: Seq) -> Self {
        Self { before, bytes: Vec::new(), needs_full_reload: false }
    }

    /// Logs nothing for an add after `before`. An add can have an earlier id when a flush was split into
    /// several transactions to isolate a rejected change; that cannot be logged.
    pub fn added(&mut self, id: Seq) {
        self.needs_full_reload |= id <= self.before;
    }

    /// Logs a removal.
    pub fn removed(&mut self, id: Seq) {
        self.log(id, REMOVED);
    }

    /// Logs a mark.
    pub fn marked(&mut self, id: Seq, state: SnapshotState) {
        self.log(id, state.bits().into());
    }

    /// Replaces what the batch has logged so far: all shapes that a standby can know are gone.
    pub fn reset(&mut self) {
        self.bytes.clear();
        self.log(self.before, RESET);
    }

    /// Appends a change as a variable-length integer. Skips shapes that no standby knows.
    fn log(&mut self, id: Seq, kind: u64) {
        if id > self.before {
            return;
        }
        let mut number = id.get() << KIND_BITS | kind;
        self.needs_full_reload |= number >> KIND_BITS != id.get();
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// Returns what was logged; `None` if standbys must reload everything.
    pub fn bytes(&self) -> Option<&[u8]> {
        (!self.needs_full_reload).then_some(&self.bytes)
    }
}

/// Rows of the change log, folded: the last change of each shape.
#[derive(Debug, Default)]
pub struct FoldedLog {
    reset: Option<Seq>,
    shapes: BTreeMap<Seq, u64>,
}

impl FoldedLog {
    /// Folds the bytes of the next row; `None` if they are damaged.
    pub fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes.iter();
        while let Some(first) = bytes.next() {
            let (mut number, mut byte, mut shift) = (u64::from(first & 0x7f), *first, 0);
            while byte >= 0x80 {
                byte = *bytes.next()?;
                shift += 7;
                if shift > 63 {
                    return None;
                }
                number |= u64::from(byte & 0x7f) << shift;
            }
            let (id, kind) = (Seq::new(number >> KIND_BITS), number & ((1 << KIND_BITS) - 1));
            match kind {
                RESET => {
                    self.reset = self.reset.max(Some(id));
                    self.shapes.retain(|shape, _| *shape > id);
                }
                REMOVED => {
                    self.shapes.insert(id, kind);
                }
                state if state < REMOVED => {
                    let logged = self.shapes.entry(id).or_insert(state);
                    if *logged != REMOVED {
                        *logged |= state;
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Returns what a standby has to do, with the shapes that were added.
    pub fn into_delta(self, added: Vec<Arc<Entry>>, counts: Counts, through: Seq) -> Delta {
        let mut delta = Delta { reset: self.reset, added, counts, through, ..Delta::default() };
        for (id, kind) in self.shapes {
            match kind {
                REMOVED => delta.removed.push(id),
                state => delta.marked.push((id, SnapshotState::from_bits(state as u8))),
            }
        }
        delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c6_a_row_is_decoded_as_it_was_encoded() {
        let numbers = [1, 15, 16, 127, 128, 1 << 32, (1 << 60) - 1];
        let removals = |ids: &[u64]| {
            let mut changed = LoggedChanges::since(Seq::new(u64::MAX));
            ids.iter().for_each(|id| changed.removed(Seq::new(*id)));
            changed
        };
        let mut folded = FoldedLog::default();
        folded.read(removals(&numbers).bytes().expect("they fit")).expect("it is sound");
        assert!(folded.shapes.keys().map(|id| id.get()).eq(numbers));
        assert!(
            removals(&[1 << 61]).bytes().is_none(),
            "an id that does not fit is not logged as another one"
        );
        for damaged in [&[0x80][..], &[0xff; 20], &[6], &[7]] {
            assert!(FoldedLog::default().read(damaged).is_none(), "{damaged:?}");
        }
    }

    #[test]
    fn c6_rows_are_folded_to_the_last_change_of_each_shape() {
        let mut folded = FoldedLog::default();
        let mut first = LoggedChanges::since(Seq::new(9));
        first.marked(Seq::new(2), SnapshotState::Started);
        first.removed(Seq::new(3));
        first.removed(Seq::new(10));
        let mut second = LoggedChanges::since(Seq::new(12));
        second.marked(Seq::new(2), SnapshotState::Complete);
        second.marked(Seq::new(3), SnapshotState::Complete);
        for row in [first, second] {
            folded.read(row.bytes().expect("they fit")).expect("it is sound");
        }
        let delta = folded.into_delta(Vec::new(), Counts::default(), Seq::new(12));
        assert_eq!(delta.removed, [Seq::new(3)]);
        assert_eq!(delta.marked, [(Seq::new(2), SnapshotState::Complete)]);
        let mut reset = LoggedChanges::since(Seq::new(12));
        reset.removed(Seq::new(5));
        reset.reset();
        let mut folded = FoldedLog::default();
        folded.read(reset.bytes().expect("it fits")).expect("it is sound");
        assert_eq!((folded.reset, folded.shapes.len()), (Some(Seq::new(12)), 0));
    }
}
