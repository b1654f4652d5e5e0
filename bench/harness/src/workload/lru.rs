use std::{hint::black_box, time::Instant};

use shape_meta::{Timestamp, prelude::*};

use super::definition::{Chart, Workload};
use crate::{
    Kind, Result,
    data::sample,
    result::{Measure, Target},
    run::{Filling, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "lru",
    about: "the 1,000 least recently used shapes, all read at different times (closed loop); and the cost of recording \
            a read. Compositions of shape-meta only",
    run,
    charts: &[Chart::lines("1,000 least recently used", "1,000 least recently used")],
};

fn run(run: &mut Run<'_>) -> Result {
    for shapes in run.scale.sizes() {
        let mut candidates = run.candidates(*shapes);
        candidates.retain(|one| one.kind() == Kind::Composition);
        let filling = Filling { name: "plain", shapes: *shapes, shape: sample::shape };
        let mut opened = run.open_filled(&candidates, filling)?;
        let touched = (*shapes).min(run.scale.pick([500, 20_000, 200_000, 200_000]));
        let handles: Vec<_> = (0..touched).map(|at| sample::handle(sample::mix(at) % shapes)).collect();
        let rows = run.measure_rounds(&mut opened, |candidate| {
            let store = candidate.shape_meta().ok_or("compositions have a store")?;
            let now = Timestamp::now().as_micros();
            let start = Instant::now();
            for (at, handle) in handles.iter().enumerate() {
                store.touch(handle, Timestamp::from_micros(now + at as u64))?;
            }
            let touch = start.elapsed().as_nanos() as f64 / handles.len() as f64;
            let start = Instant::now();
            let oldest = black_box(store.lru(1_000)?);
            let took = start.elapsed().as_secs_f64() * 1e3;
            let found = oldest.shapes.len() as u64;
            let expected = 1_000.min(*shapes);
            if found == expected {
                Ok((touch, took))
            } else {
                Err(format!("{found} instead of {expected}").into())
            }
        })?;
        let measure = Measure::lower("1,000 least recently used", "ms").at(*shapes, "shapes");
        let target = if *shapes > 100_000 { 15.0 } else { 2.0 };
        run.record(&rows, measure.target_if(*shapes <= 1_000_000, Target::Most(target)), |(_, ms)| Some(*ms));
        let touch = Measure::lower("recording a last read", "ns").at(*shapes, "shapes");
        run.record(&rows, touch, |(ns, _)| Some(*ns));
    }
    Ok(())
}
