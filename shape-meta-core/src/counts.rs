/// How many shapes are live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// All live shapes.
    pub total: u64,
    /// Those whose filter the engine can answer from an index; see
    /// [`Definition::is_indexed`](crate::Definition::is_indexed).
    pub indexed: u64,
}

impl Counts {
    /// Those whose filter has to be evaluated for every change of their table.
    pub fn unindexed(&self) -> u64 {
        self.total - self.indexed
    }

    /// Counts one shape more.
    pub fn add(&mut self, indexed: bool) {
        self.total += 1;
        self.indexed += u64::from(indexed);
    }

    /// Counts one shape less.
    pub fn remove(&mut self, indexed: bool) {
        self.total -= 1;
        self.indexed -= u64::from(indexed);
    }
}
