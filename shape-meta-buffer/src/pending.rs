use std::time::Duration;

/// What is acknowledged and not on disk yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pending {
    /// Shapes with pending changes: what [`max_changes`](crate::BufferOptions::max_changes) bounds.
    pub changes: usize,
    /// Mutations that wait to become durable; several may have come to one change, or to none.
    pub mutations: u64,
    /// Bytes of memory that they take.
    pub bytes: usize,
    /// The age of the oldest of them: what a crash of the process would lose now, at most.
    pub oldest: Option<Duration>,
    /// How many shapes more (or fewer) there are than on disk.
    pub net: i64,
}
