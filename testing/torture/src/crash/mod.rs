//! Crash tests (C6, C12, C13): a parent kills working child processes, and checks the databases and the
//! stored data that they leave. Between two children it copies, restores, moves and empties the files. Over
//! PostgreSQL it also kills the server, and promotes its replica.

mod check;
mod child;
mod child_log;
mod parent;
mod plan;
mod report;
mod servers;
mod stored_data;

use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use lexopt::{Arg, Parser, ValueExt};

pub use child::NAME as CHILD;
pub use parent::Chain;
pub use report::Report;
use servers::Servers;

/// The result of a command: whether no violation was found, or why the command could not run.
pub type Outcome<T = bool> = Result<T, Box<dyn Error>>;

/// Runs the parent: plays random rounds and prints a report.
///
/// # Errors
///
/// If the arguments are invalid, or a child cannot be started.
pub fn run(mut arguments: Parser) -> Outcome {
    let (mut rounds, mut minutes, mut seed, mut on_servers) = (None, None, fastrand::u64(..), false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("rounds") => rounds = Some(arguments.value()?.parse()?),
            Arg::Long("minutes") => minutes = Some(arguments.value()?.parse::<u64>()?),
            Arg::Long("seed") => seed = arguments.value()?.parse()?,
            Arg::Long("store") => {
                on_servers = match arguments.value()?.to_str() {
                    Some("sqlite") => false,
                    Some("postgres") => true,
                    _ => return Err("the stores are sqlite and postgres".into()),
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let max_rounds = rounds.unwrap_or(if minutes.is_some() { u64::MAX } else { 100 });
    let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    println!("seed {seed}");
    let binary = env::current_exe()?;
    let report = match on_servers {
        false => rounds_of(&binary, seed, max_rounds, end)?,
        true => rounds_on_servers(&binary, seed, max_rounds, end)?.ok_or("there is no PostgreSQL")?,
    };
    println!("{report}");
    Ok(report.is_sound())
}

/// Plays up to `rounds` rounds with this binary as the child, until `end`.
///
/// # Errors
///
/// If a child cannot be started, or a directory cannot be created.
pub fn rounds_of(binary: &std::path::Path, seed: u64, rounds: u64, end: Option<Instant>) -> Outcome<Report> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut report = Report::default();
    let mut chain = None;
    while report.rounds < rounds && end.is_none_or(|end| Instant::now() < end) {
        // Each chain of rounds uses the same files, for eight rounds on average.
        let mut current = match chain.take() {
            Some(chain) => chain,
            None => Chain::begin(&mut random)?,
        };
        let is_last = random.u8(..8) == 0;
        let is_sound = current.round(binary, &mut random, &mut report)?
            && current.between(&mut random, is_last, &mut report)?;
        if !is_sound {
            println!(
                "seed {seed}, round {}: the files are kept in {}",
                report.rounds,
                current.keep().display()
            );
        } else if !is_last {
            chain = Some(current);
        }
    }
    Ok(report)
}

/// The same over PostgreSQL; `None` if there is none.
///
/// # Errors
///
/// If a child or a server cannot be started.
pub fn rounds_on_servers(
    binary: &std::path::Path,
    seed: u64,
    rounds: u64,
    end: Option<Instant>,
) -> Outcome<Option<Report>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut report = Report::default();
    let mut chain = None;
    while report.rounds < rounds && end.is_none_or(|end| Instant::now() < end) {
        let current = match chain.take() {
            Some(chain) => Some(chain),
            None => Servers::begin(&mut random)?,
        };
        let Some(mut current) = current else { return Ok(None) };
        let is_sound = current.round(binary, &mut random, &mut report);
        // What was found until then, if a server cannot be started.
        let is_sound = is_sound.inspect_err(|_| println!("{report}"))?;
        if !is_sound {
            println!("seed {seed}, round {}", report.rounds);
        } else if random.u8(..8) > 0 {
            chain = Some(current);
        }
    }
    Ok(Some(report))
}

/// Runs the child: performs the task in its environment.
///
/// # Errors
///
/// If the environment holds no valid task.
pub fn child() -> Outcome {
    child::run()
}
