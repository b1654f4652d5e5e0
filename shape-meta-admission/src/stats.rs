use crate::Kind;

/// What an [`Admission`](crate::Admission) has done so far.
///
/// Both `current` are of one moment, so that a permit which is being moved is counted once. The totals are read
/// beside them, and may be ahead of or behind what is going on at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Of [`Kind::Initial`].
    pub initial: KindStats,
    /// Of [`Kind::Existing`].
    pub existing: KindStats,
}

impl Stats {
    /// Those of this kind.
    pub fn of(&self, kind: Kind) -> KindStats {
        match kind {
            Kind::Initial => self.initial,
            Kind::Existing => self.existing,
        }
    }
}

/// What an [`Admission`](crate::Admission) has done so far for one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindStats {
    /// How many permits were given out, those that were moved here included.
    pub acquired: u64,
    /// How many requests were refused, those that were not moved here included.
    pub rejected: u64,
    /// How many permits are out now.
    pub current: u32,
    /// How many there can be.
    pub limit: u32,
}
