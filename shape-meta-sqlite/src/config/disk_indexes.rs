/// Whether the database can be asked by handle, by key and by relation.
///
/// The index tables are built or dropped when a database is opened the other way than before: building
/// them takes a few seconds for every million shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DiskIndexes {
    /// Index tables on disk. Needed wherever no cache above mirrors them. Their rows lie in the order of
    /// hashes, so every batch touches pages all over them, and the rate of adding falls as they grow.
    #[default]
    Maintained,
    /// None: a cache above answers every look-up. Rows are only ever appended, so the rate of adding does
    /// not depend on how many there are. Look-ups that reach the store all the same are refused with
    /// [`ErrorKind::Unsupported`](shape_meta_core::ErrorKind::Unsupported) rather than answered by
    /// reading the whole table.
    Omitted,
}
