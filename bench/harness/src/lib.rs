//! The benchmarks of shape-meta: workloads, the candidates that they measure, and the report.
//!
//! A [`Candidate`] keeps shapes: a composition of shape-meta, a peer, or a *limit*, which does only the
//! unavoidable part of the work. A workload measures all candidates in the same run, with alternating rounds,
//! so drift of the machine affects them alike. `docs/performance.md` describes the method.
//!
//! This is a library so that peers can be in a package of their own (`bench/peers`), which no other build
//! compiles: [`main()`] is the whole program, and takes the peers.

mod candidate;
mod command;
mod data;
mod error;
mod probe;
mod report;
mod result;
mod run;
mod workload;

use std::process::ExitCode;

pub use candidate::{Candidate, Client, Facts, Kind, Schema, Store};
pub use error::{BoxError, Result};
pub use probe::allocations;

/// Runs the command line on the compositions of shape-meta and on these peers.
pub fn main(peers: Vec<Box<dyn Candidate>>) -> ExitCode {
    match command::run(peers) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
