//! What threads of this crate meet at. Built by the packages in `testing/interleavings/`, it is primitives that let a
//! test choose every switch of threads.

#[cfg(shape_meta_interleaved)]
pub(crate) use shape_meta_interleavings_sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic,
    event_listener::{Event, EventListener, Listener},
};

#[cfg(not(shape_meta_interleaved))]
pub(crate) use {
    event_listener::{Event, EventListener, Listener},
    std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic},
};
