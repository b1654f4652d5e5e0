use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use super::{FlusherPool, pool::Pool};
use crate::sync::atomic::{AtomicU8, Ordering};

/// All that a pool knows of a store.
pub(crate) trait Step: Send + Sync {
    /// Does what is due now and returns; `Some` says when to look again, `None` that only a
    /// [wake](Task::wake) brings something new. Never on two threads at once. Does not wait for anything
    /// but the disk, and does not panic.
    fn step(&self) -> Option<Instant>;
}

/// A store, as its pool sees it, and what wakes it.
pub(crate) struct Task {
    pub(super) id: u64,
    pool: Arc<Pool>,
    /// Weak: a pool never keeps a store open, but while it flushes it.
    store: Weak<dyn Step>,
    state: AtomicU8,
}

/// It is in a queue, or will be put into one by whoever set this.
const WOKEN: u8 = 1;
const RUNNING: u8 = 2;

impl Task {
    pub(super) fn new(id: u64, pool: Arc<Pool>, store: Weak<dyn Step>) -> Self {
        Self { id, pool, store, state: AtomicU8::new(0) }
    }

    /// Makes a thread look at what there is to do. Takes the pool's lock only if nobody is about to look
    /// anyway.
    ///
    /// Nothing is missed: every call changes `state`, and so does the thread that begins to look. If the
    /// thread comes later in the order of these changes, it sees what was done before the call. If it
    /// came before, this call finds it running, and it looks once more when it is done.
    pub(crate) fn wake(&self) {
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            self.pool.wake(self.id);
        }
    }

    /// One step, by the thread that was given the task. The store may be closed by it, if everybody else
    /// has let it go.
    pub(super) fn run(&self) -> Option<Instant> {
        self.state.swap(RUNNING, Ordering::AcqRel);
        self.store.upgrade()?.step()
    }

    /// The step has ended; says whether the task was woken meanwhile.
    pub(super) fn end(&self) -> bool {
        self.state.fetch_and(!RUNNING, Ordering::AcqRel) & WOKEN != 0
    }
}

/// A store's place in a pool, which it keeps until it is closed.
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

    /// From now on the store is let in at once, whatever the other stores do: it is being closed.
    pub(crate) fn hasten(&self) {
        self.task.pool.hasten(self.task.id);
    }

    /// The store is flushed no more. Waits for a flush that is under way until the deadline; after that it
    /// is left to itself, and its thread with it.
    pub(crate) fn leave(self, deadline: Instant) {
        self.task.pool.leave(self.task.id, deadline);
    }
}
