//! A redeploy storm: many clients ask for their shapes at the same time, while others keep reading.
//!
//! It is played on the direct composition first (every mutation a transaction of its own) and then on the
//! buffered one, each on an embedded SQLite file of its own. Then the database is opened again, and every
//! shape is compared with the trace.
//!
//! `cargo run --release --example storm -- --help` tells the options.

#![forbid(unsafe_code)]

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::Parser;

mod check;
mod composition;
mod play;
mod report;
mod trace;

use composition::Composition;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Plays a redeploy storm on the direct and on the buffered composition, and compares them.
#[derive(Parser, Debug)]
#[command(name = "storm")]
struct Options {
    /// A trace of definitions, one JSON object a line. Default: the sample beside this example.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// How many clients ask for shapes at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    clients: u16,

    /// How many others keep reading.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=256))]
    readers: u16,

    /// Where to make the databases. Default: a temporary directory, which is removed afterwards.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Play on these compositions only.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Composition>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let default = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../sample.jsonl"));
    let trace = trace::read(options.trace.as_ref().unwrap_or(&default))?;
    println!(
        "{}: {} definitions, {} different ones; {} clients, {} readers",
        trace.path.display(),
        trace.asked.len(),
        trace.different,
        options.clients,
        options.readers,
    );

    let temporary = tempfile::tempdir()?;
    let root = options.dir.as_deref().unwrap_or(temporary.path());
    let mut rows = Vec::new();
    let mut good = true;
    for composition in Composition::chosen(&options.only) {
        let directory = root.join(composition.name());
        let played = play::play(composition, &directory, &trace, options)?;
        let checked = check::check(composition, &directory, &trace)?;
        for problem in checked.problems.iter().take(10) {
            eprintln!("storm: {}: {problem}", composition.name());
        }
        good &= checked.problems.is_empty();
        rows.push((composition, played, checked));
    }
    println!("{}", report::table(&rows));
    println!("{}", report::verdict(&rows, &trace));
    Ok(good)
}
