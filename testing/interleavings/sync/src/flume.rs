//! The channel of `flume`, as far as it is in use.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::{
    is_near,
    parking_lot::{Condvar, Mutex},
    patience, thread,
};

#[derive(Debug)]
struct Channel<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    messages: VecDeque<T>,
    room: usize,
    senders: usize,
    has_receiver: bool,
}

/// A channel with room for so many messages.
pub fn bounded<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { messages: VecDeque::new(), room, senders: 1, has_receiver: true };
    let channel = Arc::new(Channel { state: Mutex::new(state), arrived: Condvar::new() });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

/// The end that messages are put in.
#[derive(Debug)]
pub struct Sender<T>(Arc<Channel<T>>);

/// Why a message could not be sent; it is given back.
#[derive(Debug)]
pub enum TrySendError<T> {
    /// There is no room.
    Full(T),
    /// There is no receiver any more.
    Disconnected(T),
}

impl<T> Sender<T> {
    /// Puts a message in if there is room.
    ///
    /// # Errors
    ///
    /// If there is none, or nobody who will read it.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut state = self.0.state.lock();
        if !state.has_receiver {
            return Err(TrySendError::Disconnected(message));
        }
        if state.messages.len() >= state.room {
            return Err(TrySendError::Full(message));
        }
        state.messages.push_back(message);
        drop(state);
        self.0.arrived.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state.lock().senders -= 1;
        self.0.arrived.notify_all();
    }
}

/// The end that messages are taken from.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Channel<T>>);

/// There is no sender any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

/// Why no message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// The time was over.
    Timeout,
    /// There is no sender any more.
    Disconnected,
}

impl<T> Receiver<T> {
    /// Waits for a message.
    ///
    /// # Errors
    ///
    /// If there is no sender any more.
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(message) = state.messages.pop_front() {
                return Ok(message);
            }
            if state.senders == 0 {
                return Err(RecvError);
            }
            self.0.arrived.wait(&mut state);
        }
    }

    /// The same, until a deadline.
    ///
    /// # Errors
    ///
    /// If the time is over, or there is no sender any more.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        if !is_near(deadline) {
            return self.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        for _ in 0..=patience() {
            thread::yield_now();
            let mut state = self.0.state.lock();
            if let Some(message) = state.messages.pop_front() {
                return Ok(message);
            }
            if state.senders == 0 {
                return Err(RecvTimeoutError::Disconnected);
            }
        }
        Err(RecvTimeoutError::Timeout)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.has_receiver = false;
        state.messages.clear();
    }
}
