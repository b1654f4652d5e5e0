//! Histories without end: those of the tests of C5 (random operations with failures, refusals, partial flushes,
//! reopenings and crashes, each step compared with the reference model) and of C1 (threads, whose calls must have
//! an order), on every composition over a database file.

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
    compositions::{ALL, Composition, Flushing, directory},
    one_file::follows_the_model,
};

/// Histories of a composition before it is the next one's turn.
const CASES: u32 = 2;
/// How many smaller histories are tried when one has failed: a few minutes.
const SMALLER: u32 = 2_000;
/// Rounds of threads in a turn.
const ROUNDS: usize = 50;

/// What the latest panic said. It is told by nobody else, since most of them belong to the histories.
fn latest_panic() -> MutexGuard<'static, String> {
    static LATEST: Mutex<String> = Mutex::new(String::new());
    LATEST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays until it is late, or something is found.
///
/// # Errors
///
/// If the arguments make no sense.
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
    let found = soak(seed, Instant::now() + Duration::from_secs(60 * minutes));
    println!("{} histories and {} rounds of threads", found.histories, found.rounds);
    if let Some(found) = &found.failure {
        println!("FOUND, with --seed {seed}: {found}");
    }
    Ok(found.failure.is_none())
}

/// What was played, and what came of it.
#[derive(Debug, Default)]
pub struct Soaked {
    /// Histories that were compared with the model.
    pub histories: u64,
    /// Rounds of threads that have an order.
    pub rounds: u64,
    /// What was found, shrunk as far as it goes.
    pub failure: Option<String>,
}

/// Plays until this moment, or until something is found; at least one turn of each composition. The same seed
/// plays the same in the same order.
pub fn soak(seed: u64, end: Instant) -> Soaked {
    let mut random = Rng::with_seed(seed);
    let mut soaked = Soaked::default();
    // Panics below are a part of most histories.
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|panic| *latest_panic() = panic.to_string()));
    'soak: loop {
        for composition in ALL {
            let failure = model(composition, random.u64(..), &mut soaked)
                .or_else(|| threads(composition, random.u64(..), &mut soaked));
            if let Some(failure) = failure {
                soaked.failure = Some(format!("{composition:?}: {failure}"));
                break 'soak;
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    panic::set_hook(loud);
    soaked
}

/// Some histories, step by step. One turn in four has a thread that flushes all the time.
fn model(composition: Composition, seed: u64, soaked: &mut Soaked) -> Option<String> {
    let flushing = if seed.is_multiple_of(4) { Flushing::Busy } else { Flushing::Stepped };
    let composition = composition.flushing(flushing);
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: SMALLER,
        ..Config::default()
    };
    let ops = prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..120);
    let outcome = TestRunner::new(config).run(&ops, |ops| {
        follows_the_model(composition, &ops);
        Ok(())
    });
    soaked.histories += u64::from(CASES);
    match outcome {
        Ok(()) => None,
        Err(TestError::Fail(why, ops)) => Some(format!("{why}\nby the operations\n{ops:?}")),
        Err(other) => Some(other.to_string()),
    }
}

/// Some rounds of threads, over a slow store.
fn threads(composition: Composition, seed: u64, soaked: &mut Soaked) -> Option<String> {
    let (directory, faults) = (directory(), Faults::default());
    faults.slow_down(seed % 20);
    let composition = composition.flushing(Flushing::Busy);
    let below = FailingStore::with(Arc::new(composition.below(directory.path())), faults);
    let played =
        AssertUnwindSafe(|| shape_meta_harness::linear::rounds::play(&composition.over(below), seed, ROUNDS));
    soaked.rounds += ROUNDS as u64;
    match panic::catch_unwind(played) {
        Ok(outcome) => outcome.err().map(|calls| format!("C1: these calls have no order: {calls:#?}")),
        Err(_) => Some(format!("a thread panicked: {}", latest_panic())),
    }
}
