//! The tests of the crate, in one binary, split by behaviour.

mod support;

mod change_log;
mod checkouts;
mod conformance;
mod damage;
mod errors;
mod faults;
mod modes;
mod ownership;
mod plans;
mod recency;
mod recovery;
mod salvage;
mod scans;
mod schema;
mod standby;
mod tenants;
