//! A store that fails on command.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    Batch, ChangeLog, Delta, Entry, Error, ErrorKind, Handle, LastReadStore, ReadShapes, RebuildStore,
    Record, Repaired, Result, Seq, ShapeStore, ShapeStoreExt, SweepProgress, Timestamp, TrustedState, Usage,
    forward_reads,
};

/// A store that does what the one below it does, unless its [`Faults`] say otherwise.
#[derive(Debug)]
pub struct FailingStore<S> {
    inner: S,
    faults: Faults,
}

impl<S> FailingStore<S> {
    /// Over this store; nothing fails yet.
    pub fn new(inner: S) -> Self {
        Self::with(inner, Faults::default())
    }

    /// Over this store, commanded by these faults: so that a store that is opened again goes on failing.
    pub fn with(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// With which to command it, from any thread.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl<S: ShapeStore> FailingStore<S> {
    /// Does the work of an apply or a commit, or what is to happen instead.
    fn committing(&self, batch: &Batch, commit: impl FnOnce() -> Result<()>) -> Result<()> {
        let shared = &self.faults.0;
        let number = shared.attempts.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults.script().applies.pop_front();
        self.faults.around(fault.as_ref(), number, || {
            // What is committed already is skipped, whatever is in it (I6). The store below may not show it yet.
            let committed = Seq::new(shared.committed.load(Ordering::SeqCst)).max(self.inner.last_seq()?);
            if batch.through > committed
                && let Some(refusal) = self.faults.refusal(batch)
            {
                return Err(refusal);
            }
            commit()?;
            shared.committed.fetch_max(batch.through.get(), Ordering::SeqCst);
            shared.applied.fetch_add(1, Ordering::SeqCst);
            shared.changes.fetch_add(batch.changes.len() as u64, Ordering::SeqCst);
            Ok(())
        })
    }
}

/// Commands a [`FailingStore`]. Clones command the same store; all of it can be used from any thread.
///
/// What the next applies (publishes, reads) do is a queue: each takes one from its front, and does what it should
/// when the queue is empty.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    script: Mutex<Script>,
    attempts: AtomicU64,
    applied: AtomicU64,
    /// The place up to which it was called with success.
    committed: AtomicU64,
    changes: AtomicU64,
    reads: AtomicU64,
    slowness: AtomicU64,
}

#[derive(Debug, Default)]
struct Script {
    applies: VecDeque<Fault>,
    publishes: VecDeque<Fault>,
    reads: VecDeque<Fault>,
    saves: VecDeque<Fault>,
    refused: HashMap<Handle, Naming>,
}

/// What happens instead.
#[derive(Clone, Debug)]
enum Fault {
    Nothing,
    Fail(ErrorKind, Side),
    Panic(Side),
    Block(Gate, Side),
}

/// On which side of the work of the store below something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before it: the work is not done if this fails.
    Before,
    /// After it: the work is done, and the caller does not hear of it. For an apply that is a commit whose
    /// answer is lost.
    After,
}

/// Whether a refusal says whose change it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It does: [`Error::rejected_seq`] is the shape.
    Culprit,
    /// It does not: somebody has to search.
    Nobody,
}

impl Fault {
    /// A stop, and who ends it.
    fn block(side: Side) -> (Self, GateKeeper) {
        let keeper = GateKeeper(Gate::default());
        (Self::Block(keeper.0.clone(), side), keeper)
    }
}

impl Faults {
    /// The next `times` applies, or commits, fail with this kind of error. On the side [`After`](Side::After) the batch is committed
    /// all the same.
    pub fn fail_applies(&self, times: usize, kind: ErrorKind, side: Side) {
        self.script().applies.extend((0..times).map(|_| Fault::Fail(kind, side)));
    }

    /// The next `times` applies are left alone, so that what is queued after them comes later.
    pub fn spare_applies(&self, times: usize) {
        self.script().applies.extend((0..times).map(|_| Fault::Nothing));
    }

    /// The next `times` applies panic.
    pub fn panic_applies(&self, times: usize, side: Side) {
        self.script().applies.extend((0..times).map(|_| Fault::Panic(side)));
    }

