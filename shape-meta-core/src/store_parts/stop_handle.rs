use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use crate::{Error, ErrorKind, Result};

/// The interval between attempts at a lock, whose release does not wake a waiter.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Ends a wait for a live owner from another thread: for a process that has to end while it waits for its
/// predecessor.
///
/// Pass it to a promotion, or set it in the options of an open. A clone is the same handle. It cannot be
/// reset: take a new one for the next attempt.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<(Mutex<bool>, Condvar)>);

impl StopHandle {
    /// Returns a handle that is not stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes each wait with this handle, now or later, fail with
    /// [`Interrupted`](ErrorKind::Interrupted). What has taken the ownership already is not
    /// interrupted. Returns at once.
    pub fn stop(&self) {
        *self.state() = true;
        self.0.1.notify_all();
    }

    /// Returns whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        *self.state()
    }

    /// Locks a mutex, unless the handle is stopped before it is free.
    ///
    /// # Errors
    ///
    /// `Interrupted` if the handle is stopped.
    pub fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> Result<MutexGuard<'a, T>> {
        loop {
            match mutex.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(panicked)) => return Ok(panicked.into_inner()),
                Err(TryLockError::WouldBlock) => self.wait(RETRY_INTERVAL)?,
            }
        }
    }

    /// Waits this long. For implementors of a store.
    ///
    /// # Errors
    ///
    /// `Interrupted` as soon as the handle is stopped.
    pub fn wait(&self, time: Duration) -> Result<()> {
        let (stopped, _) = self
            .0
            .1
            .wait_timeout_while(self.state(), time, |is_stopped| !*is_stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *stopped { Err(stopped_error()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, bool> {
        // No code that can panic runs under this lock.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped_error() -> Error {
    let message = "the wait for the live owner was stopped by its `StopHandle`; nothing was changed, and a \
                   standby is still a standby; call again with a new handle to wait again";
    Error::new(ErrorKind::Interrupted, message)
}
