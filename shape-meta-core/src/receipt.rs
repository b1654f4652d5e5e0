use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{DurabilityTracker, NotDurable, Seq};

/// What an accepted mutation returns: its place in the order, with which a caller can wait until it is
/// durable. Dropping a receipt is fine: the mutation is accepted either way.
///
/// What durable means depends on the durability mode of the store below.
#[derive(Clone, Debug)]
pub struct Receipt {
    seq: Seq,
    /// The mutation whose rejection would be ours.
    told: Option<Seq>,
    progress: Arc<DurabilityTracker>,
}

impl Receipt {
    /// The receipt of the mutation at this place in the order.
    pub fn new(seq: Seq, progress: Arc<DurabilityTracker>) -> Self {
        Self { seq, told: Some(seq), progress }
    }

    /// The receipt of whoever needs everything up to this place to be settled. That one of those
    /// mutations was refused by the store for good is told to the one that made it, and not here.
    pub fn up_to(seq: Seq, progress: Arc<DurabilityTracker>) -> Self {
        Self { seq, told: None, progress }
    }

    /// The same, for one who relies on the mutation at this place, a shape's add say: if that was refused
    /// for good, it is told.
    pub fn relying_on(self, seq: Seq) -> Self {
        Self { told: Some(seq), ..self }
    }

    /// The place in the order. For a mutation that found things so already, a place by which all that it
    /// relies on is settled.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Whether the mutation is on disk. No wait.
    pub fn is_durable(&self) -> bool {
        matches!(self.outcome(), Some(Ok(())))
    }

    /// Blocks this thread until the mutation is on disk, at most `timeout`. Waiting does not hasten the
    /// flush; ask the buffer to flush if you are in a hurry.
    ///
    /// # Errors
    ///
    /// See [`NotDurable`].
    pub fn wait_durable(&self, timeout: Duration) -> Result<(), NotDurable> {
        let begun = Instant::now();
        let outcome = self.settled_by(begun.checked_add(timeout));
        self.progress.awaited(begun, outcome.as_ref().copied());
        outcome
    }

    fn settled_by(&self, deadline: Option<Instant>) -> Result<(), NotDurable> {
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            // Listen first and look again, so that nothing slips in between.
            let waiter = self.progress.signal().listen();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            if !waiter.wait(deadline) {
                return self.outcome().unwrap_or(Err(NotDurable::TimedOut));
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
        let begun = Instant::now();
        let outcome = self.settled_some_day().await;
        self.progress.awaited(begun, outcome.as_ref().copied());
        outcome
    }

    async fn settled_some_day(&self) -> Result<(), NotDurable> {
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            let waiter = self.progress.signal().listen();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            waiter.await;
        }
    }

    fn outcome(&self) -> Option<Result<(), NotDurable>> {
        self.progress.outcome(self.seq, self.told)
    }
}
