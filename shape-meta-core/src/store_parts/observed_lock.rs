use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use super::StopHandle;
use crate::{Error, ErrorKind, Result};

/// A mutex that is held while observers are called. It knows the thread that has it, so a call by an observer
/// that would wait for itself is refused.
///
/// It goes on after a panic: what it protects must be consistent then.
#[derive(Debug, Default)]
pub struct ObservedLock<T> {
    value: Mutex<T>,
    /// Held for moments.
    locked_by: Mutex<Option<ThreadId>>,
}

/// An [`ObservedLock`] that this thread has locked, until this is dropped.
#[derive(Debug)]
pub struct ObservedGuard<'a, T> {
    value: MutexGuard<'a, T>,
    locked_by: &'a Mutex<Option<ThreadId>>,
}

impl<T> ObservedLock<T> {
    /// Returns a lock that is free.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), locked_by: Mutex::default() }
    }

    /// Locks it. Blocks while another thread has it.
    ///
    /// # Errors
    ///
    /// `Unsupported` if this thread has it.
    pub fn lock(&self) -> Result<ObservedGuard<'_, T>> {
        self.check_not_locked_here()?;
        Ok(self.locked(self.value.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// [`lock`](Self::lock), which ends when the handle is stopped.
    ///
    /// # Errors
    ///
    /// Those of `lock`, and `Interrupted` if the handle is stopped before the lock is free.
    pub fn lock_unless_stopped(&self, stop: &StopHandle) -> Result<ObservedGuard<'_, T>> {
        self.check_not_locked_here()?;
        Ok(self.locked(stop.lock(&self.value)?))
    }

    /// Returns an error if this thread has the lock: what waits for another thread to give it up would wait
    /// for itself.
    ///
    /// # Errors
    ///
    /// `Unsupported`.
    pub fn check_not_locked_here(&self) -> Result<()> {
        let locked_by = *self.locked_by.lock().unwrap_or_else(PoisonError::into_inner);
        if locked_by != Some(thread::current().id()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            "an observer made this call within an operation of the store, and the call would wait for that operation; \
             nothing has changed. Make the call on another thread",
        ))
    }

    fn locked<'a>(&'a self, value: MutexGuard<'a, T>) -> ObservedGuard<'a, T> {
        *self.locked_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
        ObservedGuard { value, locked_by: &self.locked_by }
    }
}

impl<T> Deref for ObservedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for ObservedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for ObservedGuard<'_, T> {
    fn drop(&mut self) {
        // Before the lock is released.
        *self.locked_by.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_a_thread_that_has_the_lock_does_not_wait_for_it() {
        let lock = ObservedLock::new(1);
        let guard = lock.lock().expect("it is free");
        let kinds = [lock.lock().map(drop), lock.lock_unless_stopped(&StopHandle::new()).map(drop)]
            .map(|outcome| outcome.expect_err("this thread has it").kind());
        assert_eq!(kinds, [ErrorKind::Unsupported; 2]);
        thread::scope(|scope| {
            let other = scope.spawn(|| lock.lock().map(|mut value| *value += 1));
            drop(guard);
            other.join().expect("no panic").expect("it waits for another thread");
        });
        assert_eq!(*lock.lock().expect("it is free"), 2);
    }
}
