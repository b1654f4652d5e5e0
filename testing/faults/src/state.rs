use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use crate::{fault::Fault, model::Model, op::Op};

/// The state of one disk, shared by its [`Disk`](crate::Disk) and its open files.
///
/// It exists until the last clone of the disk is dropped and its files are closed.
#[derive(Clone)]
pub(crate) struct SharedState(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Notified when a call hangs, and when calls no longer hang.
    hanging: Condvar,
}

pub(crate) struct State {
    pub(crate) model: Model,
    pub(crate) faults: Vec<Fault>,
    /// The number of calls of each operation.
    pub(crate) calls: [u64; Op::ALL.len()],
    /// The number of calls that failed because of a fault or the limit on space.
    pub(crate) failed: u64,
    /// The limit on the size of all files together.
    pub(crate) capacity: Option<u64>,
    pub(crate) sync_delay: Duration,
    /// Whether calls hang, and how many of them do.
    hangs: bool,
    hung: u64,
    /// The number of losses of all open files. A file that was opened before the latest loss is lost.
    pub(crate) losses: u64,
    pub(crate) off: bool,
    /// The number of the change at which the power fails.
    pub(crate) off_at: Option<u64>,
    pub(crate) changes: u64,
}

impl State {
    /// Counts a call, and returns the code with which it fails. `losses` belongs to the open file that it
    /// uses, if it uses one.
    pub(crate) fn count_call(&mut self, op: Op, losses: Option<u64>) -> Option<i32> {
        self.calls[op as usize] += 1;
        if op.is_change() {
            self.changes += 1;
            self.off |= self.off_at.is_some_and(|at| self.changes >= at);
        }
        if self.off || losses.is_some_and(|losses| losses < self.losses) {
            return Some(op.io_error());
        }
        // Every fault counts the call, also when an earlier one already fails it.
        let code = self.faults.iter_mut().fold(None, |code, fault| fault.count_call(op).or(code));
        self.failed += u64::from(code.is_some());
        code
    }

    /// Returns by how many bytes files may still grow. `None` if there is no limit.
    pub(crate) fn free_space(&self) -> Option<u64> {
        Some(self.capacity?.saturating_sub(self.model.size()))
    }
}

impl SharedState {
    pub(crate) fn new(model: Model) -> Self {
        let state = Mutex::new(State {
            model,
            faults: Vec::new(),
            calls: [0; Op::ALL.len()],
            failed: 0,
            capacity: None,
            sync_delay: Duration::ZERO,
            hangs: false,
            hung: 0,
            losses: 0,
            off: false,
            off_at: None,
            changes: 0,
        });
        Self(Arc::new(Shared { state, hanging: Condvar::new() }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state for a call of SQLite. Blocks as long as the disk hangs.
    pub(crate) fn begin_call(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if !state.hangs {
            return state;
        }
        state.hung += 1;
        self.0.hanging.notify_all();
        let mut state =
            self.0.hanging.wait_while(state, |state| state.hangs).unwrap_or_else(PoisonError::into_inner);
        state.hung -= 1;
        state
    }

    pub(crate) fn set_hanging(&self, hangs: bool) {
        self.lock().hangs = hangs;
        self.0.hanging.notify_all();
    }

    /// Waits until a call hangs. Returns whether one does at the deadline.
    pub(crate) fn wait_until_hung(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.0.hanging.wait_timeout_while(self.lock(), left, |state| state.hung == 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.hung > 0
    }

    pub(crate) fn downgrade(&self) -> WeakState {
        WeakState(Arc::downgrade(&self.0))
    }
}

/// The state of a disk that may have been dropped.
pub(crate) struct WeakState(Weak<Shared>);

impl WeakState {
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(crate) fn upgrade(&self) -> Option<SharedState> {
        self.0.upgrade().map(SharedState)
    }
}
