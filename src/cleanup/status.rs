use shape_meta_core::{Error, Handle};

/// The state of the deletion of stored data.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CleanupStatus {
    /// The number of removed shapes whose stored data is not deleted yet.
    pub tasks: u64,
    /// The number of failed attempts since the last pass over all tasks that had none.
    pub failures: u32,
    /// The latest failure, kept after later attempts have succeeded.
    pub last_error: Option<Error>,
    /// The result of the latest sweep; `None` before it has ended, and if the cleaner does not say what is
    /// stored.
    pub sweep: Option<OrphanSweep>,
}

/// The result of comparing stored data with the shapes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OrphanSweep {
    /// The number of handles with stored data.
    pub stored: u64,
    /// The number of orphans: handles with stored data and without a shape.
    pub orphans: u64,
    /// The first few orphans.
    pub sample: Vec<Handle>,
    /// Whether the orphans wait for [`ShapeMeta::confirm_orphans`](crate::ShapeMeta::confirm_orphans).
    /// Otherwise they were handed to the cleaner.
    pub waits_for_confirmation: bool,
}
