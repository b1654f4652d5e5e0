//! The tortures, by name.

#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

use shape_meta_torture::{crash, soak};

const USAGE: &str = "\
cargo xtask crash [--rounds N] [--minutes M] [--seed S]

    Lets a child process work on a database and kills it with SIGKILL at a moment that is drawn: while it opens,
    migrates, recovers, works, flushes or closes. Then looks whether the database holds a prefix of what the child
    was told, and all of what was durable; and goes on with the same files. At most 100 rounds, unless told
    otherwise. The seed is printed; the same seed draws the same rounds, as far as threads allow.

cargo xtask soak [--minutes N] [--seed S]

    Plays random histories on every composition and compares each step with the reference model, and lets threads
    loose whose calls must have an order, for a minute unless told otherwise. What is found is shrunk. The seed is
    printed; the same seed plays the same in the same order, as far as threads allow.
";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let task = arguments.next();
    let outcome = match task.as_deref().and_then(|task| task.to_str()) {
        Some("crash") => crash::run(lexopt::Parser::from_args(arguments)),
        Some("soak") => soak::run(lexopt::Parser::from_args(arguments)),
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
