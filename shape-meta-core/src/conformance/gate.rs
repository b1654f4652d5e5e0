use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long [`Gate::wait_until_blocked`] waits: longer than any step takes on a working machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A call to a [`FailingStore`](super::FailingStore) that is blocked on purpose. Dropping the gate opens it,
/// so that a failing test does not hang.
#[derive(Debug)]
pub struct Gate(Passage);

impl Gate {
    pub(super) fn closed() -> Self {
        Self(Passage::default())
    }

    pub(super) fn passage(&self) -> Passage {
        self.0.clone()
    }

    /// Waits until a call is blocked at the gate.
    ///
    /// # Panics
    ///
    /// If no call reaches the gate within a minute.
    #[track_caller]
    pub fn wait_until_blocked(&self) {
        let (_, changed) = &*self.0.0;
        let (state, _) = changed
            .wait_timeout_while(self.0.state(), TIMEOUT, |state| !state.reached)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(state.reached, "no call reached the gate within {TIMEOUT:?}");
    }

    /// Whether a call is blocked at the gate.
    pub fn is_blocked(&self) -> bool {
        let state = self.0.state();
        state.reached && !state.open
    }

    /// Opens the gate: the blocked call continues, and a call that comes later is not blocked.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.state().open = true;
        self.0.0.1.notify_all();
    }
}

/// The side of the gate that the blocked call sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Passage(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    reached: bool,
    open: bool,
}

impl Passage {
    /// Blocks until the gate is open.
    pub(super) fn pass(&self) {
        let mut state = self.state();
        state.reached = true;
        self.0.1.notify_all();
        while !state.open {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
