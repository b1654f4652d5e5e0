//! The integration tests of the crate, one binary, split by behaviour. They need a server: see
//! `testing/postgres`.

#![cfg(unix)]

use shape_meta_testing_postgres as server;

mod support;

mod batches;
mod change_log;
mod cleanup;
mod conformance;
mod damage;
mod errors;
mod failing_server;
mod faults;
mod inspector;
mod leases;
mod opening;
mod ownership;
mod recency;
mod recovery;
mod runtimes;
mod scans;
mod small_batches;
mod speed;
mod stamp;
mod standby;
