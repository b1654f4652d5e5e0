use std::fmt;

use crate::{
    DefinitionHash, Handle, Key, Metadata, Relation, Relations, Seq, SnapshotState, Timestamp,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

/// The part of a live shape that stays in memory: everything but its definition.
///
/// An entry is created when a shape is accepted, or found at open. The buffer, the batch and the cache share
/// it behind an [`Arc`](std::sync::Arc), so a [`touch`](Self::touch) is not lost while the shape moves from
/// one layer to the next.
pub struct Entry {
    handle: Handle,
    key: Key,
    created: Seq,
    /// Microseconds, 0 if unknown.
    created_at: u64,
    /// Microseconds, 0 for never, and [`CLAIMED`]. One word, so that a claim and a touch have an order.
    last_read: AtomicU64,
    /// `None` if the shape reads exactly one relation and has the hash of its key, as nearly all do. Storing
    /// these two here would take three more words, and grow the allocation from 128 to 160 bytes.
    unusual: Option<Box<Unusual>>,
    /// The relation of a shape that reads exactly one.
    relation: Relation,
    /// [`SnapshotState::bits`], [`INDEXED`] and [`READ_DIRTY`].
    flags: AtomicU8,
}

/// What few shapes need to keep.
struct Unusual {
    relations: Relations,
    hash: DefinitionHash,
}

const STATE: u8 = 0b0011;
const INDEXED: u8 = 0b0100;
/// The last-read time is not known to be on disk.
const READ_DIRTY: u8 = 0b1000;

/// In `last_read`: a removal of the shape has been decided because it was not read, so no read counts any
/// more. It is the highest bit: a claimed word is greater than any time.
const CLAIMED: u64 = 1 << 63;

/// Returns the word of a time. A time that does not fit is as far in the future as one that does.
fn word(at: Timestamp) -> u64 {
    at.as_micros().min(!CLAIMED)
}

/// Returns the time in a word, without the claim.
fn time(word: u64) -> Option<Timestamp> {
    match word & !CLAIMED {
        0 => None,
        micros => Some(Timestamp::from_micros(micros)),
    }
}

impl Entry {
    /// Returns the entry of a shape that has just been accepted: snapshot pending, never read, and with an
    /// unknown time of creation.
    pub fn new(
        created: Seq,
        handle: Handle,
        key: Key,
        hash: DefinitionHash,
        relations: Relations,
        indexed: bool,
    ) -> Self {
        let (relation, unusual) = match relations.as_slice() {
            [one] if hash == key.definition_hash() => (*one, None),
            _ => (Relation::new(0), Some(Box::new(Unusual { relations, hash }))),
        };
        let flags = AtomicU8::new(if indexed { INDEXED } else { 0 });
        let last_read = AtomicU64::new(0);
        Self { handle, key, created, created_at: 0, last_read, unusual, relation, flags }
    }

    /// Returns the entry with this time of creation; `None` if it is unknown.
    pub fn with_created_at(mut self, at: Option<Timestamp>) -> Self {
        self.created_at = at.map_or(0, Timestamp::as_micros);
        self
    }

    /// Returns the entry with this snapshot state and last-read time, for stores that read it back.
    pub fn with_state(mut self, state: SnapshotState, last_read: Option<Timestamp>) -> Self {
        let flags = self.flags.get_mut();
        *flags = *flags & !STATE | state.bits();
        *self.last_read.get_mut() = last_read.map_or(0, word);
        self
    }

    /// Sets the sequence number of the shape's add.
    pub(crate) fn set_seq(&mut self, created: Seq) {
        self.created = created;
    }

    /// Returns a copy with another sequence number, as if the shape had just been accepted. The time of
    /// creation stays.
    pub(crate) fn clone_with_seq(&self, created: Seq) -> Self {
        let (handle, relations) = (self.handle.clone(), self.relations().to_vec().into());
        Self::new(created, handle, self.key, self.hash(), relations, self.is_indexed())
            .with_created_at(self.created_at())
    }

    /// Returns the handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns the key of the definition.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the hash of the definition.
    pub fn hash(&self) -> DefinitionHash {
        self.unusual.as_ref().map_or_else(|| self.key.definition_hash(), |unusual| unusual.hash)
    }

    /// Returns the sequence number of the shape's add, which is the id of the shape.
    pub fn created(&self) -> Seq {
        self.created
    }

    /// Returns when the shape was accepted, by the clock of that machine; `None` if it is unknown, because a
    /// version that did not store it has made the shape.
    pub fn created_at(&self) -> Option<Timestamp> {
        Some(self.created_at).filter(|micros| *micros > 0).map(Timestamp::from_micros)
    }

    /// Returns the tables that the shape reads, in ascending order.
    pub fn relations(&self) -> &[Relation] {
        let one = std::slice::from_ref(&self.relation);
        self.unusual.as_ref().map_or(one, |unusual| unusual.relations.as_slice())
    }

    /// Returns whether the shape's filter can be answered from an index of the engine; see
    /// [`Definition::is_indexed`](crate::Definition::is_indexed).
    pub fn is_indexed(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & INDEXED != 0
    }

    /// Returns the snapshot state in the store that holds this entry. A buffer above may hold a later mark
    /// that is still pending; the [`Metadata`] that it returns includes it.
    pub fn state(&self) -> SnapshotState {
        SnapshotState::from_bits(self.flags.load(Ordering::Acquire) & STATE)
    }

    /// Moves the snapshot state forward. An earlier state has no effect (I6).
    ///
    /// Only stores call it, after the change is committed (I2).
    pub fn advance(&self, state: SnapshotState) {
        self.flags.fetch_or(state.bits(), Ordering::AcqRel);
    }

    /// Returns when the shape was last read; `None` if never.
    pub fn last_read(&self) -> Option<Timestamp> {
        time(self.last_read.load(Ordering::Relaxed))
    }

    /// Records a read. Two atomic writes; none if a read at this time or later is recorded already.
    ///
    /// Returns whether the read counts: `false` once a removal has [claimed](Self::claim_unread) the shape.
    ///
    /// A recorded time that is later than now comes from a clock that was ahead, or from a caller that passed
    /// such a time. It counts as now, and the next read replaces it by now.
    pub fn touch(&self, at: Timestamp) -> bool {
        // Acquire, here and below: a caller whose read does not count sees what came before the claim.
        let known = self.last_read.load(Ordering::Acquire);
        if known & CLAIMED != 0 {
            return false;
        }
        let Some(new) = Timestamp::after_read(time(known), at).map(word) else { return true };
        let before = if known < new {
            self.last_read.fetch_max(new, Ordering::AcqRel)
        } else {
            // Of two reads that replace it, the first stands: they are at about the same time.
            let replaced = self.last_read.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire);
            replaced.unwrap_or_else(|other| other)
        };
        if before & CLAIMED != 0 {
            return false;
        }
        // After the time, and also if the flag is set already: a sweep that takes the flag then sees this
        // time or a later one, or leaves the flag to the next sweep.
        self.mark_read_dirty();
        true
    }

    /// Claims the shape for a removal, unless it was read at `since` or later. Returns whether it is claimed.
    ///
    /// Each [`touch`](Self::touch) comes before the claim, which then sees its time, or after it, and does
    /// not count. A shape that was never read can be claimed. A time in the future counts as now.
    ///
    /// Only the layer on top calls it, through [`ShapeStore::claim_unread`](crate::ShapeStore::claim_unread).
    pub fn claim_unread(&self, since: Timestamp) -> bool {
        let claim = |word: u64| (!Timestamp::is_read_since(time(word), since)).then_some(word | CLAIMED);
        self.last_read.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).is_ok()
    }

    /// Ends a claim, because the shape is not removed after all.
    pub fn release_claim(&self) {
        self.last_read.fetch_and(!CLAIMED, Ordering::AcqRel);
    }

    /// Returns whether a removal has claimed the shape.
    pub fn is_claimed(&self) -> bool {
        self.last_read.load(Ordering::Acquire) & CLAIMED != 0
    }

    /// Records the creation as a read, if its time is known: for a top layer whose options
    /// say that a shape which was never read ages from its creation.
    pub fn touch_at_creation(&self) {
        if let Some(at) = self.created_at() {
            self.touch(at);
        }
    }

    /// Merges a last-read time that is on disk already. Like [`touch`](Self::touch), but does not mark the
    /// time as dirty.
    pub fn merge_last_read(&self, at: Timestamp) {
        self.last_read.fetch_max(word(at), Ordering::Relaxed);
    }

    /// Returns the last-read time if it is not known to be on disk, and marks it as saved. A caller that
    /// fails to save it calls [`mark_read_dirty`](Self::mark_read_dirty).
    pub fn take_dirty_read(&self) -> Option<Timestamp> {
        // A load is cheaper than a write, and most shapes were not read since the last sweep.
        let is_dirty = |flags: u8| flags & READ_DIRTY != 0;
        if !is_dirty(self.flags.load(Ordering::Relaxed))
            || !is_dirty(self.flags.fetch_and(!READ_DIRTY, Ordering::Acquire))
        {
            return None;
        }
        self.last_read()
    }

    /// Marks the last-read time as not saved.
    pub fn mark_read_dirty(&self) {
        self.flags.fetch_or(READ_DIRTY, Ordering::Release);
    }

    /// Returns a copy of the metadata.
    pub fn metadata(&self) -> Metadata {
        self.metadata_in(self.state())
    }

    /// Returns a copy of the metadata with the snapshot state of a layer above.
    pub fn metadata_in(&self, state: SnapshotState) -> Metadata {
        Metadata {
            created: self.created,
            created_at: self.created_at(),
            hash: self.hash(),
            state,
            last_read: self.last_read(),
        }
    }

    /// Returns the memory of this entry and of what it owns, in bytes.
    pub fn memory(&self) -> usize {
        let heap_bytes = |unusual: &Unusual| size_of::<Unusual>() + unusual.relations.heap_bytes();
        let unusual = self.unusual.as_deref().map_or(0, heap_bytes);
        size_of::<Self>() + self.handle.heap_bytes() + unusual
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
    fn its_allocation_fills_two_cache_lines() {
        assert_eq!(size_of::<Entry>() + 3 * size_of::<usize>(), 128);
    }

    fn entry(relations: &[u32], indexed: bool) -> Entry {
        let handle = Handle::new("h").expect("valid");
        let relations = relations.iter().copied().map(Relation::new).collect();
        Entry::new(Seq::new(1), handle, Key::new([0; 32]), DefinitionHash::new(0), relations, indexed)
    }

    #[test]
    fn any_number_of_relations_is_returned_in_order() {
        for (given, kept) in [(vec![], vec![]), (vec![7], vec![7]), (vec![9, 2, 9, 5], vec![2, 5, 9])] {
            let relations = entry(&given, false).relations().iter().map(|one| one.oid()).collect::<Vec<_>>();
            assert_eq!(relations, kept, "of {given:?}");
        }
    }

    #[test]
    fn a_hash_that_is_not_of_the_key_is_kept() {
        let handle = || Handle::new("h").expect("valid");
        for hash in [Key::new([3; 32]).definition_hash(), DefinitionHash::new(9)] {
            let relations = [Relation::new(7)].into_iter().collect();
            let entry = Entry::new(Seq::new(1), handle(), Key::new([3; 32]), hash, relations, false);
            assert_eq!((entry.hash(), entry.relations()), (hash, &[Relation::new(7)][..]));
            assert_eq!(entry.clone_with_seq(Seq::new(2)).hash(), hash);
        }
    }

    #[test]
    fn the_time_of_creation_is_kept_by_every_copy() {
        let at = Some(Timestamp::from_micros(5));
        assert_eq!(entry(&[1], true).created_at(), None);
        let entry = entry(&[1], true).with_created_at(at).with_state(SnapshotState::Started, None);
        assert_eq!([entry.created_at(), entry.metadata().created_at], [at; 2]);
        assert_eq!(entry.clone_with_seq(Seq::new(2)).created_at(), at);
    }

    #[test]
    fn the_flags_are_independent_of_each_other() {
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
    fn c1_a_read_replaces_a_time_in_the_future() {
        let entry = entry(&[], false);
        let now = Timestamp::now();
        entry.touch(Timestamp::from_micros(now.as_micros() + 20 * 365 * 86_400_000_000));
        entry.take_dirty_read();
        for at in [now, Timestamp::from_micros(7)] {
            let read = entry.last_read();
            entry.touch(at);
            let (found, dirty) = (entry.last_read(), entry.take_dirty_read());
            assert!(found >= Some(now) && found <= Some(Timestamp::now()) && dirty == found, "{found:?}");
            assert!(found < read);
            entry.touch(Timestamp::from_micros(u64::MAX));
            entry.take_dirty_read();
        }
    }

    #[test]
    fn c1_a_claim_and_a_touch_have_an_order() {
        let at = Timestamp::from_micros;
        let entry = entry(&[], false);
        assert!(entry.touch(at(5)) && !entry.claim_unread(at(5)) && !entry.claim_unread(at(4)));
        assert!(entry.touch(at(6)) && !entry.is_claimed(), "a claim that fails leaves nothing");
        entry.take_dirty_read();
        assert!(entry.claim_unread(at(7)) && entry.is_claimed());
        for later in [at(6), at(7), at(8), at(u64::MAX)] {
            assert!(!entry.touch(later), "no read counts any more");
        }
        entry.merge_last_read(at(9));
        assert_eq!((entry.last_read(), entry.take_dirty_read()), (Some(at(6)), None));
        entry.release_claim();
        assert!(entry.touch(at(8)));
        assert_eq!((entry.last_read(), entry.take_dirty_read()), (Some(at(8)), Some(at(8))));
    }

    #[test]
    fn c1_a_claim_takes_a_time_in_the_future_for_now() {
        let entry = entry(&[], false);
        assert!(entry.touch(Timestamp::from_micros(u64::MAX)));
        let now = Timestamp::now();
        assert!(!entry.claim_unread(now));
        let later = Timestamp::from_micros(now.as_micros() + 1_000_000_000);
        assert!(entry.claim_unread(later));
    }

    #[test]
    fn a_dirty_read_is_taken_once() {
        let at = Timestamp::from_micros;
        let entry = entry(&[], false);
        assert_eq!(entry.take_dirty_read(), None);
        entry.touch(at(9));
        entry.touch(at(5));
        assert_eq!((entry.take_dirty_read(), entry.take_dirty_read()), (Some(at(9)), None));
        entry.touch(at(7));
        entry.touch(at(9));
        assert_eq!(entry.take_dirty_read(), None, "that read or a later one is on disk");
        entry.merge_last_read(at(12));
        assert_eq!((entry.last_read(), entry.take_dirty_read()), (Some(at(12)), None));
        entry.mark_read_dirty();
        assert_eq!(entry.take_dirty_read(), Some(at(12)));
    }
}
