//! What threads of this crate meet at: take locks, atomics and threads from here. Built by the
//! packages in `testing/interleavings/`, it is primitives that let a test choose every switch of threads.

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
