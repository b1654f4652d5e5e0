//! A service for shape requests, at the level of metadata, as a place to start from: it has no replication,
//! and a snapshot is a file with the definition.
//!
//! - `storage.rs`: a directory for each shape
//! - `tenants.rs`: a store for each tenant, from standby to owner to closed; eviction
//! - `requests.rs`: a request for a shape, and its snapshot
//! - `routes.rs`: load shedding, metrics, probes; `ticker.rs`: stalls of the executor
//! - `main.rs`: start and end; `load.rs`: clients that check the answers
//!
//! `tests/deploy.rs` kills one process and deploys over another one under load.

pub mod load;
pub mod requests;
pub mod routes;
pub mod storage;
pub mod tenants;
pub mod ticker;
