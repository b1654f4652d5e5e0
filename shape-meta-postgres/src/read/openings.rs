use shape_meta_core::{Seq, Timestamp};

use crate::format::lineage::Lineage;

/// The times of openings, each with the last sequence number that its owner found. A shape without reads
/// counts as read at the first opening that found it, so eviction begins with the shapes that were found
/// first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openings(Vec<(Seq, Timestamp)>);

impl Openings {
    pub(crate) fn of(lineage: &Lineage) -> Self {
        Self(lineage.openings())
    }

    /// Returns when an owner first found this shape, the last-read time of a shape without reads; `None` if
    /// no owner has found it yet.
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        let at = self.0.partition_point(|(through, _)| *through < id);
        self.0.get(at).map(|(_, at)| *at)
    }

    /// Returns the last sequence number that an owner found.
    pub(crate) fn through(&self) -> Seq {
        self.0.last().map_or(Seq::ZERO, |(through, _)| *through)
    }
}
