//! Endless random tests on every composition over a database file: the histories of C5, with failures,
//! rejections, partial flushes, reopenings and crashes, each step compared with the reference model; and the
//! linearizability check of C1 with threads.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fastrand::Rng;
use lexopt::{Arg, Parser, ValueExt};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestError, TestRunner},
};
use shape_meta_core::conformance::{FailingStore, Faults, ops::Op};

use crate::crash::Outcome;
use shape_meta_harness::{
    compositions::{ALL, Composition, FlushSchedule, directory},
    database_fixture::follows_the_model,
};

/// The number of histories that one composition plays in a cycle.
const CASES: u32 = 2;
/// The limit on the attempts to shrink a failing history, which takes a few minutes.
const MAX_SHRINKS: u32 = 2_000;
/// The number of rounds of threads that one composition plays in a cycle.
const ROUNDS: usize = 50;

/// Returns the message of the latest panic. The panic hook prints nothing, because most panics are part of
/// the histories.
fn latest_panic() -> MutexGuard<'static, String> {
    static LATEST: Mutex<String> = Mutex::new(String::new());
    LATEST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays until the time is up or a failure is found.
///
/// # Errors
///
/// If the arguments are invalid.
pub fn run(mut arguments: Parser) -> Outcome {
    let (mut minutes, mut seed) = (1, fastrand::u64(..));
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("minutes") => minutes = arguments.value()?.parse::<u64>()?,
            Arg::Long("seed") => seed = arguments.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    println!("seed {seed}");
    let report = soak(seed, Instant::now() + Duration::from_secs(60 * minutes));
    println!("{} histories and {} rounds of threads", report.histories, report.rounds);
    if let Some(failure) = &report.failure {
        println!("FAILED with --seed {seed}: {failure}");
    }
    Ok(report.failure.is_none())
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct SoakReport {
    /// The number of histories that were compared with the model.
    pub histories: u64,
    /// The number of rounds of threads that were linearizable.
    pub rounds: u64,
    /// The first failure, shrunk as far as possible.
    pub failure: Option<String>,
}

/// Plays until `end` or the first failure, and at least one cycle of all compositions. The same seed plays
/// the same histories in the same order.
pub fn soak(seed: u64, end: Instant) -> SoakReport {
    let mut random = Rng::with_seed(seed);
    let mut report = SoakReport::default();
    // The histories cause panics on purpose, which the default hook would print.
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(|panic| *latest_panic() = panic.to_string()));
    'soak: loop {
        for composition in ALL {
            let failure = model(composition, random.u64(..), &mut report)
                .or_else(|| threads(composition, random.u64(..), &mut report));
            if let Some(failure) = failure {
                report.failure = Some(format!("{composition:?}: {failure}"));
                break 'soak;
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    panic::set_hook(default_hook);
    report
}

/// Plays a few histories step by step. One seed in four uses a thread that flushes constantly.
fn model(composition: Composition, seed: u64, report: &mut SoakReport) -> Option<String> {
    let flushing = if seed.is_multiple_of(4) { FlushSchedule::Continuous } else { FlushSchedule::Manual };
    let composition = composition.with_flush_schedule(flushing);
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: MAX_SHRINKS,
        ..Config::default()
    };
    let ops = prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..120);
    let outcome = TestRunner::new(config).run(&ops, |ops| {
        follows_the_model(composition, &ops);
        Ok(())
    });
    report.histories += u64::from(CASES);
    match outcome {
        Ok(()) => None,
        Err(TestError::Fail(why, ops)) => Some(format!("{why}\nby the operations\n{ops:?}")),
        Err(other) => Some(other.to_string()),
    }
}

/// Plays some rounds of threads over a slow store.
fn threads(composition: Composition, seed: u64, report: &mut SoakReport) -> Option<String> {
    let (directory, faults) = (directory(), Faults::default());
    faults.slow_down(seed % 20);
    let composition = composition.with_flush_schedule(FlushSchedule::Continuous);
    let below = FailingStore::with(Arc::new(composition.open_sqlite(directory.path())), faults);
    let played = AssertUnwindSafe(|| {
        shape_meta_harness::linear::rounds::run_rounds(&composition.over(below), seed, ROUNDS)
    });
    report.rounds += ROUNDS as u64;
    match panic::catch_unwind(played) {
        Ok(outcome) => outcome.err().map(|calls| format!("C1: these calls are not linearizable: {calls:#?}")),
        Err(_) => Some(format!("a thread panicked: {}", latest_panic())),
    }
}
