use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::gate::{Gate, Passage};
use crate::{Batch, Change, Error, ErrorKind, Handle, Result, Seq};

/// The faults of a [`FailingStore`](super::FailingStore). Clones share their state, and every method can be
/// called from any thread.
///
/// Applies, publishes, reads and saves of last-read times have a queue of faults each. A call takes the fault
/// at the front of its queue, and succeeds when the queue is empty. A commit counts as an apply.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<Script>,
    attempts: AtomicU64,
    applied: AtomicU64,
    /// The highest sequence number of a successful apply.
    committed: AtomicU64,
    changes: AtomicU64,
    reads: AtomicU64,
    max_yields: AtomicU64,
}

#[derive(Debug, Default)]
struct Script {
    applies: VecDeque<Fault>,
    publishes: VecDeque<Fault>,
    reads: VecDeque<Fault>,
    saves: VecDeque<Fault>,
    rejected: HashMap<Handle, RejectedSeq>,
}

/// What one call does instead of succeeding.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Nothing,
    Fail(ErrorKind, Side),
    Panic(Side),
    Block(Passage, Side),
}

/// Whether a fault happens before or after the work of the wrapped store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the work. If the call fails, the work is not done.
    Before,
    /// After the work. The work is done, but the caller gets an error: a commit whose answer is lost.
    After,
}

/// Whether a rejection reports the sequence number of the rejected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectedSeq {
    /// [`Error::rejected_seq`] is the sequence number of the shape.
    Reported,
    /// [`Error::rejected_seq`] is `None`: the caller has to search the batch for the rejected change.
    Omitted,
}

impl Fault {
    fn block(side: Side) -> (Self, Gate) {
        let gate = Gate::closed();
        (Self::Block(gate.passage(), side), gate)
    }
}

impl Faults {
    /// Makes the next `times` applies fail with this kind of error. With [`Side::After`] the batch is
    /// committed all the same.
    pub fn fail_applies(&self, times: usize, kind: ErrorKind, side: Side) {
        self.script().applies.extend((0..times).map(|_| Fault::Fail(kind, side)));
    }

    /// Lets the next `times` applies succeed before the faults that are queued after this call.
    pub fn allow_applies(&self, times: usize) {
        self.script().applies.extend((0..times).map(|_| Fault::Nothing));
    }

    /// Makes the next `times` applies panic.
    pub fn panic_applies(&self, times: usize, side: Side) {
        self.script().applies.extend((0..times).map(|_| Fault::Panic(side)));
    }

    /// Blocks the next apply until the gate is opened.
    #[must_use = "dropping the gate opens it"]
    pub fn block_apply(&self, side: Side) -> Gate {
        let (fault, gate) = Fault::block(side);
        self.script().applies.push_back(fault);
        gate
    }

    /// Makes the next `times` publishes panic.
    pub fn panic_publishes(&self, times: usize, side: Side) {
        self.script().publishes.extend((0..times).map(|_| Fault::Panic(side)));
    }

    /// Blocks the next publish until the gate is opened.
    #[must_use = "dropping the gate opens it"]
    pub fn block_publish(&self, side: Side) -> Gate {
        let (fault, gate) = Fault::block(side);
        self.script().publishes.push_back(fault);
        gate
    }

    /// Rejects every batch with a change of this handle (C8), until [`clear`](Self::clear).
    pub fn reject_handle(&self, handle: &Handle, rejected_seq: RejectedSeq) {
        self.script().rejected.insert(handle.clone(), rejected_seq);
    }

    /// Makes the next `times` saves of last-read times fail with this kind of error.
    pub fn fail_saves(&self, times: usize, kind: ErrorKind) {
        self.script().saves.extend((0..times).map(|_| Fault::Fail(kind, Side::Before)));
    }

    /// Blocks the next save of last-read times until the gate is opened.
    #[must_use = "dropping the gate opens it"]
    pub fn block_save(&self, side: Side) -> Gate {
        let (fault, gate) = Fault::block(side);
        self.script().saves.push_back(fault);
        gate
    }

    /// Makes the next `times` reads, of any kind, fail with this kind of error.
    pub fn fail_reads(&self, times: usize, kind: ErrorKind) {
        self.script().reads.extend((0..times).map(|_| Fault::Fail(kind, Side::Before)));
    }

