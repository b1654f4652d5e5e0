//! `shape-meta`: what an operator asks of a database of shape metadata.
//!
//! Commands that only look work beside a live owner, and change no byte. Those that change something (`import`,
//! `repair`) take ownership, and are refused while there is a live owner.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; nothing is wrong |
//! | 1 | done, and something was found: a problem, an orphan, a shape that does not exist, a line that was not imported |
//! | 2 | the command line is wrong |
//! | 3 | there is no database, or it is none that this version can read |
//! | 4 | a live owner, or somebody else, is in the way: try again, or stop the owner first |
//! | 5 | the database is damaged |
//! | 6 | the disk failed, is full, or does not allow it |

#![forbid(unsafe_code)]

mod args;
mod commands;
mod exit;
mod filter;
mod json;
mod output;

use std::{io::Write, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let outcome = commands::run(arguments, &mut out);
    let outcome = outcome.and_then(|code| out.flush().map(|()| code).map_err(exit::Failure::from));
    exit::code(outcome)
}
