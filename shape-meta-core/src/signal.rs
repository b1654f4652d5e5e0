use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use crate::sync::{Event, EventListener, Listener};

/// Something that happens again and again and can be waited for, by threads and by futures alike.
///
/// Use it as every such thing must be used: take a [`Waiter`], look whether what you wait for is so
/// already, and only then wait. No runtime is needed.
#[derive(Debug, Default)]
pub struct Signal(Event);

impl Signal {
    /// A signal that has not happened.
    pub const fn new() -> Self {
        Self(Event::new())
    }

    /// Registers for the next time that it happens after this call.
    pub fn listen(&self) -> Waiter {
        Waiter(self.0.listen())
    }

    /// Lets all who registered go on. One atomic load when nobody did.
    pub fn raise(&self) {
        self.0.notify(usize::MAX);
    }
}

/// A registration for the next time that a [`Signal`] happens: a future, or a thread's wait.
#[derive(Debug)]
#[must_use = "a waiter does nothing unless it is awaited or waited on"]
pub struct Waiter(EventListener);

impl Waiter {
    /// Blocks this thread until the signal happens, and says whether it did before the deadline. Without
    /// a deadline it waits for as long as it takes.
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
