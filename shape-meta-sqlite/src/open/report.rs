use std::time::Duration;

use shape_meta_core::{Counts, Repaired, Seq};

use crate::DiskIndexes;

/// What opening a store found and did.
#[derive(Clone, Debug)]
pub struct SqliteOpenReport {
    /// Whether the database was created.
    pub created: bool,
    /// The damaged database that was moved aside for it, if there was one, and what was saved of it.
    pub quarantined: Option<Repaired>,
    /// The schema version from which the file was migrated, if it was.
    pub migrated_from: Option<u32>,
    /// The look-ups that were there before, if they were built or dropped.
    pub disk_indexes_before: Option<DiskIndexes>,
    /// How many shapes are in it.
    pub counts: Counts,
    /// How far its order has come.
    pub last_seq: Seq,
    /// The turn of this owner: every opening has a higher one, and every commit checks it (C11).
    pub epoch: u64,
    /// How long it took.
    pub took: Duration,
}
