use crate::{DefinitionHash, Seq, SnapshotState, Timestamp};

/// The small facts about a live shape that a sync engine asks for on every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The place of the shape's add in the order. It tells two shapes apart that had the same handle one
    /// after the other, and orders shapes by age.
    pub created: Seq,
    /// The check of the definition: a request whose definition has another one asks for another shape.
    pub hash: DefinitionHash,
    /// How far the snapshot has come.
    pub state: SnapshotState,
    /// When the shape was last read; `None` while it was only created. A shape that was found at open
    /// counts as read at that moment.
    pub last_read: Option<Timestamp>,
}
