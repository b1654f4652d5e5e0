/// How the database file is shared between connections.
///
/// | mode | readers beside the writer | journal | for |
/// |---|---|---|---|
/// | [`Wal`](Self::Wal) | a pool of connections | write-ahead log | local disks |
/// | [`Exclusive`](Self::Exclusive) | none: one connection serves all, one after the other | rollback | network file systems |
///
/// A database can be reopened in the other mode at any time. A third one, in memory alone, has no file
/// and so a constructor of its own: [`SqliteStore::open_in_memory`](crate::SqliteStore::open_in_memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// One writing connection and a pool of reading ones. Readers never wait for the writer. Needs
    /// shared memory between the connections, which network file systems do not give.
    #[default]
    Wal,
    /// One connection that keeps the file locked for as long as the store is open. Reads wait for
    /// writes, and a scan or a load holds the connection until it is read to its end.
    Exclusive,
}
