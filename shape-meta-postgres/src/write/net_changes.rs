use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use shape_meta_core::{Batch, Change, Entry, Error, ErrorKind, Handle, Record, Result, Seq, SnapshotState};

use crate::format::stack_row::StackRow;

/// The largest definition that is passed on. The server allows a gigabyte for a row, and for a message.
const MAX_DEFINITION: usize = 512 << 20;

/// The maximum number of shapes of a batch that one statement adds: of 128 and more, as with 256 clients, a
/// copy takes less time.
const SMALL_ADD: usize = 64;
/// The maximum size of their definitions in bytes.
const SMALL_ADD_BYTES: usize = 1 << 20;

/// The effect of a batch as sets. Each shape has its own id, so the order of changes within a batch matters
/// only between changes of one shape, and before and after a reset.
#[derive(Debug, Default)]
pub(crate) struct NetChanges {
    /// All shapes that were stored before the batch are removed.
    pub(crate) reset: bool,
    /// The shapes that the batch adds, with the state that it leaves them in.
    pub(crate) added: Vec<(Arc<Record>, SnapshotState)>,
    /// The shapes that the batch removes if they are stored.
    pub(crate) removed: Vec<Arc<Entry>>,
    /// The shapes that the batch marks if they are stored.
    pub(crate) marked: Vec<(Arc<Entry>, SnapshotState)>,
    /// Shapes that are gone without ever having been stored; they leave a cleanup task all the same (C12).
    pub(crate) discarded: Vec<(i64, Handle)>,
    /// The sequence number after the batch.
    pub(crate) through: Seq,
}

impl NetChanges {
    /// Folds a batch.
    ///
    /// # Errors
    ///
    /// `Rejected`, with the sequence number of the shape, if the server could never store a change.
    pub(crate) fn of(batch: &Batch) -> Result<Self> {
        let mut fold = Fold::default();
        for change in &batch.changes {
            fold.apply(change)?;
        }
        let mut net = Self { through: batch.through, ..fold.net };
        id(batch.through)?;
        net.added = fold.added.into_iter().flatten().collect();
        net.marked = fold.marked.into_values().collect();
        // In the order of ids, so that rows are changed in the order in which they lie.
        net.removed.sort_unstable_by_key(|entry| entry.created());
        net.removed.dedup_by_key(|entry| entry.created());
        net.marked.sort_unstable_by_key(|(entry, _)| entry.created());
        net.discarded.sort_unstable_by_key(|(id, _)| *id);
        net.discarded.dedup_by_key(|(id, _)| *id);
        Ok(net)
    }

    /// Whether it only adds shapes, as few and small ones as one message should carry, to a stack in this
    /// state, and nothing has to be logged for standbys or written to look-ups.
    pub(super) fn is_small_add(&self, row: &StackRow) -> bool {
        let Self { reset, added, removed, marked, discarded, .. } = self;
        let only_adds = !reset && removed.is_empty() && marked.is_empty() && discarded.is_empty();
        let is_small = (1..=SMALL_ADD).contains(&added.len())
            && added.iter().map(|(record, _)| record.definition.len()).sum::<usize>() <= SMALL_ADD_BYTES;
        // An add with an earlier sequence number is logged.
        let is_new = |record: &Record| record.entry.created() > row.last_seq;
        only_adds && is_small && !row.has_lookups && added.iter().all(|(record, _)| is_new(record))
    }

    /// The removal of these shapes, by a recovery, which takes no sequence number.
    pub(crate) fn removal(removed: Vec<Arc<Entry>>, through: Seq) -> Self {
        Self { removed, through, ..Self::default() }
    }
}

#[derive(Default)]
struct Fold {
    net: NetChanges,
    added: Vec<Option<(Arc<Record>, SnapshotState)>>,
    /// The position in `added` by id.
    position: HashMap<Seq, usize, BuildHasherDefault<SeqHasher>>,
    marked: HashMap<Seq, (Arc<Entry>, SnapshotState), BuildHasherDefault<SeqHasher>>,
}

/// Hashes sequence numbers, which no caller chooses: one multiplication distributes them. The server waits
/// while a batch is folded.
#[derive(Default)]
struct SeqHasher(u64);

