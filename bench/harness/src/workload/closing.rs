use std::time::{Duration, Instant};

use shape_meta::{SqliteOptions, prelude::*};

use super::definition::Workload;
use crate::{Candidate, Result, candidate::FULL_STACK, data::sample, result::Measure, run::Run};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "closing",
    about: "closing with 50,000 to 100,000 pending changes, which are all written",
    run,
    charts: &[],
};

fn run(run: &mut Run<'_>) -> Result {
    if !run.has_full_stack() {
        return Ok(());
    }
    let pending = run.scale.pick([100, 50_000, 100_000, 100_000]);
    let rows = run.measure_in_new_directories(&[&FULL_STACK as &dyn Candidate], |_, directory| {
        let store = FULL_STACK.open_with(directory, pending, SqliteOptions::default())?;
        store.pause();
        (0..pending).try_for_each(|number| store.add(sample::shape(number), Wait::No).map(drop))?;
        let start = Instant::now();
        let report = store.close(Duration::from_secs(600));
        let took = start.elapsed().as_secs_f64() * 1e3;
        if report.is_complete() { Ok(took) } else { Err(format!("{report:?}").into()) }
    })?;
    run.record(&rows, Measure::lower("closing", "ms").at(pending, "changes pending"), |ms| Some(*ms));
    Ok(())
}
