/// Which look-ups the database answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DiskIndexes {
    /// All of them. An add costs about twice as much.
    #[default]
    Maintained,
    /// Only those by sequence number. Look-ups by handle, key and relation fail with
    /// [`Unsupported`](shape_meta_core::ErrorKind::Unsupported). For stores under a cache that mirrors all
    /// look-ups.
    Omitted,
}

impl DiskIndexes {
    pub(crate) fn of(maintained: bool) -> Self {
        if maintained { Self::Maintained } else { Self::Omitted }
    }

    pub(crate) fn is_maintained(self) -> bool {
        self == Self::Maintained
    }
}
