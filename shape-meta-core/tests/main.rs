//! The tests of the crate, in one binary.

mod conformance;
mod list_model;

mod backpressure;
mod dependency_order;
mod direct_closing;
mod durability;
mod evictor;
mod failing_store;
mod feeds;
mod group_commit;
mod last_reads;
mod limits;
mod messages;
mod observer_events;
mod orphans;
mod records;
mod retry;
mod signal;
