use std::error::Error;

use shape_meta_core::Handle;

/// The error of a [`ShapeCleaner`].
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The caller's hook that deletes the stored data (logs, snapshots) of shapes whose metadata is gone.
///
/// A store needs a cleaner to open, because opening includes recovery: shapes whose snapshot is not complete
/// are removed from the metadata and handed to the cleaner. It runs on the opening thread, before any
/// mutation is accepted.
///
/// Handles that were not confirmed before the process died are handed out again at the next open. So deleting
/// data that is already gone must succeed.
pub trait ShapeCleaner: Send + Sync {
    /// Deletes the stored data of these shapes.
    ///
    /// # Errors
    ///
    /// The store then does not open, and the next open hands out the same handles again.
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError>;

    /// Deletes the stored data of all shapes: no valid shape is left.
    ///
    /// Not called after a damaged database was quarantined, even if no shape is left: the shapes in the
    /// damaged file may still be saved, and their stored data with them.
    ///
    /// # Errors
    ///
    /// The store then does not open.
    fn clean_all(&self) -> Result<(), BoxError>;
}

/// A cleaner that does nothing, for callers that store no data for shapes: tests, examples, tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopCleaner;

impl ShapeCleaner for NoopCleaner {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        Ok(())
    }

    fn clean_all(&self) -> Result<(), BoxError> {
        Ok(())
    }
}
