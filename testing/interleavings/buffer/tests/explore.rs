use std::env;

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

/// How many schedules of each kind a scenario is run under, unless `INTERLEAVINGS` says otherwise.
const SCHEDULES: usize = 2_000;

/// The schedules that [`PctScheduler`] makes find what needs up to so many switches at the wrong moment.
const DEPTH: usize = 3;

/// Runs a scenario under many schedules: half of them chosen at random at each step, half of them with a few
/// switches at chosen moments (probabilistic concurrency testing). A panic in any thread fails, and so does a
/// schedule in which all threads wait.
///
/// `INTERLEAVINGS=100000` runs so many of each. What fails prints its schedule; `INTERLEAVING=...`, with the
/// name of the test, runs that one alone.
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
    // That an atomic is seen in one order by all: what needs less is argued where it stands.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}
