use std::fmt;

use crate::{
    DefinitionHash, Handle, Key, Metadata, Relations, Seq, SnapshotState, Timestamp,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
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
    relations: Relations,
    /// Microseconds, 0 for never.
    last_read: AtomicU64,
    /// [`SnapshotState::bits`].
    state: AtomicU8,
    indexed: bool,
    /// Whether the last read is not known to be on disk.
    unsaved: AtomicBool,
}

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
        Self {
            handle,
            key,
            hash,
            created,
            relations,
            last_read: AtomicU64::new(0),
            state: AtomicU8::new(0),
            indexed,
            unsaved: AtomicBool::new(false),
        }
    }

    /// The same entry in another state and with another last-read time: for stores that read it back.
    pub fn with(mut self, state: SnapshotState, last_read: Option<Timestamp>) -> Self {
        *self.state.get_mut() = state.bits();
        *self.last_read.get_mut() = last_read.map_or(0, Timestamp::as_micros);
        self
    }

    /// Gives the shape its place in the order.
    pub(crate) fn place(&mut self, created: Seq) {
        self.created = created;
    }

    /// The same shape at another place in the order, as if it had just been accepted.
    pub(crate) fn again(&self, created: Seq) -> Self {
        let (handle, relations) = (self.handle.clone(), self.relations.clone());
        Self::new(created, handle, self.key, self.hash, relations, self.indexed)
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

    /// The tables that the shape reads.
    pub fn relations(&self) -> &Relations {
        &self.relations
    }

    /// Whether the shape's filter can be answered from an index of the engine; see
    /// [`Definition::is_indexed`](crate::Definition::is_indexed).
    pub fn is_indexed(&self) -> bool {
        self.indexed
    }

    /// The snapshot state as the store that holds this entry knows it. A buffer above may know of a mark
    /// that is still pending; ask it for [`Metadata`] instead.
    pub fn state(&self) -> SnapshotState {
        SnapshotState::from_bits(self.state.load(Ordering::Acquire))
    }

    /// Moves the state forward; moving it back does nothing (I6).
    ///
    /// For stores alone, once the change is committed (I2).
    pub fn advance(&self, state: SnapshotState) {
        self.state.fetch_or(state.bits(), Ordering::AcqRel);
    }

    /// When the shape was last read, if ever.
    pub fn last_read(&self) -> Option<Timestamp> {
        match self.last_read.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }

    /// Notes a read. One atomic operation, and none at all when a later read is noted already; a clock
    /// that goes back changes nothing.
    pub fn touch(&self, at: Timestamp) {
        if self.last_read.load(Ordering::Relaxed) < at.as_micros() {
            self.last_read.fetch_max(at.as_micros(), Ordering::Relaxed);
            // After the time, and whether or not it is set: whoever takes this finds the time (or a later
            // one), or leaves it for the next one to take.
            self.unsaved.store(true, Ordering::Release);
        }
    }

    /// Takes over a time that somebody else has noted, and that is on disk: like [`touch`](Self::touch),
    /// but it does not have to be saved.
    pub fn learn(&self, at: Timestamp) {
        self.last_read.fetch_max(at.as_micros(), Ordering::Relaxed);
    }

    /// The last read, if it is not known to be on disk; from now on it counts as saved. Who cannot save it
    /// after all says so with [`not_saved`](Self::not_saved).
    pub fn take_unsaved(&self) -> Option<Timestamp> {
        // Looking is cheaper than writing, and most were not read since the last time.
        if !self.unsaved.load(Ordering::Relaxed) || !self.unsaved.swap(false, Ordering::Acquire) {
            return None;
        }
        self.last_read()
    }

    /// The last read has still to be saved.
    pub fn not_saved(&self) {
        self.unsaved.store(true, Ordering::Release);
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
        size_of::<Self>() + self.handle.heap_bytes() + self.relations.heap_bytes()
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
    fn is_two_cache_lines_with_its_counts() {
        assert_eq!(size_of::<Entry>() + 2 * size_of::<usize>(), 128);
    }

    #[test]
    fn state_and_last_read_move_forward_only() {
        let entry = Entry::new(
            Seq::new(1),
            Handle::new("h").expect("valid"),
            Key::new([0; 32]),
            DefinitionHash::new(0),
            Relations::default(),
            false,
        );
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
        let entry = Entry::new(
            Seq::new(1),
            Handle::new("h").expect("valid"),
            Key::new([0; 32]),
            DefinitionHash::new(0),
            Relations::default(),
            false,
        );
        assert_eq!(entry.take_unsaved(), None);
        entry.touch(at(9));
        entry.touch(at(5));
        assert_eq!((entry.take_unsaved(), entry.take_unsaved()), (Some(at(9)), None));
        entry.touch(at(7));
        entry.touch(at(9));
        assert_eq!(entry.take_unsaved(), None, "that read is on disk, or a later one");
        entry.learn(at(12));
        assert_eq!((entry.last_read(), entry.take_unsaved()), (Some(at(12)), None));
        entry.not_saved();
        assert_eq!(entry.take_unsaved(), Some(at(12)));
    }
}
