//! The benchmarks of shape-meta: workloads, what they are run on, and the report.
//!
//! A [`Candidate`] is something that keeps shapes: a composition of shape-meta, a peer, or a *limit*, which does
//! only the part of the work that nobody can avoid. A workload measures all candidates in the same run, each
//! round in turn, so that drift of the machine meets them alike. `docs/performance.md` tells the method.
//!
//! This is a library so that peers can live in a package of their own (`bench/peers`), which nobody else has to
//! compile: [`main()`] is the whole program, and takes the peers.

mod baseline;
mod figure;
mod latency;
mod machine;
mod memory;
mod options;
mod pace;
mod report;
mod run;
mod sample;
mod scale;
mod spread;
mod subject;
mod table;
mod workload;

pub mod counted;

use std::{error::Error, process::ExitCode};

pub use subject::{Candidate, Client, Facts, Kind, Subject};

/// What can go wrong in a benchmark ends it, and is only told.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// An error that is only told.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Runs what the command line asks for, on the compositions of shape-meta and on these peers.
pub fn main(peers: Vec<Box<dyn Candidate>>) -> ExitCode {
    match run::run(peers) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
