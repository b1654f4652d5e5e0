use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use crate::{fault::Fault, model::Model, op::Op};

/// The state of one disk, shared by its [`Disk`](crate::Disk) and its open files.
///
/// It exists until the last clone of the disk is dropped and its files are closed.
#[derive(Clone)]
pub(crate) struct SharedState(Arc<Mutex<State>>);

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
        Self(Arc::new(Mutex::new(State {
            model,
            faults: Vec::new(),
            calls: [0; Op::ALL.len()],
            failed: 0,
            capacity: None,
            sync_delay: Duration::ZERO,
            losses: 0,
            off: false,
            off_at: None,
            changes: 0,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn downgrade(&self) -> WeakState {
        WeakState(Arc::downgrade(&self.0))
    }
}

/// The state of a disk that may have been dropped.
pub(crate) struct WeakState(Weak<Mutex<State>>);

impl WeakState {
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(crate) fn upgrade(&self) -> Option<SharedState> {
        self.0.upgrade().map(SharedState)
    }
}
