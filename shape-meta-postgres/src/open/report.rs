use std::time::Duration;

use shape_meta_core::{Counts, Seq, StampOutcome};

use crate::DiskIndexes;

/// The result of opening a store: what was found and what was done.
#[derive(Clone, Debug)]
pub struct PostgresOpenReport {
    /// Whether the stack was created.
    pub created: bool,
    /// The schema version before the open, if the tables were migrated; 0 if they were created.
    pub migrated_from: Option<u32>,
    /// The look-ups before the open, if they were built or deleted.
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
