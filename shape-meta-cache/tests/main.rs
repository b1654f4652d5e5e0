//! The behaviour of the cache over the in-memory store, one file for each part.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod scripted;
mod support;

mod basics;
mod conformance;
#[cfg(feature = "definitions")]
mod definitions;
mod in_flight;
mod large;
mod memory;
mod misses;
mod option_extremes;
mod outcomes;
mod refresh;
mod reload;
mod removal;
mod repair;
mod scan;
mod sweep;
