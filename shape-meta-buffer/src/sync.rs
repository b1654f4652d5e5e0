//! What threads of this crate meet at: take locks, atomics, threads and channels from here. Built by the
//! packages in `interleavings/`, it is primitives that let a test choose every switch of threads.

#[cfg(shape_meta_interleaved)]
pub(crate) use interleavings_sync::{
    RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
    flume::{Receiver, RecvTimeoutError, Sender, bounded},
    parking_lot::Mutex,
    thread,
};

#[cfg(not(shape_meta_interleaved))]
pub(crate) use {
    flume::{Receiver, RecvTimeoutError, Sender, bounded},
    parking_lot::Mutex,
    std::{
        sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
        thread,
    },
};
