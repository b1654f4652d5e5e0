use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use super::{FlusherPool, pool::Pool};
use crate::sync::atomic::{AtomicU8, Ordering};

/// The background work of a store, as its pool knows it (I7).
pub(crate) trait Step: Send + Sync {
    /// Does what is due and returns when to call again; `None` if only a [wake](Task::wake) brings new work.
    ///
    /// Never runs on two threads at once. Waits for nothing but the disk, and does not panic.
    fn step(&self) -> Option<Instant>;
}

/// A registered store, and the means to wake a thread for it.
pub(crate) struct Task {
    pub(super) id: u64,
    pool: Arc<Pool>,
    /// Weak, so that a pool keeps a store open only while it runs a step of it.
    store: Weak<dyn Step>,
    state: AtomicU8,
}

/// The task is in a queue, or the thread that set this bit is about to put it there.
const WOKEN: u8 = 1;
const RUNNING: u8 = 2;

impl Task {
    pub(super) fn new(id: u64, pool: Arc<Pool>, store: Weak<dyn Step>) -> Self {
        Self { id, pool, store, state: AtomicU8::new(0) }
    }

    /// Makes a thread run a step. Takes the pool's lock only if no thread is about to run one anyway.
    ///
    /// No wake is lost: every call changes `state`, and so does the thread that begins a step. If the
    /// thread's change comes after this one, the step sees everything that was done before this call. If it
    /// came before, this call finds the task running, and the thread runs one more step afterwards.
    pub(crate) fn wake(&self) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.pool.wake(self.id);
        }
    }

    /// Runs one step, on the thread that was given the task. If every other owner has dropped the store
    /// meanwhile, the store is closed here.
    pub(super) fn run(&self) -> Option<Instant> {
        self.state.swap(RUNNING, Ordering::AcqRel);
        self.store.upgrade()?.step()
    }

    /// Ends the step, and returns whether the task was woken during it.
    pub(super) fn end(&self) -> bool {
        self.state.fetch_and(!RUNNING, Ordering::AcqRel) & WOKEN != 0
    }
}

/// The registration of a store with a pool, until the store is closed.
pub(crate) struct Registration {
    task: Arc<Task>,
    /// Keeps the pool alive.
    _flushers: FlusherPool,
}

impl Registration {
    pub(super) fn new(task: Arc<Task>, flushers: FlusherPool) -> Self {
        Self { task, _flushers: flushers }
    }

    pub(crate) fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Runs every further step at once, whatever other stores do: the store is being closed.
    pub(crate) fn expedite(&self) {
        self.task.pool.expedite(self.task.id);
    }

    /// Ends the registration. Waits for a step in progress until the deadline. A step that takes longer keeps
    /// its thread until it ends.
    pub(crate) fn unregister(self, deadline: Instant) {
        self.task.pool.unregister(self.task.id, deadline);
    }
}
