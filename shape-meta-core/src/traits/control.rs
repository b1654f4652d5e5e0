use std::time::Duration;

use crate::{
    Error, Handle, Health, MutateShapes, NotDurable, Receipt, Repaired, Reservation, Result, SnapshotState,
    Usage,
    feed::{Feed, FeedError, FeedOptions},
};

/// Control over the path to disk: flush, pause, health, repair and close. The same for every composition;
/// without a buffer nothing is ever pending, and most methods return at once.
pub trait StoreControl: MutateShapes {
    /// Requests a flush of everything accepted so far, without blocking. Returns the receipt to wait with, as
    /// a thread or as a future.
    ///
    /// Blocks: short lock.
    fn request_flush(&self) -> Receipt;

    /// Flushes everything accepted before this call, and blocks until it is durable.
    ///
    /// Blocks: waits with a buffer, never without one.
    ///
    /// # Errors
    ///
    /// [`NotDurable::TimedOut`] after `timeout`, because flushing is paused, or the disk is slow or failing
    /// ([`health`](Self::health) says which). [`NotDurable::Stopped`] if writing has stopped. A rejected
    /// mutation is reported only on its own receipt.
    fn flush(&self, timeout: Duration) -> Result<(), NotDurable>;

    /// Pauses background flushing. Mutations are accepted up to the bound on pending changes.
    ///
    /// Blocks: disk with a buffer: waits for the flush in progress. Never without one.
    fn pause(&self);

    /// Resumes background flushing after [`pause`](Self::pause), and flushes at once.
    ///
    /// Blocks: short lock.
    fn resume(&self);

    /// Subscribes to the changes of the list of shapes (C15): each of them once, in order, from now on or
    /// [after](FeedOptions::after) a sequence number.
    ///
    /// A subscriber never delays a mutation or a flush, however slow it is: see [`FeedOptions::capacity`].
    ///
    /// Blocks: short lock with a buffer; after a sequence number that memory does not reach back to, disk,
    /// and waits for pending changes to be flushed. Without a buffer disk: waits for the transaction in
    /// progress.
    ///
    /// # Errors
    ///
    /// [`FeedError::ListAnew`] if neither memory nor the change log reaches back to that number,
    /// [`FeedError::Closed`], or a failure of the disk.
    fn subscribe(&self, options: &FeedOptions) -> Result<Feed, FeedError>;

    /// Returns the amount of work that is accepted and not committed yet.
    ///
    /// Blocks: short lock.
    fn pending(&self) -> Pending;

    /// Returns the measured commit rate, in changes per second. Zero before the first flush, and without a
    /// buffer.
    ///
    /// Blocks: short lock.
    fn drain_rate(&self) -> f64;

    /// Returns the health of the store, for probes, gauges and people. Never blocks, and reads no disk.
    ///
    /// Blocks: short lock.
    fn health(&self) -> Health;

    /// Returns the resources that the store uses, for gauges. Never blocks, and reads no disk.
    ///
    /// Blocks: short lock.
    fn usage(&self) -> Usage;

    /// Replaces a damaged database by one that is rebuilt from memory and from the undamaged part of the
    /// file. Then resumes writing and flushes pending changes, also if the damage had stopped writing. The
    /// damaged file is moved aside; nothing of it is deleted.
    ///
    /// Reads continue meanwhile; mutations wait or are refused as busy. Shapes whose definition cannot be
    /// recovered are removed, reported in [`Repaired::lost`], and handed to the cleaner soon. Takes some
    /// seconds per million shapes.
    ///
    /// Blocks: disk.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the store has no file, `Fenced` if the database has a newer owner, `Closed`, and the
    /// error of the disk if that fails or is full. In the last case either the damaged file is still in its
    /// place, or the repair is complete and the flush of pending changes failed. The call can be repeated.
    fn repair(&self) -> Result<Repaired>;

    /// Reserves these handles until the returned value is dropped, and reports which of them are free: an add
    /// of a reserved handle is refused as [`BeingCleaned`](crate::Refusal::BeingCleaned).
    ///
    /// For the deletion of stored data (C12). The reservation is made under the lock under which adds are
    /// validated. So an add that came before it is seen by the look-up, and an add after it is refused: the
    /// stored data of a free handle belongs to no live shape for as long as the reservation lasts.
    ///
    /// Blocks: disk.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. Nothing is reserved then.
    fn reserve_handles(&self, handles: &[Handle]) -> Result<Reservation>;

    /// Stops accepting mutations, flushes pending changes, and reports those that it could not write, within
    /// about `timeout` (C10). Reads continue, as far as the store below allows. Closing again returns the
    /// same report.
    ///
    /// Blocks: waits, up to the time-out.
    fn close(&self, timeout: Duration) -> CloseReport;
}

/// The amount of work that is accepted and not committed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pending {
    /// The number of shapes with pending changes; the bound of a buffer counts these.
    pub shapes: usize,
    /// The number of mutations that are not durable yet. Several may have been coalesced into one change, or
    /// into none.
    pub mutations: u64,
    /// The memory of the pending changes, in bytes.
    pub bytes: usize,
    /// The age of the oldest pending mutation: the most that a crash of the process would lose now.
    pub oldest: Option<Duration>,
    /// The number of live shapes minus the number of shapes on disk.
    pub net: i64,
}

/// The result of closing a store (C10).
#[derive(Clone, Debug, Default)]
pub struct CloseReport {
    /// The number of mutations that closing flushed.
    pub flushed: u64,
    /// The number of mutations that were not written in time. They are lost when the process ends.
    pub unwritten: u64,
    /// The effects of those mutations. Reads show them until the store is dropped.
    pub lost: Vec<Unwritten>,
    /// The failure, if something failed rather than timed out.
    pub error: Option<Error>,
    /// The duration of the close.
    pub took: Duration,
}

impl CloseReport {
    /// Returns whether everything that was accepted is durable.
    pub fn is_complete(&self) -> bool {
        self.unwritten == 0
    }
}

/// The effect of mutations that were not written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unwritten {
    /// The shape was added, in this state.
    Added(Handle, SnapshotState),
    /// The shape was removed.
    Removed(Handle),
    /// The snapshot of the shape reached this state.
    Marked(Handle, SnapshotState),
    /// All shapes were removed.
    Reset,
}
