use std::sync::Arc;

use crate::{Entry, Handle, Record, Seq, SnapshotState};

/// The validated effect of a mutation, as the layers below the validation see it.
///
/// A change identifies its shape by the [`created`](Entry::created) of the entry. It is therefore idempotent,
/// and has no effect on a store from which the shape was removed (I6).
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds a shape with this snapshot state.
    Add {
        /// The shape.
        record: Arc<Record>,
        /// Its state, including the marks that were accepted before the flush.
        state: SnapshotState,
    },
    /// Removes a shape. The entry holds everything that an index needs to remove it.
    Remove {
        /// The shape.
        entry: Arc<Entry>,
    },
    /// Moves the snapshot state of a shape forward.
    Mark {
        /// The shape.
        entry: Arc<Entry>,
        /// The state.
        state: SnapshotState,
    },
    /// A shape that was acknowledged and never committed is gone: it was removed before its first commit, or
    /// its add was rejected. There is nothing to remove, but its stored data has still to be deleted (C12).
    Discard {
        /// The sequence number of its add.
        created: Seq,
        /// Its handle.
        handle: Handle,
    },
    /// Removes all shapes.
    Reset,
}

impl Change {
    /// Returns the entry of the shape that changes; `None` for a reset, and for a shape that was discarded.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Add { record, .. } => Some(&record.entry),
            Self::Remove { entry } | Self::Mark { entry, .. } => Some(entry),
            Self::Discard { .. } | Self::Reset => None,
        }
    }

    /// Returns the memory of the record that this change adds, in bytes. Zero for other changes, which share
    /// what exists already.
    pub fn memory(&self) -> usize {
        match self {
            Self::Add { record, .. } => record.memory(),
            Self::Remove { .. } | Self::Mark { .. } | Self::Discard { .. } | Self::Reset => 0,
        }
    }

    /// Returns the name of the kind, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Remove { .. } => "remove",
            Self::Mark { .. } => "mark",
            Self::Discard { .. } => "discard",
            Self::Reset => "reset",
        }
    }
}

/// Changes that are committed together: everything accepted up to one sequence number (I1).
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The changes, in the order in which they are applied. Adds are in the order of creation.
    pub changes: Vec<Change>,
    /// The sequence number that the store has reached after this batch. A store that has reached it already
    /// skips the batch (I6).
    pub through: Seq,
}
