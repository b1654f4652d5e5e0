//! Crashes: a child that works, and a parent that kills it and looks at what is left (C6).

mod check;
mod child;
mod heard;
mod parent;
mod plan;
mod report;
/// What a child does is the same here as in the tests of the composed store.
use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use lexopt::{Arg, Parser, ValueExt};

pub use child::NAME as CHILD;
pub use parent::Chain;
pub use report::Report;

/// What a task of this package ends with: whether all was well, or why it could not be done.
pub type Outcome<T = bool> = Result<T, Box<dyn Error>>;

/// The parent: draws rounds, and says at the end how they went.
///
/// # Errors
///
/// If the arguments make no sense, or a child cannot be started.
pub fn run(mut arguments: Parser) -> Outcome {
    let (mut rounds, mut minutes, mut seed) = (None, None, fastrand::u64(..));
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("rounds") => rounds = Some(arguments.value()?.parse()?),
            Arg::Long("minutes") => minutes = Some(arguments.value()?.parse::<u64>()?),
            Arg::Long("seed") => seed = arguments.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let most = rounds.unwrap_or(if minutes.is_some() { u64::MAX } else { 100 });
    let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    println!("seed {seed}");
    let report = rounds_of(&env::current_exe()?, seed, most, end)?;
    println!("{report}");
    Ok(report.is_well())
}

/// So many rounds with this binary as the child, or until it is late.
///
/// # Errors
///
/// If a child cannot be started, or a directory be made.
pub fn rounds_of(binary: &std::path::Path, seed: u64, rounds: u64, end: Option<Instant>) -> Outcome<Report> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut report = Report::default();
    let mut chain = None;
    while report.rounds < rounds && end.is_none_or(|end| Instant::now() < end) {
        // The same files for some generations, and then others.
        let mut current = match chain.take() {
            Some(chain) => chain,
            None => Chain::begin(&mut random)?,
        };
        let well = current.round(binary, &mut random, &mut report)?;
        if !well {
            println!(
                "seed {seed}, round {}: the files are kept in {}",
                report.rounds,
                current.keep().display()
            );
        } else if random.u8(..8) > 0 {
            chain = Some(current);
        }
    }
    Ok(report)
}

/// The child: does what its environment says.
///
/// # Errors
///
/// If the environment does not say what to do.
pub fn child() -> Outcome {
    child::run()
}
