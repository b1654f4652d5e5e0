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
    /// The first and the last of the mutations whose rejection this receipt reports.
    own: Option<(Seq, Seq)>,
    /// Whether a wait requests no flush.
    passive: bool,
    tracker: Arc<DurabilityTracker>,
}

impl Receipt {
    /// Returns the receipt of the mutation with this sequence number.
    pub fn new(seq: Seq, tracker: Arc<DurabilityTracker>) -> Self {
        Self { seq, own: Some((seq, seq)), passive: false, tracker }
    }

    /// Returns a receipt that resolves once every mutation up to `seq` is settled. A permanent rejection is
    /// reported only on the rejected mutation's own receipt.
    pub fn up_to(seq: Seq, tracker: Arc<DurabilityTracker>) -> Self {
        Self { seq, own: None, passive: false, tracker }
    }

    /// The same receipt, which also reports a permanent rejection of the mutation `seq`: the add of a shape,
    /// for example, that the caller relies on.
    pub fn relying_on(self, seq: Seq) -> Self {
        self.relying_on_all(seq, seq)
    }

    /// The same for all mutations from `first` to `last`: those of a removal in bulk. One of their rejections
    /// is reported.
    pub fn relying_on_all(self, first: Seq, last: Seq) -> Self {
        Self { own: Some((first, last)), ..self }
    }

    /// The same receipt, whose waits do not request a flush: the mutation becomes durable with the next flush
    /// that is due anyway. For a caller that wants to know, and has time.
    ///
    /// Blocks: never.
    pub fn passive(self) -> Self {
        Self { passive: true, ..self }
    }

    /// Returns the sequence number of the mutation. For a mutation that had no effect, it is a sequence
    /// number that covers everything the mutation relies on.
    ///
    /// Blocks: never.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns whether the mutation is durable. Never blocks.
    ///
    /// Blocks: short lock.
    pub fn is_durable(&self) -> bool {
        matches!(self.outcome(), Some(Ok(())))
    }

    /// Blocks this thread until the mutation is durable, for up to `timeout`.
    ///
    /// Requests a flush, unless the receipt is [`passive`](Self::passive). All that wait share one commit
    /// (group commit): a flush takes everything that is pending when it begins, and the next one begins when
    /// it ends. While flushes fail, a request shortens a long back-off once, and causes no attempt of its
    /// own.
    ///
    /// An observer that waits on the thread that flushes waits for itself, until the timeout.
    ///
    /// Blocks: waits with a buffer, never without one.
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
        if let Some(outcome) = self.outcome() {
            return outcome;
        }
        self.request_flush();
        loop {
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
    /// Requests a flush when it is first polled; see [`wait_durable`](Self::wait_durable).
    ///
    /// Blocks: short lock.
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
        if let Some(outcome) = self.outcome() {
            return outcome;
        }
        self.request_flush();
        loop {
            let waiter = self.tracker.signal().listen();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            waiter.await;
        }
    }

    fn request_flush(&self) {
        if !self.passive {
            self.tracker.request_flush(self.seq);
        }
    }

    fn outcome(&self) -> Option<Result<(), NotDurable>> {
        self.tracker.outcome(self.seq, self.own)
    }
}