    /// The next apply stops until the gate is opened.
    #[must_use = "dropping the gate opens it"]
    pub fn block_apply(&self, side: Side) -> GateKeeper {
        let (fault, keeper) = Fault::block(side);
        self.script().applies.push_back(fault);
        keeper
    }

    /// The next `times` publishes panic.
    pub fn panic_publishes(&self, times: usize, side: Side) {
        self.script().publishes.extend((0..times).map(|_| Fault::Panic(side)));
    }

    /// The next publish stops until the gate is opened.
    #[must_use = "dropping the gate opens it"]
    pub fn block_publish(&self, side: Side) -> GateKeeper {
        let (fault, keeper) = Fault::block(side);
        self.script().publishes.push_back(fault);
        keeper
    }

    /// Every batch with a change of this handle is refused for good, until [`heal`](Self::heal).
    pub fn refuse(&self, handle: &Handle, naming: Naming) {
        self.script().refused.insert(handle.clone(), naming);
    }

    /// The next `times` savings of last-read times fail with this kind of error.
    pub fn fail_saves(&self, times: usize, kind: ErrorKind) {
        self.script().saves.extend((0..times).map(|_| Fault::Fail(kind, Side::Before)));
    }

    /// The next `times` reads, of any kind, fail with this kind of error.
    pub fn fail_reads(&self, times: usize, kind: ErrorKind) {
        self.script().reads.extend((0..times).map(|_| Fault::Fail(kind, Side::Before)));
    }

    /// The next read, of any kind, stops until the gate is opened: before it looks, or with its answer in
    /// hand.
    #[must_use = "dropping the gate opens it"]
    pub fn block_read(&self, side: Side) -> GateKeeper {
        let (fault, keeper) = Fault::block(side);
        self.script().reads.push_back(fault);
        keeper
    }

    /// Makes the store slow: before and after the work of each apply and each read, other threads are let go
    /// first, up to `turns` times. Zero, as at the beginning, for a store that is as fast as the one below.
    pub fn slow_down(&self, turns: u64) {
        self.0.slowness.store(turns, Ordering::SeqCst);
    }

    /// Forgets all faults that have not happened yet. Who stands at a gate still does.
    pub fn heal(&self) {
        *self.script() = Script::default();
    }

    /// How many applies are still to fail, panic or stop, and to be spared before.
    pub fn outstanding(&self) -> usize {
        self.script().applies.len()
    }

    /// How often an apply was called.
    pub fn attempts(&self) -> u64 {
        self.0.attempts.load(Ordering::SeqCst)
    }

    /// How often the store below has applied a batch, whether or not the caller has heard of it.
    pub fn applied(&self) -> u64 {
        self.0.applied.load(Ordering::SeqCst)
    }

    /// How many changes were in those batches: what the disk had to do.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::SeqCst)
    }

    /// How often a read, of any kind, was called.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // No step under this lock can panic half-way.
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, batch: &Batch) -> Option<Error> {
        let script = self.script();
        batch.changes.iter().filter_map(|change| change.entry()).find_map(|entry| {
            let refusal = Error::new(ErrorKind::Rejected, "the test refuses this change for good");
            match script.refused.get(entry.handle())? {
                Naming::Culprit => Some(refusal.with_rejected_seq(entry.created())),
                Naming::Nobody => Some(refusal),
            }
        })
    }

    /// Does the work of a read, or what is to happen instead. The lock is not held meanwhile.
    fn read<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.0.reads.fetch_add(1, Ordering::SeqCst);
        let fault = self.script().reads.pop_front();
        self.around(fault.as_ref(), number, work)
    }

    /// Does the work, with the fault before or after it.
    fn around<T>(&self, fault: Option<&Fault>, number: u64, work: impl FnOnce() -> Result<T>) -> Result<T> {
        happen(fault, Side::Before)?;
        self.dawdle(number);
        let outcome = work()?;
        self.dawdle(number + 1);
        happen(fault, Side::After)?;
        Ok(outcome)
    }

    /// Not as long each time, so that threads meet in different places.
    fn dawdle(&self, number: u64) {
        let most = self.0.slowness.load(Ordering::Relaxed);
        for _ in 0..number.wrapping_mul(7) % (most + 1) {
            thread::yield_now();
        }
    }
}

