//! `shape-meta`: inspects, verifies, backs up and repairs a shape-meta database.
//!
//! Read-only commands work while an owner is alive, show one moment of the database, and change no byte of it
//! and of its WAL; an empty WAL and its index may be created. Commands that write (`import`, `repair`) take
//! ownership and fail while another process owns the database. A terminal obeys nothing in any output.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | success |
//! | 1 | success with findings: a problem, an orphan, missing data, a lost shape, an unknown handle, a skipped line |
//! | 2 | invalid command line |
//! | 3 | no database or stack, or one that this version cannot read; or the backup directory holds one already |
//! | 4 | the database is busy or owned by another process: retry, or stop the owner first |
//! | 5 | the database is corrupt |
//! | 6 | I/O error: the disk failed, is full, or denies access |

#![forbid(unsafe_code)]

mod args;
mod commands;
mod database;
mod exit;
mod filter;
mod json;
mod output;
mod privileges;
mod signals;

use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments = match args::Arguments::from_command_line() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    // Before there is another thread.
    if let Err(failure) = privileges::drop_to_owner(&arguments.command) {
        return exit::code(Err(failure));
    }
    signals::delete_temporary_files();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let outcome = commands::run(arguments, &mut out);
    let outcome = outcome.and_then(|success| out.flush().map(|()| success).map_err(exit::Failure::from));
    exit::code(outcome)
}

/// Prints what the parser says instead of arguments: the help, the version, or what is wrong.
fn explain(parsed: &clap::Error) -> ExitCode {
    match parsed.print().and_then(|()| io::stdout().flush()) {
        Err(error) if !parsed.use_stderr() => exit::code(Err(error.into())),
        _ => ExitCode::from(u8::try_from(parsed.exit_code()).unwrap_or(2)),
    }
}
