use std::error::Error;

use shape_meta_core::Handle;

/// What a [`ShapeCleaner`] may fail with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The caller's hook that deletes the stored data of shapes (their logs, their snapshots) which the
/// metadata does not know any more.
///
/// It has to exist before a store can open, because opening is when a crash's remains are put in order:
/// shapes whose snapshot was not complete are removed from the metadata, and handed to it. It runs on the
/// opening thread, before anyone can add a shape.
///
/// What it has not finished when the process dies is handed to it again at the next open. So deleting what
/// is gone already must succeed.
pub trait ShapeCleaner: Send + Sync {
    /// Deletes the stored data of these shapes.
    ///
    /// # Errors
    ///
    /// Then the store does not open; all of these handles are handed out again at the next attempt.
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError>;

    /// Deletes the stored data of every shape there is: no valid shape is left.
    ///
    /// Not called after a damaged database was moved aside, although no shape is left then: what the
    /// damaged file knew may yet be saved, and the stored data with it.
    ///
    /// # Errors
    ///
    /// Then the store does not open.
    fn clean_all(&self) -> Result<(), BoxError>;
}

/// The cleaner of those who store no data for shapes: tests, examples, tools.
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
