//! The command line of the long-running tests.

#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

use shape_meta_torture::{churn, crash, soak};

const USAGE: &str = "\
cargo xtask crash [--store sqlite|postgres] [--rounds N] [--minutes M] [--seed S]

    Runs child processes that work on a database, and kills each with SIGKILL at a random moment: while it opens,
    migrates, recovers, writes, flushes, cleans or closes. Then checks that the database holds a prefix of the
    acknowledged mutations, including every durable one, and that no data of a live shape was deleted. The next round
    continues with the same files; between two rounds they may be copied, restored, moved or emptied, and then
    nothing that the database does not know may be deleted without the application's word. Each chain of rounds ends
    with a check that no stored data is left without a shape. Default: 100 rounds. The seed is printed; the same seed
    repeats the same rounds, as far as the scheduler allows.

    With --store postgres the server is also killed while a child works, or its synchronous replica is promoted. Then
    everything must be there that the durability promises.

cargo xtask soak [--minutes N] [--seed S]

    Plays random histories on every composition and compares each step with the reference model. Also runs threads
    whose calls must be linearizable. Default: 1 minute. A failure is shrunk. The seed is printed; the same seed
    repeats the same histories, as far as the scheduler allows.

cargo xtask churn [--minutes M] [--shapes N] [--rate R]

    Adds, marks, touches and removes R shapes a second over a PostgreSQL of its own with its default settings for
    autovacuum, with N live at any time, and samples the sizes of the tables every minute. Prints which of them were
    larger by a tenth in the last quarter of the time than in the second. Default: 60 minutes, 50,000 shapes, 200 a
    second. A short run says little: autovacuum looks once a minute.
";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let task = arguments.next();
    let outcome = match task.as_deref().and_then(|task| task.to_str()) {
        Some("crash") => crash::run(lexopt::Parser::from_args(arguments)),
        Some("soak") => soak::run(lexopt::Parser::from_args(arguments)),
        Some("churn") => churn::run(lexopt::Parser::from_args(arguments)),
        Some(crash::CHILD) => crash::child(),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(true)
        }
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::from(2)
        }
    }
}
