//! A redeploy storm: many clients request their shapes at the same time, while others keep reading.
//!
//! It is played on the direct composition first (each mutation is a transaction) and then on the buffered
//! one, each on a SQLite file of its own. Then the database is reopened, and every shape is compared with the
//! trace.
//!
//! `cargo run --release --example storm -- --help` prints the options.

#![forbid(unsafe_code)]

use std::{error::Error, process::ExitCode};

mod check;
mod composition;
mod directory;
mod latencies;
mod options;
mod play;
mod report;
mod trace;

use directory::TemporaryDirectory;
use options::{Command, Options};

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let outcome = Options::parse().and_then(|command| match command {
        Command::Play(options) => run(&options),
        Command::Help => {
            print!("{}", options::HELP);
            Ok(true)
        }
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the storm on each composition. Returns whether every check passed.
fn run(options: &Options) -> Result<bool> {
    let trace = trace::read(&options.trace)?;
    println!(
        "{}: {} definitions, {} different ones; {} clients, {} readers",
        trace.path.display(),
        trace.requested.len(),
        trace.different,
        options.clients,
        options.readers,
    );

    let temporary = TemporaryDirectory::create()?;
    let root = options.directory.as_deref().unwrap_or(temporary.path());
    let mut results = Vec::new();
    let mut passed = true;
    for composition in options.compositions() {
        let directory = root.join(composition.name());
        let played = play::play(composition, &directory, &trace, options)?;
        let checked = check::check(composition, &directory, &trace)?;
        for problem in checked.problems.iter().take(10) {
            eprintln!("storm: {}: {problem}", composition.name());
        }
        passed &= checked.problems.is_empty();
        results.push((composition, played, checked));
    }
    println!("\n{}", report::table(&results));
    println!("{}", report::verdict(&results, &trace));
    Ok(passed)
}
