use crate::Counts;

/// What a store holds, as far as it knows without asking the disk and without waiting for anyone: for gauges. Each
/// layer adds what it knows to what the one below it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// How many shapes are live; `None` if only the disk knows.
    pub shapes: Option<Counts>,
    /// About how many bytes of memory caches hold. What is pending comes besides, see
    /// [`Pending::bytes`](crate::Pending::bytes).
    pub cache_bytes: usize,
    /// The connections to the database; `None` if there is no such thing.
    pub connections: Option<Connections>,
}

/// The connections to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Connections {
    /// Those that are in use.
    pub used: usize,
    /// Those that are open and not in use.
    pub idle: usize,
    /// How many there can be.
    pub max: usize,
    /// Operations that wait for one.
    pub waiting: usize,
}
