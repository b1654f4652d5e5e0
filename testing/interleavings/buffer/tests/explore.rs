use std::env;

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

/// The number of schedules of each kind for a scenario, unless `INTERLEAVINGS` is set.
const SCHEDULES: usize = 2_000;

/// The number of unlucky context switches that a schedule of [`PctScheduler`] makes, at most.
const DEPTH: usize = 3;

/// Runs a scenario under many schedules. Half of them choose the next thread at random at each step; the
/// other half make a few switches at chosen moments (probabilistic concurrency testing). A panic in any
/// thread fails the test, and so does a schedule in which all threads wait.
///
/// `INTERLEAVINGS=100000` sets the number of schedules of each kind. A failure prints its schedule;
/// `INTERLEAVING=...`, with the name of the test, replays it.
pub(crate) fn explore(scenario: impl Fn() + Copy + Send + Sync + 'static) {
    if let Ok(schedule) = env::var("INTERLEAVING") {
        return shuttle::replay(scenario, &schedule);
    }
    let schedules =
        env::var("INTERLEAVINGS").map(|number| number.parse().expect("INTERLEAVINGS is a number"));
    let schedules = schedules.unwrap_or(SCHEDULES);
    run(RandomScheduler::new(schedules), scenario);
    run(PctScheduler::new(DEPTH, schedules), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    // Shuttle makes all atomics sequentially consistent. Weaker orderings are argued where they are used.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}
