//! The locks, atomics and threads of this crate. Everything else takes them from here.
//!
//! The packages in `testing/interleavings/` build the sources over primitives with which a test chooses every
//! context switch.

#[cfg(shape_meta_interleaved)]
pub(crate) use shape_meta_interleavings_sync::{
    RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
    parking_lot::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(not(shape_meta_interleaved))]
pub(crate) use {
    parking_lot::{Condvar, Mutex, MutexGuard},
    std::{
        sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
        thread,
    },
};
