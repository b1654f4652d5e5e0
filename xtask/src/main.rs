//! Tasks of the workspace; see [`USAGE`].

#![forbid(unsafe_code)]

use std::{env, error::Error, process::ExitCode};

mod bench;
mod cargo;
mod ci;
mod features;
mod locks;
mod msrv;
mod service;
mod tools;
mod torture;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

const USAGE: &str = "\
Tasks of the workspace:

  cargo xtask ci [STEP...] [--skip STEP]...

      Runs the checks of a change, and lists the failed steps at the end. The steps are fmt, typos, deny, msrv,
      clippy, features, docs, test and service. Without names it runs all of them.

  cargo xtask bench [OPTION...]

      Builds and runs the benchmarks; `cargo xtask bench --help` prints the options. With --peers, it also measures
      other stores. With --instructions, it counts the instructions of hot paths instead (needs valgrind).

  cargo xtask crash [--rounds N] [--minutes M] [--seed S]

      Kills working processes repeatedly, and checks the databases that they leave.

  cargo xtask soak [--minutes N] [--seed S]

      Plays random histories on every composition, and compares each step with the reference model.

  cargo xtask churn [--minutes N] [--shapes N] [--rate N]

      Works on a stack in PostgreSQL for a long time, and prints whether the sizes of its tables level off.

  cargo xtask service demo

      Starts the sync service of examples/sync-service with a PostgreSQL of its own, sample data and a page. Needs
      PostgreSQL's server programs and Node.

  cargo xtask service test [--rounds N | --minutes N] [--clients N] [--shapes N] [--rows N] [--seed N]
                           [--nodes] [--trouble NAME,...]

      Lets Electric's client sync through that service while things go wrong, and compares its rows with queries:
      first with one process, then with two nodes over metadata in PostgreSQL. With --nodes only the latter.

  cargo xtask service measure [--shapes N] [--clients N] [--live N] [--picture FILE]

      Measures the service with buffered and with direct metadata.
";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.to_str(), rest),
        None => (None, &[][..]),
    };
    let result = match task {
        Some("bench") => bench::run(rest),
        Some(task @ ("churn" | "crash" | "soak")) => torture::run(task, rest),
        Some("service") => service::run(rest),
        Some("ci") => ci::run(lexopt::Parser::from_args(rest)),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(format!("unknown task {other:?}\n\n{USAGE}").into()),
        None => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
