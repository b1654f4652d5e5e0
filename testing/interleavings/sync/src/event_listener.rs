//! The used part of `event-listener`: a notification wakes the listeners that registered before it, and no
//! later ones.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use crate::{
    attempts_before, is_near,
    parking_lot::{Condvar, Mutex},
    thread,
};

/// An event that threads and futures wait for.
#[derive(Debug)]
pub struct Event(Mutex<Vec<Weak<Slot>>>);

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    notified: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_notified: bool,
    waker: Option<Waker>,
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// An event without listeners.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Registers for the next notification.
    pub fn listen(&self) -> EventListener {
        let slot = Arc::new(Slot::default());
        self.0.lock().push(Arc::downgrade(&slot));
        EventListener(slot)
    }

    /// Wakes this number of listeners, the oldest first.
    pub fn notify(&self, listeners: usize) {
        let mut waiting = self.0.lock();
        let first = waiting.len().min(listeners);
        let woken: Vec<_> = waiting.drain(..first).collect();
        drop(waiting);
        for slot in woken.iter().filter_map(Weak::upgrade) {
            let mut state = slot.state.lock();
            state.is_notified = true;
            let waker = state.waker.take();
            drop(state);
            slot.notified.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// A registration for the next notification of an [`Event`].
#[derive(Debug)]
pub struct EventListener(Arc<Slot>);

/// How a thread waits.
pub trait Listener {
    /// Waits for the notification.
    fn wait(self);

    /// Waits for the notification until a deadline; returns `None` if that passed first.
    fn wait_deadline(self, deadline: Instant) -> Option<()>;
}

impl Listener for EventListener {
    fn wait(self) {
        let mut state = self.0.state.lock();
        while !state.is_notified {
            self.0.notified.wait(&mut state);
        }
    }

    fn wait_deadline(self, deadline: Instant) -> Option<()> {
        if !is_near(deadline) {
            self.wait();
            return Some(());
        }
        for _ in 0..=attempts_before() {
            if self.0.state.lock().is_notified {
                return Some(());
            }
            thread::yield_now();
        }
        None
    }
}

impl Future for EventListener {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        if state.is_notified {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
