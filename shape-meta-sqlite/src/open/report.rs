use std::time::Duration;

use shape_meta_core::{Counts, Repaired, Seq, StampOutcome};

use crate::DiskIndexes;

/// The result of opening a store: what was found and what was done.
#[derive(Clone, Debug)]
pub struct SqliteOpenReport {
    /// Whether the database was created.
    pub created: bool,
    /// The quarantined database and what was saved of it, if the database was damaged.
    pub quarantined: Option<Repaired>,
    /// The schema version before the open, if the database was migrated.
    pub migrated_from: Option<u32>,
    /// The index tables before the open, if they were built or dropped.
    pub disk_indexes_before: Option<DiskIndexes>,
    /// The number of shapes.
    pub counts: Counts,
    /// The sequence number of the last committed mutation.
    pub last_seq: Seq,
    /// The epoch of this owner: every open has a higher one, and every commit checks it (C11).
    pub epoch: u64,
    /// What was done about shapes with another stamp.
    pub stamp: StampOutcome,
    /// The duration of the open.
    pub took: Duration,
}
