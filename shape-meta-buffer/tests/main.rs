//! Tests of the buffer: the conformance suite on its configurations, and its own behaviour.

mod observer_calls;
mod observer_events;
mod support;

mod backpressure;
mod boundaries;
mod bounded_reads;
mod closing;
mod closing_deadline;
mod conformance;
mod faults;
mod feeds;
mod flusher_pool;
mod health;
mod invariants;
mod last_read_saves;
mod model;
mod observer_panics;
mod options;
mod rejected;
mod repair;
mod store_reads;
