use crate::{DefinitionHash, Seq, SnapshotState, Timestamp};

/// The facts about a live shape that a sync engine needs on every request. A copy; it does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The sequence number of the shape's add. It distinguishes two shapes that had the same handle one after
    /// the other, and orders shapes by age.
    pub created: Seq,
    /// When the shape was accepted, by the clock of the machine that did so; `None` if it is unknown, because
    /// a version that did not store it has made the shape.
    pub created_at: Option<Timestamp>,
    /// The hash of the definition. A request whose definition has a different hash means a different shape.
    pub hash: DefinitionHash,
    /// The state of the snapshot.
    pub state: SnapshotState,
    /// When the shape was last read; `None` if it was never read since its creation. A shape without a saved
    /// time counts as read when the store is opened.
    pub last_read: Option<Timestamp>,
}
