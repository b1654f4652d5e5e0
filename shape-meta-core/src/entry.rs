use std::fmt;

use crate::{
    DefinitionHash, Handle, Key, Metadata, Relation, Relations, Seq, SnapshotState, Timestamp,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

/// What memory keeps of a live shape: everything but its definition.
///
/// One entry is made when a shape is accepted (or found at open), and the same one is passed down behind
/// an [`Arc`](std::sync::Arc) from the buffer to the batch to the cache. So a [`touch`](Self::touch) that
/// lands while the shape moves from one layer to the next is not lost.
pub struct Entry {
    handle: Handle,
    key: Key,
    hash: DefinitionHash,
    created: Seq,
    /// Microseconds, 0 for never.
    last_read: AtomicU64,
    /// None where the shape reads one relation, as nearly all do. `Relations` itself would take the two words that
    /// make the difference between an allocation of 128 bytes and one of 144.
    others: Option<Box<Relations>>,
    /// That one.
    relation: Relation,
    /// [`SnapshotState::bits`], [`INDEXED`] and [`READ_DIRTY`].
    flags: AtomicU8,
}

const STATE: u8 = 0b0011;
const INDEXED: u8 = 0b0100;
/// The last read is not known to be on disk.
const READ_DIRTY: u8 = 0b1000;

impl Entry {
    /// The entry of a shape that has just been accepted: snapshot pending, never read.
    pub fn new(
        created: Seq,
        handle: Handle,
        key: Key,
        hash: DefinitionHash,
        relations: Relations,
        indexed: bool,
    ) -> Self {
        let (relation, others) = match relations.as_slice() {
            [one] => (*one, None),
            _ => (Relation::new(0), Some(Box::new(relations))),
        };
        let flags = AtomicU8::new(if indexed { INDEXED } else { 0 });
        Self { handle, key, hash, created, last_read: AtomicU64::new(0), others, relation, flags }
    }

    /// The same entry in another state and with another last-read time: for stores that read it back.
    pub fn with_state(mut self, state: SnapshotState, last_read: Option<Timestamp>) -> Self {
        let flags = self.flags.get_mut();
        *flags = *flags & !STATE | state.bits();
        *self.last_read.get_mut() = last_read.map_or(0, Timestamp::as_micros);
        self
    }

    /// Gives the shape its place in the order.
    pub(crate) fn set_seq(&mut self, created: Seq) {
        self.created = created;
    }

    /// The same shape at another place in the order, as if it had just been accepted.
    pub(crate) fn clone_with_seq(&self, created: Seq) -> Self {
        let (handle, relations) = (self.handle.clone(), self.relations().to_vec().into());
        Self::new(created, handle, self.key, self.hash, relations, self.is_indexed())
    }

    /// The handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The key of the definition.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The check of the definition.
    pub fn hash(&self) -> DefinitionHash {
        self.hash
    }

    /// The place of the shape's add in the order: its id for life.
    pub fn created(&self) -> Seq {
        self.created
    }

    /// The tables that the shape reads, in ascending order.
    pub fn relations(&self) -> &[Relation] {
        self.others.as_ref().map_or(std::slice::from_ref(&self.relation), |all| all.as_slice())
    }

    /// Whether the shape's filter can be answered from an index of the engine; see
    /// [`Definition::is_indexed`](crate::Definition::is_indexed).
    pub fn is_indexed(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & INDEXED != 0
    }

    /// The snapshot state as the store that holds this entry knows it. A buffer above may know of a mark
    /// that is still pending; ask it for [`Metadata`] instead.
    pub fn state(&self) -> SnapshotState {
        SnapshotState::from_bits(self.flags.load(Ordering::Acquire) & STATE)
    }

    /// Moves the state forward; moving it back does nothing (I6).
    ///
    /// For stores alone, once the change is committed (I2).
    pub fn advance(&self, state: SnapshotState) {
        self.flags.fetch_or(state.bits(), Ordering::AcqRel);
    }

    /// When the shape was last read, if ever.
    pub fn last_read(&self) -> Option<Timestamp> {
        match self.last_read.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }

    /// Notes a read. Two atomic operations, and none at all when a later read is noted already; a clock
    /// that goes back changes nothing.
    pub fn touch(&self, at: Timestamp) {
        if self.last_read.load(Ordering::Relaxed) < at.as_micros() {
            self.last_read.fetch_max(at.as_micros(), Ordering::Relaxed);
            // After the time, and whether or not it is set: whoever takes this finds the time (or a later
            // one), or leaves it for the next one to take.
            self.mark_read_dirty();
        }
    }

    /// Takes over a time that somebody else has noted, and that is on disk: like [`touch`](Self::touch),
    /// but it does not have to be saved.
    pub fn merge_last_read(&self, at: Timestamp) {
        self.last_read.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    /// The last read, if it is not known to be on disk; from now on it counts as saved. Who cannot save it
    /// after all says so with [`mark_read_dirty`](Self::mark_read_dirty).
    pub fn take_dirty_read(&self) -> Option<Timestamp> {
        // Looking is cheaper than writing, and most were not read since the last time.
        let is_dirty = |flags: u8| flags & READ_DIRTY != 0;
        if !is_dirty(self.flags.load(Ordering::Relaxed))
            || !is_dirty(self.flags.fetch_and(!READ_DIRTY, Ordering::Acquire))
        {
            return None;
        }
        self.last_read()
    }

    /// The last read has still to be saved.
    pub fn mark_read_dirty(&self) {
        self.flags.fetch_or(READ_DIRTY, Ordering::Release);
    }

    /// The small facts about the shape, copied out.
    pub fn metadata(&self) -> Metadata {
        self.metadata_in(self.state())
    }

    /// The same with a state that a layer above knows better.
    pub fn metadata_in(&self, state: SnapshotState) -> Metadata {
        Metadata { created: self.created, hash: self.hash, state, last_read: self.last_read() }
    }

    /// Bytes that this entry takes in memory, with what it holds.
    pub fn memory(&self) -> usize {
        let others = self.others.as_ref().map_or(0, |all| size_of::<Relations>() + all.heap_bytes());
        size_of::<Self>() + self.handle.heap_bytes() + others
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("created", &self.created.get())
            .field("handle", &self.handle.as_str())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_two_cache_lines_with_its_counts_and_those_of_the_allocator() {
        assert_eq!(size_of::<Entry>() + 3 * size_of::<usize>(), 128);
    }

    fn entry(relations: &[u32], indexed: bool) -> Entry {
        let handle = Handle::new("h").expect("valid");
        let relations = relations.iter().copied().map(Relation::new).collect();
        Entry::new(Seq::new(1), handle, Key::new([0; 32]), DefinitionHash::new(0), relations, indexed)
    }

    #[test]
    fn any_number_of_relations_comes_back_in_order() {
        for (given, kept) in [(vec![], vec![]), (vec![7], vec![7]), (vec![9, 2, 9, 5], vec![2, 5, 9])] {
            let relations = entry(&given, false).relations().iter().map(|one| one.oid()).collect::<Vec<_>>();
            assert_eq!(relations, kept, "of {given:?}");
        }
    }

    #[test]
    fn state_indexed_and_unsaved_do_not_touch_each_other() {
        let at = Timestamp::from_micros;
        for indexed in [false, true] {
            for state in [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete] {
                let entry = entry(&[1], indexed)
                    .with_state(SnapshotState::Complete, None)
                    .with_state(state, Some(at(3)));
                assert_eq!(
                    (entry.state(), entry.is_indexed(), entry.take_dirty_read()),
                    (state, indexed, None)
                );
                entry.touch(at(9));
                assert_eq!((entry.state(), entry.is_indexed()), (state, indexed));
                entry.advance(SnapshotState::Started);
                assert_eq!((entry.state(), entry.is_indexed()), (state.max(SnapshotState::Started), indexed));
                assert_eq!(entry.take_dirty_read(), Some(at(9)));
                assert_eq!((entry.state(), entry.is_indexed()), (state.max(SnapshotState::Started), indexed));
                assert_eq!(entry.take_dirty_read(), None);
                assert_eq!(
                    (
                        entry.clone_with_seq(Seq::new(2)).state(),
                        entry.clone_with_seq(Seq::new(2)).is_indexed()
                    ),
                    (SnapshotState::Pending, indexed)
                );
            }
        }
    }

    #[test]
    fn state_and_last_read_move_forward_only() {
        let entry = entry(&[], false);
        entry.advance(SnapshotState::Complete);
        entry.advance(SnapshotState::Started);
        assert_eq!(entry.state(), SnapshotState::Complete);
        entry.touch(Timestamp::from_micros(9));
        entry.touch(Timestamp::from_micros(5));
        assert_eq!(entry.last_read(), Some(Timestamp::from_micros(9)));
    }

    #[test]
    fn a_read_is_to_be_saved_once() {
        let at = Timestamp::from_micros;
        let entry = entry(&[], false);
        assert_eq!(entry.take_dirty_read(), None);
        entry.touch(at(9));
        entry.touch(at(5));
        assert_eq!((entry.take_dirty_read(), entry.take_dirty_read()), (Some(at(9)), None));
        entry.touch(at(7));
        entry.touch(at(9));
        assert_eq!(entry.take_dirty_read(), None, "that read is on disk, or a later one");
        entry.merge_last_read(at(12));
        assert_eq!((entry.last_read(), entry.take_dirty_read()), (Some(at(12)), None));
        entry.mark_read_dirty();
        assert_eq!(entry.take_dirty_read(), Some(at(12)));
    }
}
