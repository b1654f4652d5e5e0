//! PostgreSQL for tests: where to find a server, private clusters, and a proxy that breaks connections.
//!
//! It depends on no crate of the product, so that the tests of all of them can use it.

#![cfg(unix)]

mod proxy;
mod server;

pub use proxy::{Direction, Fault, Proxy};
pub use server::{Cluster, PASSWORD, SmallDisk, connection, connection_to_any, own, shared};
