use crate::Counts;

/// The resources that a store uses, as far as it knows them without reading the disk and without blocking.
/// For gauges. Each layer adds its own to those of the layer below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// The number of live shapes; `None` if only the disk knows it.
    pub shapes: Option<Counts>,
    /// The approximate memory of caches, in bytes. Pending changes are not included, see
    /// [`Pending::bytes`](crate::Pending::bytes).
    pub cache_bytes: usize,
    /// The connections to the database; `None` if the store has none.
    pub connections: Option<Connections>,
    /// The size of the database file after the latest commit, in bytes; `None` if there is no file.
    pub database_bytes: Option<u64>,
    /// The size of the write-ahead log after the latest commit, in bytes; `None` if there is no file.
    pub wal_bytes: Option<u64>,
    /// The number of removed shapes whose stored data is not deleted yet; `None` if the store keeps no such
    /// tasks.
    pub cleanup_tasks: Option<u64>,
    /// The number of orphans, stored data without a shape, that wait for a confirmation; `None` if the store
    /// has not looked for any.
    pub waiting_orphans: Option<u64>,
}

/// The connections to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Connections {
    /// The number of connections in use.
    pub used: usize,
    /// The number of open connections that are not in use.
    pub idle: usize,
    /// The maximum number of connections.
    pub max: usize,
    /// The number of operations that wait for a connection.
    pub waiting: usize,
}