impl Hasher for SeqHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Fold {
    fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Add { record, state } => self.add(record, *state),
            Change::Remove { entry } => self.remove(entry),
            Change::Mark { entry, state } => self.mark(entry, *state),
            Change::Discard { created, handle } => {
                self.net.discarded.push((id(*created)?, handle.clone()));
                Ok(())
            }
            Change::Reset => {
                self.reset();
                Ok(())
            }
        }
    }

    fn add(&mut self, record: &Arc<Record>, state: SnapshotState) -> Result<()> {
        let created = record.entry.created();
        id(created)?;
        if record.definition.len() > MAX_DEFINITION {
            let message = format!(
                "the definition of shape {created} has {} bytes, and the server cannot store more than {MAX_DEFINITION}; \
                 nothing has changed. Remove it from the batch",
                record.definition.len()
            );
            return Err(Error::new(ErrorKind::Rejected, message).with_rejected_seq(created));
        }
        if !self.position.contains_key(&created) {
            self.position.insert(created, self.added.len());
            self.added.push(Some((Arc::clone(record), state)));
        }
        Ok(())
    }

    fn remove(&mut self, entry: &Arc<Entry>) -> Result<()> {
        let created = entry.created();
        let number = id(created)?;
        self.marked.remove(&created);
        if let Some(at) = self.position.get(&created)
            && self.added[*at].take().is_some()
        {
            self.net.discarded.push((number, entry.handle().clone()));
        }
        // Also if the batch has added it: an earlier batch may have stored it already.
        self.net.removed.push(Arc::clone(entry));
        Ok(())
    }

    fn mark(&mut self, entry: &Arc<Entry>, state: SnapshotState) -> Result<()> {
        let created = entry.created();
        id(created)?;
        match self.position.get(&created) {
            Some(at) => {
                if let Some((_, added)) = &mut self.added[*at] {
                    *added = state.max(*added);
                }
            }
            None => {
                let marked = self.marked.entry(created).or_insert_with(|| (Arc::clone(entry), state));
                marked.1 = state.max(marked.1);
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        for (record, _) in self.added.drain(..).flatten() {
            self.net.discarded.push((record.entry.created().get().cast_signed(), record.handle().clone()));
        }
        self.position.clear();
        self.marked.clear();
        self.net.removed.clear();
        self.net.reset = true;
    }
}

/// Returns the id of a shape, which is a `bigint`.
pub(super) fn id(created: Seq) -> Result<i64> {
    i64::try_from(created.get()).map_err(|_| {
        let message =
            format!("sequence number {created} is above the largest id, {}; nothing has changed", i64::MAX);
        Error::new(ErrorKind::Rejected, message).with_rejected_seq(created)
    })
}

#[cfg(test)]
mod tests {
    use shape_meta_core::conformance::shape;

    use super::*;

    fn record(number: u64) -> Arc<Record> {
        Arc::new(shape(number).record(Seq::new(number)))
    }

    fn folded(changes: Vec<Change>) -> NetChanges {
        NetChanges::of(&Batch { changes, through: Seq::new(99) }).expect("nothing is rejected")
    }

    #[test]
    fn c12_a_shape_that_comes_and_goes_in_one_batch_leaves_a_task() {
        use SnapshotState::{Complete, Pending, Started};
        let add = |number| Change::Add { record: record(number), state: Pending };
        let remove = |number| Change::Remove { entry: Arc::clone(&record(number).entry) };
        let mark = |number, state| Change::Mark { entry: Arc::clone(&record(number).entry), state };
        let net = folded(vec![
            add(5),
            mark(5, Complete),
            mark(5, Started),
            add(6),
            mark(2, Started),
            mark(2, Complete),
            mark(1, Started),
            remove(1),
            remove(6),
            mark(6, Complete),
        ]);
        let states: Vec<_> =
            net.added.iter().map(|(record, state)| (record.entry.created().get(), *state)).collect();
        assert_eq!(states, [(5, Complete)]);
        assert!(net.removed.iter().map(|entry| entry.created().get()).eq([1, 6]));
        assert!(net.marked.iter().map(|(entry, state)| (entry.created().get(), *state)).eq([(2, Complete)]));
        assert_eq!(net.discarded, [(6, record(6).handle().clone())]);
        assert!(!net.reset);

        let net = folded(vec![add(5), remove(1), mark(2, Started), Change::Reset, add(7), remove(3)]);
        assert!(net.reset && net.marked.is_empty());
        assert_eq!(net.discarded, [(5, record(5).handle().clone())]);
        assert!(net.added.iter().map(|(record, _)| record.entry.created().get()).eq([7]));
    }

    #[test]
    fn c8_a_number_above_the_largest_id_is_rejected() {
        let changes = vec![Change::Add { record: record(u64::MAX), state: SnapshotState::Pending }];
        let error = NetChanges::of(&Batch { changes, through: Seq::new(1) }).expect_err("it has no id");
        assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(u64::MAX))));
    }
}
