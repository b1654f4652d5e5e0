//! Handles that no shape may take for the moment, because stored data under them is being deleted (C12).

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    Handle, Refusal, Seq, Signal,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The time after which a refused caller may try again. A call of a cleaner usually takes less.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The handles of one store that are reserved, for implementors of a layer on top.
///
/// [`check`](Self::check) and [`reserve`](Self::reserve) must be called under the lock under which the layer
/// validates adds. Then each add comes either before the reservation, and a look-up after it finds the shape,
/// or after it, and is refused.
#[derive(Debug)]
pub struct ReservedHandles {
    /// Each handle with the number of reservations that hold it.
    held: Mutex<HashMap<Handle, usize>>,
    /// The size of `held`, so that an add does not take the lock while nothing is reserved.
    count: AtomicUsize,
    /// Raised when handles are released.
    released: Arc<Signal>,
}

/// What a store knows about a reserved handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleState {
    /// No shape has it, in memory or on disk, and none takes it before the reservation ends.
    Free,
    /// This shape has it, and is committed.
    Live {
        /// The sequence number of its add.
        created: Seq,
    },
    /// A change to it is pending: whether a shape on disk has it is decided by the next flush.
    Pending,
}

/// Reserved handles, until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it releases the handles"]
pub struct Reservation {
    reserved: Arc<ReservedHandles>,
    handles: Vec<Handle>,
    states: Vec<HandleState>,
}

impl ReservedHandles {
    /// Nothing reserved. `released` is raised when handles are released.
    pub fn new(released: Arc<Signal>) -> Self {
        Self { held: Mutex::default(), count: AtomicUsize::new(0), released }
    }

    /// Returns the signal that is raised when handles are released.
    pub fn released(&self) -> &Signal {
        &self.released
    }

    /// Checks that a shape may take this handle. One atomic load while nothing is reserved.
    ///
    /// # Errors
    ///
    /// [`Refusal::BeingCleaned`].
    pub fn check(&self, handle: &Handle) -> Result<(), Refusal> {
        if self.count.load(Ordering::Acquire) == 0 || !self.held().contains_key(handle) {
            return Ok(());
        }
        Err(Refusal::BeingCleaned { handle: handle.clone(), retry_after: RETRY_AFTER })
    }

    /// Reserves these handles. Each is [`Pending`](HandleState::Pending) until its state is
    /// [set](Reservation::set_states).
    pub fn reserve(self: &Arc<Self>, handles: &[Handle]) -> Reservation {
        let reserved = Arc::clone(self);
        let mut reservation = Reservation { reserved, handles: Vec::new(), states: Vec::new() };
        reservation.extend(handles);
        reservation
    }

    fn release(&self, handles: &[Handle]) {
        let mut held = self.held();
        for handle in handles {
            if let Entry::Occupied(mut entry) = held.entry(handle.clone()) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
        self.count.store(held.len(), Ordering::Release);
        drop(held);
        self.released.raise();
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Handle, usize>> {
        // No code that can panic runs under this lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Reserves more handles; see [`ReservedHandles::reserve`].
    pub fn extend(&mut self, handles: &[Handle]) {
        if handles.is_empty() {
            return;
        }
        let mut held = self.reserved.held();
        for handle in handles {
            *held.entry(handle.clone()).or_default() += 1;
        }
        self.reserved.count.store(held.len(), Ordering::Release);
        drop(held);
        self.handles.extend_from_slice(handles);
        self.states.resize(self.handles.len(), HandleState::Pending);
    }

    /// Sets the state of each handle, in the order in which they were reserved.
    ///
    /// # Errors
    ///
    /// That of `state`. The reservation then ends.
    pub fn set_states<E>(
        mut self,
        mut state: impl FnMut(usize, &Handle) -> Result<HandleState, E>,
    ) -> Result<Self, E> {
        for (at, handle) in self.handles.iter().enumerate() {
            self.states[at] = state(at, handle)?;
        }
        Ok(self)
    }

    /// Returns the reserved handles with their states, in the order in which they were reserved.
    pub fn states(&self) -> impl Iterator<Item = (&Handle, HandleState)> {
        self.handles.iter().zip(self.states.iter().copied())
    }

    /// Returns the handles that are free.
    pub fn free(&self) -> Vec<Handle> {
        let is_free = |(handle, state): (&Handle, _)| (state == HandleState::Free).then(|| handle.clone());
        self.states().filter_map(is_free).collect()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved.release(&self.handles);
    }
}
