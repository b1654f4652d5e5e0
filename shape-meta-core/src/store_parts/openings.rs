use crate::{Seq, Timestamp};

/// The times of openings, each with the last sequence number that its owner found. A shape without reads
/// counts as read at the first opening that found it, so eviction begins with the shapes that were found
/// first.
///
/// A row for each shape instead would cost an open a second for every million shapes.
#[derive(Clone, Debug, Default)]
pub struct Openings(Vec<(Seq, Timestamp)>);

impl Openings {
    /// The openings in these rows, in the order of sequence numbers. Their times ascend: one that is later
    /// than now, or than that of a later opening, comes from a clock that was ahead, and counts as the
    /// latter. O(rows).
    pub fn new(rows: impl DoubleEndedIterator<Item = (Seq, Timestamp)>) -> Self {
        let mut latest = Timestamp::now();
        let mut openings: Vec<_> = rows
            .rev()
            .map(|(through, at)| {
                latest = latest.min(at);
                (through, latest)
            })
            .collect();
        openings.reverse();
        // The first opening that found a shape counts.
        openings.dedup_by_key(|(through, _)| *through);
        Self(openings)
    }

    /// Returns the openings that found new shapes, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = (Seq, Timestamp)> {
        self.0.iter().copied()
    }

    /// Returns when an owner first found this shape, the last-read time of a shape without reads; `None` if
    /// no owner has found it yet. O(log openings).
    pub fn last_read(&self, id: Seq) -> Option<Timestamp> {
        let at = self.0.partition_point(|(through, _)| *through < id);
        self.0.get(at).map(|(_, at)| *at)
    }

    /// Returns the last sequence number that an owner found.
    pub fn through(&self) -> Seq {
        self.0.last().map_or(Seq::ZERO, |(through, _)| *through)
    }
}
