use std::time::{Duration, Instant};

use shape_meta::{SqliteOptions, prelude::*};

use super::Workload;
use crate::{
    Candidate, Result,
    run::{Measure, Run},
    sample,
    subject::FULL,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "closing",
    about: "closing with 100,000 changes pending, which writes them all",
    run,
    charts: &[],
};

fn run(run: &mut Run<'_>) -> Result {
    if !run.wants_full() {
        return Ok(());
    }
    let pending = run.scale.pick([100, 100_000, 100_000, 100_000]);
    let rows = run.afresh(&[&FULL as &dyn Candidate], |_, directory| {
        let store = FULL.open_with(directory, pending, SqliteOptions::default())?;
        store.pause();
        (0..pending).try_for_each(|number| store.add(sample::shape(number), Wait::No).map(drop))?;
        let begun = Instant::now();
        let report = store.close(Duration::from_secs(600));
        let took = begun.elapsed().as_secs_f64() * 1e3;
        if report.is_complete() { Ok(took) } else { Err(format!("{report:?}").into()) }
    })?;
    run.tell(&rows, Measure::lower("closing", "ms").at(pending, "changes pending"), |ms| Some(*ms))
}
