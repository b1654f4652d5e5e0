//! PostgreSQL for tests: where to find a server, private clusters, and a proxy that breaks connections.
//!
//! It depends on no crate of the product, so that the tests of all of them can use it.

#![cfg(unix)]

mod proxy;
mod server;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use proxy::{Direction, Fault, Proxy};
pub use server::{Cluster, PASSWORD, SmallDisk, connection, connection_to_any, own, shared};

/// Waits until `is_so`, which another process brings about.
///
/// # Panics
///
/// With `what`, after a minute.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}