fn happen(fault: Option<&Fault>, now: Side) -> Result<()> {
    match fault {
        Some(Fault::Fail(kind, side)) if *side == now => {
            Err(Error::new(*kind, format!("the test lets this fail: {}", kind.name())))
        }
        Some(Fault::Panic(side)) if *side == now => panic!("the test lets this panic"),
        Some(Fault::Block(gate, side)) if *side == now => {
            gate.pass();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Longer than any step takes on a machine that works; a test that waits for longer has failed.
const TOO_LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    reached: bool,
    open: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) {
        let mut state = self.state();
        state.reached = true;
        self.0.1.notify_all();
        while !state.open {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Keeps what stands at a gate of a [`FailingStore`]. Dropping it opens the gate, so that a test that
/// fails does not hang.
#[derive(Debug)]
pub struct GateKeeper(Gate);

impl GateKeeper {
    /// Waits until somebody stands at the gate.
    ///
    /// # Panics
    ///
    /// After a minute: then nobody comes.
    #[track_caller]
    pub fn wait_until_blocked(&self) {
        let (_, changed) = &*self.0.0;
        let (state, _) = changed
            .wait_timeout_while(self.0.state(), TOO_LONG, |state| !state.reached)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(state.reached, "nobody came to the gate");
    }

    /// Whether somebody has come to the gate.
    pub fn is_blocked(&self) -> bool {
        let state = self.0.state();
        state.reached && !state.open
    }

    /// Lets go on who stands there, or whoever comes.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for GateKeeper {
    fn drop(&mut self) {
        self.0.state().open = true;
        self.0.0.1.notify_all();
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ReadShapes> ReadShapes for FailingStore<S> {
    forward_reads!(self => self.inner; read => self.faults.read(read));
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ShapeStore for FailingStore<S> {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.committing(batch, || self.inner.apply(batch))
    }

    /// An apply like another one, for all that it is told to do.
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.committing(batch, || self.inner.commit(batch))
    }

    fn publish(&self, batch: &Batch) {
        let fault = self.faults.script().publishes.pop_front();
        // What is told to it is a panic or a stop, so that it does not fail.
        let published = self.faults.around(fault.as_ref(), batch.through.get(), || {
            self.inner.publish(batch);
            Ok(())
        });
        debug_assert!(published.is_ok());
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.faults.read(|| self.inner.load(each))
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.faults.read(|| self.inner.record_of(entry))
    }

    fn resource_usage(&self) -> Usage {
        self.inner.resource_usage()
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.inner.change_log()?;
        Some(self)
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self)
    }
}

impl<S: ShapeStore> ChangeLog for FailingStore<S> {
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        self.faults.read(|| self.inner.changes_since(seq))
    }
}

impl<S: ShapeStore> LastReadStore for FailingStore<S> {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        let fault = self.faults.script().saves.pop_front();
        self.faults.around(fault.as_ref(), 0, || self.inner.save_reads(reads))
    }

    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        self.faults.read(|| self.inner.saved_reads(each))
    }

    fn sweep(&self) -> Result<SweepProgress> {
        let fault = self.faults.script().saves.pop_front();
        self.faults.around(fault.as_ref(), 0, || self.inner.sweep_reads())
    }
}

/// A store that has no file counts as rebuilt.
impl<S: ShapeStore> RebuildStore for FailingStore<S> {
    fn rebuild(&self, trusted: TrustedState<'_>) -> Result<Repaired> {
        match self.faults.read(|| self.inner.rebuild_from(trusted)) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Repaired::new(
                "nowhere".into(),
                Error::new(ErrorKind::Corrupt, "damaged on purpose"),
                self.inner.counts()?.total,
                Vec::new(),
            )),
            other => other,
        }
    }
}
