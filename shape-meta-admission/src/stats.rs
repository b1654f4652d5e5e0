use crate::Kind;

/// The counts of an [`Admission`](crate::Admission) since it was created.
///
/// Both `current` values are read in one step, so that a permit that is being moved is counted once. The
/// totals are read separately, and may be ahead of them or lag them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The counts of [`Kind::Initial`].
    pub initial: KindStats,
    /// The counts of [`Kind::Existing`].
    pub existing: KindStats,
}

impl Stats {
    /// Returns the counts of this kind.
    pub fn of(&self, kind: Kind) -> KindStats {
        match kind {
            Kind::Initial => self.initial,
            Kind::Existing => self.existing,
        }
    }
}

/// The counts of an [`Admission`](crate::Admission) for one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindStats {
    /// The number of permits that were acquired, including those moved to this kind.
    pub acquired: u64,
    /// The number of requests that were rejected, including failed moves to this kind.
    pub rejected: u64,
    /// The number of permits that are held now.
    pub current: u32,
    /// The maximum number of permits.
    pub limit: u32,
}
