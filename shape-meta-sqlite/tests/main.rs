//! The integration tests of the crate, one binary, split by behaviour.

mod support;

mod change_log;
mod checkouts;
mod conformance;
mod corruption;
mod errors;
mod faults;
mod modes;
mod ownership;
mod quarantine;
mod query_plans;
mod recency;
mod recovery;
mod salvage;
mod scans;
mod schema;
mod standby;
mod tenants;
