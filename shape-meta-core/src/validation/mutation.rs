use std::sync::Arc;

use crate::{
    Definition, DefinitionHash, Entry, Handle, Key, Record, Relations, Removal, Seq, SnapshotState, Timestamp,
};

/// A shape to add: a [`Record`] without its sequence number.
///
/// Cloning it is cheap: the definition is shared.
#[derive(Clone, Debug)]
pub struct NewShape {
    /// The handle of the new shape.
    pub handle: Handle,
    /// The identity of the definition.
    pub key: Key,
    /// The hash of the definition.
    pub hash: DefinitionHash,
    /// The tables that the shape reads.
    pub relations: Relations,
    /// The keys of the definitions that this one depends on.
    pub dependencies: Box<[Key]>,
    /// Whether the filter can be answered from an index; see [`Definition::is_indexed`].
    pub indexed: bool,
    /// The encoded definition.
    pub definition: Arc<[u8]>,
    /// When the shape was created, if that was in another database: an import keeps it. `None` means now. A
    /// time that is later than now counts as now.
    pub created_at: Option<Timestamp>,
}

impl NewShape {
    /// Returns the shape with this handle and definition. Computes the key, unless the definition is
    /// [`Keyed`](crate::Keyed), and encodes the definition: call it outside of locks.
    pub fn of(handle: Handle, definition: &impl Definition) -> Self {
        let key = definition.key();
        Self {
            handle,
            hash: key.definition_hash(),
            key,
            relations: definition.relations().into(),
            dependencies: definition.dependencies().into(),
            indexed: definition.is_indexed(),
            definition: definition.encode().into(),
            created_at: None,
        }
    }

    /// Returns the record of this shape, created with sequence number `created`, and now unless the shape
    /// says otherwise. Reads the clock.
    pub fn record(&self, created: Seq) -> Record {
        let now = Timestamp::now();
        let created_at = self.created_at.map_or(now, |at| at.min(now));
        let entry = Entry::new(
            created,
            self.handle.clone(),
            self.key,
            self.hash,
            self.relations.clone(),
            self.indexed,
        );
        Record {
            entry: Arc::new(entry.with_created_at(Some(created_at))),
            dependencies: self.dependencies.clone(),
            definition: Arc::clone(&self.definition),
        }
    }
}

/// A change as the caller requests it. Validation turns it into a [`Change`](crate::Change), or refuses it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mutation {
    /// Adds a shape. Refused if its handle or its key is live.
    Add(NewShape),
    /// Removes the shape with this handle. Handle and key are free at once (C3). Refused if the handle is not
    /// live.
    Remove(String),
    /// Removes the shape with this handle, unless it was read at this time or later: then it is refused as
    /// [`Refusal::ReadSince`](crate::Refusal::ReadSince). For eviction. A shape that was never read is
    /// removed.
    RemoveUnread {
        /// The handle.
        handle: String,
        /// The time.
        since: Timestamp,
        /// Which shape it is, by [`Metadata::created`](crate::Metadata::created): another one that has got
        /// the handle meanwhile is refused as unknown. `None` for any.
        shape: Option<Seq>,
    },
    /// Removes several shapes in one step. Each of them has a sequence number of its own, without a gap, in
    /// the order of creation; the receipt is for all. Has no effect if none is live.
    RemoveAll(Removal),
    /// Moves the snapshot state of this handle forward to [`SnapshotState::Started`] or
    /// [`SnapshotState::Complete`]. Refused if the handle is not live. Has no effect if the snapshot has
    /// reached this state already.
    Mark(String, SnapshotState),
    /// Removes every shape.
    Reset,
}

impl Mutation {
    /// Returns the mutation that removes the shape with this handle.
    pub fn remove(handle: impl Into<String>) -> Self {
        Self::Remove(handle.into())
    }

    /// Returns the mutation that removes the shape with this handle, unless it was read at `since` or later.
    pub fn remove_unread(handle: impl Into<String>, since: Timestamp) -> Self {
        Self::RemoveUnread { handle: handle.into(), since, shape: None }
    }

    /// Returns the mutation that marks the snapshot of this handle as started.
    pub fn snapshot_started(handle: impl Into<String>) -> Self {
        Self::Mark(handle.into(), SnapshotState::Started)
    }

    /// Returns the mutation that marks the snapshot of this handle as complete.
    pub fn snapshot_complete(handle: impl Into<String>) -> Self {
        Self::Mark(handle.into(), SnapshotState::Complete)
    }

    /// Returns the handle of the shape that is mutated; `None` for a removal in bulk, and for a reset.
    pub fn handle(&self) -> Option<&str> {
        match self {
            Self::Add(shape) => Some(&shape.handle),
            Self::Remove(handle) | Self::RemoveUnread { handle, .. } | Self::Mark(handle, _) => Some(handle),
            Self::RemoveAll(_) | Self::Reset => None,
        }
    }

    /// Whether it concerns shapes that it does not name, so that it is validated against all of them.
    pub(crate) fn is_of_many(&self) -> bool {
        matches!(self, Self::RemoveAll(_) | Self::Reset)
    }
}
