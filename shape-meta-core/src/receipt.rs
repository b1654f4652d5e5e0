use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{NotDurable, Progress, Seq};

/// What an accepted mutation returns: its place in the order, with which a caller can wait until it is
/// durable. Dropping a receipt is fine: the mutation is accepted either way.
///
/// What durable means depends on the durability mode of the store below.
#[derive(Clone, Debug)]
pub struct Receipt {
    seq: Seq,
    progress: Arc<Progress>,
}

impl Receipt {
    /// The receipt for this place in the order.
    pub fn new(seq: Seq, progress: Arc<Progress>) -> Self {
        Self { seq, progress }
    }

    /// The place in the order. For a mutation that found things so already, the place of the latest
    /// mutation before it: durable once everything is that it relied on.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Whether the mutation is on disk. No wait.
    pub fn is_durable(&self) -> bool {
        matches!(self.progress.outcome(self.seq), Some(Ok(())))
    }

    /// Blocks this thread until the mutation is on disk, at most `timeout`. Waiting does not hasten the
    /// flush; ask the buffer to flush if you are in a hurry.
    ///
    /// # Errors
    ///
    /// See [`NotDurable`].
    pub fn wait_durable(&self, timeout: Duration) -> Result<(), NotDurable> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(outcome) = self.progress.outcome(self.seq) {
                return outcome;
            }
            // Listen first and look again, so that nothing slips in between.
            let waiter = self.progress.signal().listen();
            if let Some(outcome) = self.progress.outcome(self.seq) {
                return outcome;
            }
            if !waiter.wait(deadline) {
                return self.progress.outcome(self.seq).unwrap_or(Err(NotDurable::TimedOut));
            }
        }
    }

    /// Waits, as a future of any runtime, until the mutation is on disk. Dropping the future is fine;
    /// for a time-out, race it against a timer of your runtime.
    ///
    /// # Errors
    ///
    /// See [`NotDurable`].
    pub async fn durable(&self) -> Result<(), NotDurable> {
        loop {
            if let Some(outcome) = self.progress.outcome(self.seq) {
                return outcome;
            }
            let waiter = self.progress.signal().listen();
            if let Some(outcome) = self.progress.outcome(self.seq) {
                return outcome;
            }
            waiter.await;
        }
    }
}
