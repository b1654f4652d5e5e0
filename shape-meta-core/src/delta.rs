use std::{sync::Arc, time::Duration};

use crate::{Counts, Entry, Seq, SnapshotState};

/// What has changed in a store since a place in its order: all that a mirror lacks which shows that place.
///
/// It is applied in the order of its fields. A mirror that has some of it already loses nothing by applying
/// all of it (I6).
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Everything was removed in between: the shapes whose place is not after this one are gone.
    pub reset: Option<Seq>,
    /// Shapes that are gone, by the places of their adds.
    pub removed: Vec<Seq>,
    /// Shapes whose snapshot has come at least so far.
    pub marked: Vec<(Seq, SnapshotState)>,
    /// The live shapes that were added after the place, in the order of creation.
    pub added: Vec<Arc<Entry>>,
    /// How many shapes there are now: with which a mirror can check that it has not missed any.
    pub counts: Counts,
    /// How far the order has come now.
    pub through: Seq,
}

/// What refreshing a mirror, or a standby, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RefreshReport {
    /// Whether everything had to be read again, because it was not known what had changed.
    pub full: bool,
    /// Shapes that were not there before.
    pub added: usize,
    /// Shapes that are gone.
    pub removed: usize,
    /// Shapes whose snapshot has come further.
    pub marked: usize,
    /// The place in the order that reads show now.
    pub through: Seq,
    /// How long it took.
    pub took: Duration,
}

/// What one turn of saving last-read times came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SweepProgress {
    /// How many times it has saved.
    pub shapes: usize,
    /// Whether there are more: the next turn goes on from here.
    pub more: bool,
}
