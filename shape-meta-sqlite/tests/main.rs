//! The integration tests of the crate, one binary, split by behaviour.

mod support;

mod backup;
mod blocks;
mod change_log;
mod checkouts;
mod conformance;
mod corruption;
mod damaged_header;
mod errors;
mod faults;
mod file_sizes;
mod identity;
#[cfg(target_os = "linux")]
mod locks;
mod missing_rows;
mod modes;
mod operators;
mod option_extremes;
mod ownership;
#[cfg(unix)]
mod planted_files;
mod quarantine;
mod query_plans;
mod recency;
mod recovery;
mod salvage;
mod scans;
mod schema;
mod stamp;
mod standby;
mod tenants;
