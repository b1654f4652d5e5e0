use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use super::wait::{ReadsBelow, block_on, wait_for};
use crate::{Handle, Metadata, Milestone, NotReached, ReadShapes, Receipt, Result, ShapeWaits};

/// A look-up of a shape as a future; see [`AwaitShapes::look_up_elsewhere`].
pub type LookUp = Pin<Box<dyn Future<Output = Result<Option<Metadata>>> + Send>>;

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

    /// Returns a future that does what [`metadata`](ReadShapes::metadata) does on another thread. `None` if
    /// memory answers, so that the look-up is made where it is wanted, or if there is no other thread: the
    /// default.
    ///
    /// Blocks: never.
    fn look_up_elsewhere(&self, handle: &Handle) -> Option<LookUp> {
        let _ = handle;
        None
    }
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
    /// It reads the [`metadata`](ReadShapes::metadata) when it is first polled, and again when it is woken. A
    /// composition of the builder without a cache does so on a thread of the store.
    ///
    /// Blocks: never with a cache; a short lock if changes of the shape are pending, or to pass the look-up
    /// to a thread. A layer that is used alone, without a cache, reads the disk where it is polled.
    fn wait_for(
        &self,
        handle: &str,
        milestone: impl Into<Milestone>,
    ) -> impl Future<Output = Result<(), NotReached>> + Send {
        wait_for(self, handle, milestone.into(), ReadsBelow::Elsewhere)
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
        let waited = block_on(wait_for(self, handle, milestone.into(), ReadsBelow::Here), deadline);
        waited.unwrap_or(Err(NotReached::TimedOut))
    }
}

impl<S: AwaitShapes + ?Sized> AwaitShapesExt for S {}
