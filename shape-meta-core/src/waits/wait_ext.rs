use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use super::wait::{block_on, wait_for};
use crate::{Milestone, NotReached, ReadShapes, Receipt, ShapeWaits};

/// A composed store or a standby whose shapes can be waited for, for implementors of layers on top. Callers
/// also import [`AwaitShapesExt`](crate::AwaitShapesExt).
pub trait AwaitShapes: ReadShapes {
    /// Returns the waits that are woken when a shape of this store changes.
    ///
    /// Blocks: never.
    fn shape_waits(&self) -> Arc<ShapeWaits>;

    /// Returns a receipt of all mutations that reads show, or `None` if they show what is on disk alone.
    /// Requests no flush.
    ///
    /// Blocks: never.
    fn shown_receipt(&self) -> Option<Receipt>;
}

/// Waits for callers, over any [`AwaitShapes`].
///
/// # Errors
///
/// [`NotReached::Removed`] as soon as the shape goes, whatever removes it: a removal, a reset, a rejection by
/// the store below, a repair, a refresh or a promotion. Another shape that gets the handle later is another
/// shape. [`NotReached::Closed`] when the store is closed.
pub trait AwaitShapesExt: AwaitShapes {
    /// Waits until the shape with this handle has reached a [`Milestone`] or a
    /// [`SnapshotState`](crate::SnapshotState), as a future of any runtime. Ready at once if it has.
    ///
    /// It is woken by the change, and never polls. Any number of waits is fine: none has a thread, and a
    /// future that is dropped leaves nothing. For a time-out, race it against a timer of the runtime.
    ///
    /// Blocks: as [`metadata`](ReadShapes::metadata), which it reads when it is first polled, and again when
    /// it is woken.
    fn wait_for(
        &self,
        handle: &str,
        milestone: impl Into<Milestone>,
    ) -> impl Future<Output = Result<(), NotReached>> + Send {
        wait_for(self, handle, milestone.into())
    }

    /// [`wait_for`](Self::wait_for) on this thread.
    ///
    /// Blocks: waits for up to `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`NotReached::TimedOut`].
    fn wait_for_timeout(
        &self,
        handle: &str,
        milestone: impl Into<Milestone>,
        timeout: Duration,
    ) -> Result<(), NotReached> {
        let deadline = Instant::now().checked_add(timeout);
        let waited = block_on(wait_for(self, handle, milestone.into()), deadline);
        waited.unwrap_or(Err(NotReached::TimedOut))
    }
}

impl<S: AwaitShapes + ?Sized> AwaitShapesExt for S {}
