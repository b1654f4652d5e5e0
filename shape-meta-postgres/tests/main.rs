//! The integration tests of the crate, one binary, split by behaviour. They need a server: see `server`.

#![cfg(unix)]

mod proxy;
mod server;
mod support;

mod batches;
mod change_log;
mod cleanup;
mod conformance;
mod damage;
mod errors;
mod faults;
mod opening;
mod ownership;
mod recency;
mod recovery;
mod runtimes;
mod scans;
mod speed;
