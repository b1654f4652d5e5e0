use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use shape_meta_core::Seq;

/// Whether a live process owns a stack, as far as a standby knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    Yes,
    No,
}

/// What a standby does when its stack has changed. It may block. Returns whether it has succeeded.
pub(crate) type Hook = Arc<dyn Fn(Owned) -> bool + Send + Sync>;

/// A standby that follows a stack. It ends when this is dropped.
pub(crate) struct Subscription {
    pub(crate) stack: i64,
    hook: Hook,
    state: Mutex<State>,
    pub(crate) has_ended: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The epoch and the sequence number of the latest look.
    seen: Option<(i64, Seq)>,
    is_running: bool,
    /// What to call the hook with once more.
    again: Option<Owned>,
}

impl Subscription {
    pub(crate) fn new(stack: i64, hook: Hook) -> Arc<Self> {
        Arc::new(Self { stack, hook, state: Mutex::default(), has_ended: AtomicBool::new(false) })
    }

    /// Calls the hook if there is something new, or if no process owns the stack.
    pub(crate) fn look(self: &Arc<Self>, epoch: i64, last_seq: Seq, owned: Owned) {
        let is_new = self.state().seen.replace((epoch, last_seq)) != Some((epoch, last_seq));
        if is_new || owned == Owned::No {
            self.wake(owned);
        }
    }

    /// Calls the hook, on a thread for work that blocks. While it runs, further calls become one.
    pub(crate) fn wake(self: &Arc<Self>, owned: Owned) {
        let mut state = self.state();
        state.again = Some(owned);
        if !std::mem::replace(&mut state.is_running, true) {
            let this = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || this.run()));
        }
    }

    fn run(&self) {
        loop {
            let mut state = self.state();
            let next = state.again.take().filter(|_| !self.has_ended.load(Ordering::Acquire));
            let Some(owned) = next else {
                state.is_running = false;
                return;
            };
            drop(state);
            // A refresh that panics must not end those after it.
            let hook = std::panic::AssertUnwindSafe(|| (self.hook)(owned));
            if !std::panic::catch_unwind(hook).unwrap_or(false) {
                // The next look calls it again.
                self.state().seen = None;
            }
        }
    }

    /// Calls the hook no more, but for a call in progress.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
