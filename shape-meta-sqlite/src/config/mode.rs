/// The way in which connections share the database file.
///
/// | mode | concurrent readers | journal | for |
/// |---|---|---|---|
/// | [`Wal`](Self::Wal) | a pool of connections | write-ahead log | local disks |
/// | [`Exclusive`](Self::Exclusive) | none: one connection serves all reads and writes in turn | rollback | network file systems |
///
/// A database can be reopened in the other mode at any time. A database in memory has no file, and so a
/// constructor of its own: [`SqliteStore::open_in_memory`](crate::SqliteStore::open_in_memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// One writer and a pool of readers. Readers never wait for the writer. Needs shared memory between the
    /// connections, which network file systems do not provide.
    #[default]
    Wal,
    /// One connection, which keeps the file locked for as long as the store is open. Reads wait for writes,
    /// and a scan or a load holds the connection until it ends.
    Exclusive,
}
