use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{DurabilityTracker, NotDurable, Seq};

/// The receipt of an accepted mutation: its sequence number, and a way to wait until it is durable. Dropping
/// a receipt has no effect on the mutation.
///
/// The durability mode of the store below defines what durable means.
#[derive(Clone, Debug)]
pub struct Receipt {
    seq: Seq,
    /// The mutation whose rejection this receipt reports.
    own: Option<Seq>,
    tracker: Arc<DurabilityTracker>,
}

impl Receipt {
    /// Returns the receipt of the mutation with this sequence number.
    pub fn new(seq: Seq, tracker: Arc<DurabilityTracker>) -> Self {
        Self { seq, own: Some(seq), tracker }
    }

    /// Returns a receipt that resolves once every mutation up to `seq` is settled. A permanent rejection is
    /// reported only on the rejected mutation's own receipt.
    pub fn up_to(seq: Seq, tracker: Arc<DurabilityTracker>) -> Self {
        Self { seq, own: None, tracker }
    }

    /// The same receipt, which also reports a permanent rejection of the mutation `seq`: the add of a shape,
    /// for example, that the caller relies on.
    pub fn relying_on(self, seq: Seq) -> Self {
        Self { own: Some(seq), ..self }
    }

    /// Returns the sequence number of the mutation. For a mutation that had no effect, it is a sequence
    /// number that covers everything the mutation relies on.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns whether the mutation is durable. Never blocks.
    pub fn is_durable(&self) -> bool {
        matches!(self.outcome(), Some(Ok(())))
    }

    /// Blocks this thread until the mutation is durable, for up to `timeout`. Waiting does not trigger a
    /// flush; [`request_flush`](crate::StoreControl::request_flush) does.
    ///
    /// # Errors
    ///
    /// See [`NotDurable`].
    pub fn wait_durable(&self, timeout: Duration) -> Result<(), NotDurable> {
        let begun = Instant::now();
        let outcome = self.wait_until(begun.checked_add(timeout));
        self.tracker.emit_wait(begun, outcome.as_ref().copied());
        outcome
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<(), NotDurable> {
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            // Listen, then check again: what is settled in between is not missed.
            let waiter = self.tracker.signal().listen();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            if !waiter.wait(deadline) {
                return self.outcome().unwrap_or(Err(NotDurable::TimedOut));
            }
        }
    }

    /// Waits until the mutation is durable, as a future that is independent of the runtime. The future can be
    /// dropped at any time; for a time-out, race it against a timer of the runtime.
    ///
    /// # Errors
    ///
    /// See [`NotDurable`].
    pub async fn durable(&self) -> Result<(), NotDurable> {
        let begun = Instant::now();
        let outcome = self.outcome_async().await;
        self.tracker.emit_wait(begun, outcome.as_ref().copied());
        outcome
    }

    async fn outcome_async(&self) -> Result<(), NotDurable> {
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            let waiter = self.tracker.signal().listen();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            waiter.await;
        }
    }

    fn outcome(&self) -> Option<Result<(), NotDurable>> {
        self.tracker.outcome(self.seq, self.own)
    }
}
