/// Whether the database has index tables for look-ups by handle, by key and by relation.
///
/// An open with another value than the last one builds or drops them. Building takes a few seconds for every
/// million shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DiskIndexes {
    /// The index tables are kept on disk. Needed unless a cache above mirrors the look-ups. Their rows are
    /// ordered by hash, so every batch writes pages all over them, and the rate of adds falls as they grow.
    #[default]
    Maintained,
    /// There are no index tables: a cache above answers every look-up. Rows are only appended, so the rate of
    /// adds does not depend on their number. A look-up that reaches the store fails with
    /// [`ErrorKind::Unsupported`](shape_meta_core::ErrorKind::Unsupported), since it would read the whole
    /// table.
    Omitted,
}
