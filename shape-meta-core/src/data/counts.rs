/// The number of live shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// All live shapes.
    pub total: u64,
    /// The shapes whose filter the engine can answer from an index; see
    /// [`Definition::is_indexed`](crate::Definition::is_indexed).
    pub indexed: u64,
}

impl Counts {
    /// Returns the number of shapes whose filter the engine evaluates for every change of their table.
    pub fn unindexed(&self) -> u64 {
        self.total - self.indexed
    }

    /// Adds one shape.
    pub fn add(&mut self, indexed: bool) {
        self.total += 1;
        self.indexed += u64::from(indexed);
    }

    /// Subtracts one shape.
    pub fn remove(&mut self, indexed: bool) {
        self.total -= 1;
        self.indexed -= u64::from(indexed);
    }
}
