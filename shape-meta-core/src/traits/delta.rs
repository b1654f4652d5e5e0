use std::{sync::Arc, time::Duration};

use crate::{Counts, Entry, Seq, SnapshotState};

/// The changes of a store since a sequence number, with which a mirror at that number catches up.
///
/// It is applied in the order of its fields. Applying changes that a mirror has already is harmless (I6).
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Set if all shapes were removed in between: every shape created at or before this sequence number was
    /// removed.
    pub reset: Option<Seq>,
    /// The removed shapes, by the sequence numbers of their adds.
    pub removed: Vec<Seq>,
    /// The shapes whose snapshot has reached at least this state.
    pub marked: Vec<(Seq, SnapshotState)>,
    /// The live shapes that were added since, in order of creation.
    pub added: Vec<Arc<Entry>>,
    /// The number of shapes after these changes. A mirror checks with it that it has missed none.
    pub counts: Counts,
    /// The sequence number that the store has reached.
    pub through: Seq,
}

/// The result of refreshing a mirror or a standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RefreshReport {
    /// Whether everything was read again, because the change log did not reach back far enough.
    pub full: bool,
    /// The number of shapes that were added.
    pub added: usize,
    /// The number of shapes that were removed.
    pub removed: usize,
    /// The number of shapes whose snapshot state moved forward.
    pub marked: usize,
    /// The sequence number that reads show now.
    pub through: Seq,
    /// The duration of the refresh.
    pub took: Duration,
}

/// The result of saving one part of the last-read times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SweepProgress {
    /// The number of shapes whose last-read time was saved.
    pub shapes: usize,
    /// Whether there are more to save. The next sweep continues from here.
    pub more: bool,
}
