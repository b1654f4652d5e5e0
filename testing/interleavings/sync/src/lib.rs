//! Locks, atomics, threads and waits under a scheduler that a test controls.
//!
//! [shuttle](https://docs.rs/shuttle) runs the threads of a test one at a time and chooses at every use of a
//! primitive which of them runs next. The choice is random and can be replayed, and a test in which all
//! threads wait for each other fails. Its primitives are those of the standard library. Here they get the
//! names and the guarantees of those that the product takes from `parking_lot` and `event-listener`.
//!
//! # Time
//!
//! There is no time. A wait whose deadline is [near](is_near) may end at any moment, as the scheduler
//! chooses. A wait whose deadline is far ends only with a notification, so a lost wake-up is a deadlock and
//! fails the test.

#![forbid(unsafe_code)]

pub mod event_listener;
pub mod parking_lot;

mod deadline;

pub use shuttle::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic},
    thread,
};

pub use deadline::{FAR, attempts_before, is_near};