    /// Blocks the next read, of any kind, until the gate is opened: before it reads, or before it returns.
    #[must_use = "dropping the gate opens it"]
    pub fn block_read(&self, side: Side) -> Gate {
        let (fault, gate) = Fault::block(side);
        self.script().reads.push_back(fault);
        gate
    }

    /// Makes the store slow: each call yields to other threads up to `max_yields` times before and after its
    /// work. Zero, the default, adds no delay.
    pub fn slow_down(&self, max_yields: u64) {
        self.0.max_yields.store(max_yields, Ordering::SeqCst);
    }

    /// Removes all faults that have not happened yet. A call that is already blocked stays blocked.
    pub fn clear(&self) {
        *self.script() = Script::default();
    }

    /// Returns the length of the queue of applies, including those from
    /// [`allow_applies`](Self::allow_applies).
    pub fn queued_applies(&self) -> usize {
        self.script().applies.len()
    }

    /// Returns how often an apply was called.
    pub fn attempts(&self) -> u64 {
        self.0.attempts.load(Ordering::SeqCst)
    }

    /// Returns how many applies the wrapped store completed, including those whose answer was lost.
    pub fn applied(&self) -> u64 {
        self.0.applied.load(Ordering::SeqCst)
    }

    /// Returns how many changes the completed applies contained.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::SeqCst)
    }

    /// Returns how often a read, of any kind, was called.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// Counts an apply, and returns its number with its fault.
    pub(super) fn next_apply(&self) -> (u64, Option<Fault>) {
        let number = self.0.attempts.fetch_add(1, Ordering::SeqCst);
        (number, self.script().applies.pop_front())
    }

    pub(super) fn next_publish(&self) -> Option<Fault> {
        self.script().publishes.pop_front()
    }

    pub(super) fn next_save(&self) -> Option<Fault> {
        self.script().saves.pop_front()
    }

    pub(super) fn committed(&self) -> Seq {
        Seq::new(self.0.committed.load(Ordering::SeqCst))
    }

    pub(super) fn count_applied(&self, batch: &Batch) {
        self.0.committed.fetch_max(batch.through.get(), Ordering::SeqCst);
        self.0.applied.fetch_add(1, Ordering::SeqCst);
        // Discarded shapes change no shape of the store.
        let changes = batch.changes.iter().filter(|change| !matches!(change, Change::Discard { .. }));
        self.0.changes.fetch_add(changes.count() as u64, Ordering::SeqCst);
    }

    /// Returns the error for a batch that contains a rejected handle.
    pub(super) fn rejection(&self, batch: &Batch) -> Option<Error> {
        let script = self.script();
        batch.changes.iter().filter_map(|change| change.entry()).find_map(|entry| {
            let rejection = Error::new(ErrorKind::Rejected, "rejected on purpose by a test");
            match script.rejected.get(entry.handle())? {
                RejectedSeq::Reported => Some(rejection.with_rejected_seq(entry.created())),
                RejectedSeq::Omitted => Some(rejection),
            }
        })
    }

    /// Runs a read with its fault. The lock of the script is not held meanwhile.
    pub(super) fn read<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.0.reads.fetch_add(1, Ordering::SeqCst);
        let fault = self.script().reads.pop_front();
        self.run(fault.as_ref(), number, work)
    }

    /// Runs a call with its fault before or after it.
    pub(super) fn run<T>(
        &self,
        fault: Option<&Fault>,
        number: u64,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        trigger(fault, Side::Before)?;
        self.delay(number);
        let outcome = work()?;
        self.delay(number + 1);
        trigger(fault, Side::After)?;
        Ok(outcome)
    }

    /// Yields a different number of times for each call, so that threads interleave in different places.
    fn delay(&self, number: u64) {
        let max_yields = self.0.max_yields.load(Ordering::Relaxed);
        for _ in 0..number.wrapping_mul(7) % (max_yields + 1) {
            thread::yield_now();
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // No step under this lock can panic half-way.
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a fault happen if it belongs to this side.
fn trigger(fault: Option<&Fault>, now: Side) -> Result<()> {
    match fault {
        Some(Fault::Fail(kind, side)) if *side == now => {
            Err(Error::new(*kind, format!("failed on purpose by a test: {}", kind.name())))
        }
        Some(Fault::Panic(side)) if *side == now => panic!("panicked on purpose by a test"),
        Some(Fault::Block(passage, side)) if *side == now => {
            passage.pass();
            Ok(())
        }
        _ => Ok(()),
    }
}
