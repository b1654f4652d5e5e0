//! Measuring tools: latencies, open-loop clients, memory and allocations.

pub mod allocations;
mod latency;
pub(crate) mod memory;
mod open_loop;

pub(crate) use latency::{Latencies, Quantiles};
pub(crate) use open_loop::{OpenLoop, open_loop};
