//! The deletion of stored data (C12): cleanup tasks are handed to the cleaner, and orphans are searched.
//!
//! A removal and its cleanup task are one transaction of the database. The worker takes tasks, reserves their
//! handles, calls the cleaner with those that no shape has, and acknowledges them. Data of a live shape is
//! never handed over: see `StoreControl::reserve_handles`.

mod worker;

mod thread;

mod part;

mod pace;
mod status;
mod sweep;

pub use status::{CleanupStatus, OrphanSweep};
pub(crate) use worker::Cleanup;
