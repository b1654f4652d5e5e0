//! Locks, atomics, threads and waits under a scheduler that a test controls.
//!
//! [shuttle](https://docs.rs/shuttle) runs the threads of a test one at a time and chooses, at every use of a
//! primitive, which of them goes on; the choice is random, can be repeated from a seed, and a test in which
//! all threads wait for each other fails. Its primitives are those of the standard library. Here they are
//! given the names that the product takes from `parking_lot`, `flume` and `event-listener` as well, with the
//! promises that those crates make.
//!
//! # Time
//!
//! There is none. A wait whose deadline is [near](is_near) may end at any moment, as the scheduler likes. One
//! whose deadline is far goes on until what is waited for happens, so that a wake-up that gets lost is a
//! deadlock, and seen.

#![forbid(unsafe_code)]

pub mod event_listener;
pub mod parking_lot;

mod deadline;

pub use shuttle::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread,
};

pub use deadline::{FAR, attempts_before, is_near};
