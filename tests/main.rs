//! Tests of every composition over SQLite files and PostgreSQL, as a user builds it: conformance, equality of
//! buffered and direct, threads, crashes, faults and bad input.

mod blocking;
mod commands;
mod conformance;
mod contract;
mod file_names;
mod sources;
mod word_list;

mod async_forms;
mod buffered_equals_direct;
mod crash;
mod deploy;
mod faults;
mod linear;
mod threads;

mod closing;
mod dashboard;
mod eviction;
mod feeds;
mod gauges;
mod identity;
mod last_reads;
mod metric_series;
mod observer_calls;
mod observer_events;
mod open_failures;
mod postgres;
mod refusals;
mod regressions;
mod repair;
mod stored_data;
mod tenants;
mod waits;
