use std::time::Duration;

use crate::{
    Error, Handle, Health, MutateShapes, NotDurable, Receipt, Repaired, Result, SnapshotState, Usage,
};

/// What a caller can ask of the way to disk: the same for a composition that has a buffer and for one that
/// has none, where most of it is true at once.
pub trait StoreControl: MutateShapes {
    /// Asks for everything that is accepted by now to be written, without waiting, and returns the receipt
    /// to wait with, as a thread or as a future.
    fn request_flush(&self) -> Receipt;

    /// Waits until everything accepted before this call is on disk, and hastens it.
    ///
    /// # Errors
    ///
    /// [`NotDurable::TimedOut`] if it is not by then, because the disk is slow or failing
    /// ([`health`](Self::health) says which), or flushing is paused; [`NotDurable::Stopped`] if nothing
    /// will be written any more. What was rejected on the way is told by its own receipt.
    fn flush(&self, timeout: Duration) -> Result<(), NotDurable>;

    /// Holds background flushing up. Mutations are accepted up to the bound.
    fn pause(&self);

    /// Goes on after [`pause`](Self::pause). What was held up is written at once.
    fn resume(&self);

    /// What is acknowledged and not on disk yet.
    fn pending(&self) -> Pending;

    /// The measured rate of writing, in changes a second; zero before the first flush, or without a buffer.
    fn drain_rate(&self) -> f64;

    /// How the store does: for probes, gauges and people. From memory, at once.
    fn health(&self) -> Health;

    /// What the store holds: for gauges. From memory, at once.
    fn usage(&self) -> Usage;

    /// Puts a fresh database in the place of one that was found damaged, with all that memory and the damaged file
    /// hold, and goes on with writing, also if the damage had stopped it: what is pending is written. The damaged
    /// file is moved aside, and nothing of it deleted.
    ///
    /// Reads go on meanwhile; mutations wait or are refused as busy. Shapes whose definition cannot be had are
    /// removed and reported, and handed to the cleaner at the next open. Takes some seconds for every million shapes.
    ///
    /// # Errors
    ///
    /// `Unsupported` if nothing below has a file, `Fenced` if it has another owner by now, `Closed`, and if the disk
    /// fails or is full: then the damaged file is in its place, or the repair is done and something pending could not be
    /// written. It can be tried again.
    fn repair(&self) -> Result<Repaired>;

    /// Accepts no more mutations, writes what is pending, and reports what it could not write, all within
    /// about this time (C10). Reads go on until the store is dropped. Closing again returns the same report.
    fn close(&self, timeout: Duration) -> CloseReport;
}

/// What is acknowledged and not on disk yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pending {
    /// Shapes with pending changes: what the bound of a buffer counts.
    pub shapes: usize,
    /// Mutations that wait to become durable; several may have come to one change, or to none.
    pub mutations: u64,
    /// Bytes of memory that they take.
    pub bytes: usize,
    /// The age of the oldest of them: what a crash of the process would lose now, at most.
    pub oldest: Option<Duration>,
    /// How many shapes more (or fewer) there are than on disk.
    pub net: i64,
}

/// What closing came to (C10).
#[derive(Clone, Debug, Default)]
pub struct CloseReport {
    /// How many mutations closing has written.
    pub flushed: u64,
    /// How many mutations it could not write in time. They are lost when the process ends.
    pub unwritten: u64,
    /// The changes that those came to. Until the store is dropped, reads still show them.
    pub lost: Vec<Unwritten>,
    /// Why, if something failed rather than took too long.
    pub error: Option<Error>,
    /// How long it took.
    pub took: Duration,
}

impl CloseReport {
    /// Whether all that was accepted is on disk.
    pub fn is_complete(&self) -> bool {
        self.unwritten == 0
    }
}

/// A change that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unwritten {
    /// The shape was added, in this state.
    Added(Handle, SnapshotState),
    /// The shape was removed.
    Removed(Handle),
    /// The snapshot of the shape has come so far.
    Marked(Handle, SnapshotState),
    /// Everything was removed.
    Reset,
}
