use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use crate::sync::{Event, EventListener, Listener};

/// A repeatable notification that threads and futures can wait for, without a runtime.
///
/// To miss nothing, [`listen`](Self::listen) first, then check the condition, and wait only if it does not
/// hold.
#[derive(Debug, Default)]
pub struct Signal(Event);

impl Signal {
    /// Returns a signal without waiters.
    pub const fn new() -> Self {
        Self(Event::new())
    }

    /// Registers for the next [`raise`](Self::raise) after this call.
    pub fn listen(&self) -> Waiter {
        Waiter(self.0.listen())
    }

    /// Wakes every registered waiter. One atomic load if there is none.
    pub fn raise(&self) {
        self.0.notify(usize::MAX);
    }
}

/// A registration for the next [`Signal::raise`]; a future, or a blocking wait.
#[derive(Debug)]
#[must_use = "a waiter does nothing unless it is awaited or waited on"]
pub struct Waiter(EventListener);

impl Waiter {
    /// Blocks this thread until the signal is raised. Returns whether that happened before the deadline.
    /// Without a deadline it waits without a limit.
    pub fn wait(self, deadline: Option<Instant>) -> bool {
        match deadline {
            Some(deadline) => self.0.wait_deadline(deadline).is_some(),
            None => {
                self.0.wait();
                true
            }
        }
    }
}

impl Future for Waiter {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}
