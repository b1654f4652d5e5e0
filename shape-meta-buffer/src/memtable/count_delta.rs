use shape_meta_core::{Counts, Entry};

/// A number of live shapes, or the difference between two such numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct CountDelta {
    pub(crate) total: i64,
    pub(crate) indexed: i64,
}

impl CountDelta {
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.total += 1;
        self.indexed += i64::from(entry.is_indexed());
    }

    pub(crate) fn remove(&mut self, entry: &Entry) {
        self.total -= 1;
        self.indexed -= i64::from(entry.is_indexed());
    }

    pub(crate) fn counts(self) -> Counts {
        Counts { total: self.total.max(0) as u64, indexed: self.indexed.max(0) as u64 }
    }
}

impl From<Counts> for CountDelta {
    fn from(counts: Counts) -> Self {
        Self { total: counts.total as i64, indexed: counts.indexed as i64 }
    }
}

impl std::ops::AddAssign for CountDelta {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.indexed += other.indexed;
    }
}

impl std::ops::Sub for CountDelta {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { total: self.total - other.total, indexed: self.indexed - other.indexed }
    }
}
