use crate::{
    format::{lineage::Lineage, meta::Meta},
    ownership::file_id::FileId,
};

/// A position in the history of one database: an opening of it, and a sequence number that this opening had
/// committed (C13). A sequence number alone means nothing: in a copy that was put back, the same number
/// stands for other mutations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    meta: Meta,
    /// The file in which it was read; `None` where the identities are enough.
    file: Option<FileId>,
}

impl Position {
    pub(crate) fn new(meta: Meta, file: Option<FileId>) -> Self {
        Self { meta, file }
    }

    /// Whether the database at `found`, whose openings are `lineage`, contains everything that was committed
    /// up to this position, and nothing else up to there.
    pub(crate) fn is_followed_by(&self, found: &Self, lineage: &Lineage) -> bool {
        let seq = self.meta.last_seq;
        let (Some(database), Some(opening)) = (self.meta.database, self.meta.opening) else {
            return self.file == found.file && self.is_followed_without_identities(&found.meta, lineage);
        };
        found.meta.database == Some(database) && lineage.contains(opening, seq, found.meta.last_seq)
    }

    /// The rule for a database of an earlier schema version, and for a copy without an owner: the same file,
    /// under the same epoch, or in its first opening that made identities.
    fn is_followed_without_identities(&self, found: &Meta, lineage: &Lineage) -> bool {
        let seq = self.meta.last_seq;
        match found.opening {
            None => found.epoch == self.meta.epoch && seq <= found.last_seq,
            Some(_) => lineage.begins_after(self.meta.epoch, seq),
        }
    }
}
