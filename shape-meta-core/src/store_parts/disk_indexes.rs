/// Whether the database itself answers look-ups by handle, by key and by relation.
///
/// An open with another value than the last one builds or drops the index rows. Building takes a few seconds
/// for every million shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DiskIndexes {
    /// The index rows are kept on disk. Needed unless a cache above mirrors the look-ups. They are ordered by
    /// hash, so every batch writes pages all over them. An add costs about twice as much, and the rate of
    /// adds falls as they grow.
    #[default]
    Maintained,
    /// There are no index rows: a cache above answers every look-up. Rows are only appended, so the rate of
    /// adds does not depend on their number. A look-up that reaches the store fails with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), since it would read the whole table.
    Omitted,
}

impl DiskIndexes {
    /// Returns the value for a database that has index rows, or none.
    pub fn of(maintained: bool) -> Self {
        if maintained { Self::Maintained } else { Self::Omitted }
    }

    /// Returns whether the database has index rows.
    pub fn is_maintained(self) -> bool {
        self == Self::Maintained
    }
}
