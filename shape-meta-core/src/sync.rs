//! The synchronization primitives of this crate. The packages in `testing/interleavings/` replace them by
//! primitives with which a test chooses every thread switch.

#[cfg(shape_meta_interleaved)]
pub(crate) use shape_meta_interleavings_sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
    event_listener::{Event, EventListener, Listener},
    thread,
};

#[cfg(not(shape_meta_interleaved))]
pub(crate) use {
    event_listener::{Event, EventListener, Listener},
    std::{
        sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
        thread,
    },
};
