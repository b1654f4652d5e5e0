use std::sync::Arc;

use crate::{Entry, Record, Seq, SnapshotState};

/// The validated, idempotent effect of a mutation: what the layers below the validation see.
///
/// A change says by the entry's [`created`](Entry::created) which shape it means, so applying it again, or
/// applying it to a store in which the shape is gone, does no harm (I6).
#[derive(Clone, Debug)]
pub enum Change {
    /// The shape exists, with this snapshot state.
    Add {
        /// The shape.
        record: Arc<Record>,
        /// Its state; a mark that was accepted before the flush is in it.
        state: SnapshotState,
    },
    /// The shape does not exist. The entry says all that an index must know to forget it.
    Remove {
        /// The shape.
        entry: Arc<Entry>,
    },
    /// The snapshot of the shape has come at least so far.
    Mark {
        /// The shape.
        entry: Arc<Entry>,
        /// The state.
        state: SnapshotState,
    },
    /// No shape exists.
    Reset,
}

impl Change {
    /// The entry of the shape that this change is about; none for a reset.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Add { record, .. } => Some(&record.entry),
            Self::Remove { entry } | Self::Mark { entry, .. } => Some(entry),
            Self::Reset => None,
        }
    }

    /// Bytes of memory of the record that it adds; nothing for other changes, which only share what is there.
    pub fn memory(&self) -> usize {
        match self {
            Self::Add { record, .. } => record.memory(),
            Self::Remove { .. } | Self::Mark { .. } | Self::Reset => 0,
        }
    }

    /// The name of the kind, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Remove { .. } => "remove",
            Self::Mark { .. } => "mark",
            Self::Reset => "reset",
        }
    }
}

/// Changes that are committed together: everything accepted up to one point in the order (I1).
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The changes, to be applied in this order.
    pub changes: Vec<Change>,
    /// The point in the order. A store that has applied it already skips the batch (I6).
    pub through: Seq,
}
