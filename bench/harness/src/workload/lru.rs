use std::{hint::black_box, time::Instant};

use shape_meta::{Timestamp, prelude::*};

use super::{Chart, Workload};
use crate::{
    Result,
    figure::Target,
    run::{Filling, Measure, Run},
    sample,
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "lru",
    about: "the 1,000 shapes that were not read for longest, all read at different times, one question after the \
            other (closed loop); and what noting a read costs. Compositions of shape-meta only",
    run,
    charts: &[Chart::lines("1,000 least recently used", "1,000 least recently used")],
};

fn run(run: &mut Run<'_>) -> Result {
    for shapes in run.scale.sizes() {
        let mut contestants = run.candidates(*shapes);
        contestants.retain(|one| one.kind() == crate::Kind::Composition);
        let filling = Filling { name: "plain", shapes: *shapes, shape: sample::shape };
        let mut opened = run.open_filled(&contestants, filling)?;
        let touched = (*shapes).min(run.scale.pick([500, 20_000, 200_000, 200_000]));
        let handles: Vec<_> = (0..touched).map(|at| sample::handle(sample::mix(at) % shapes)).collect();
        let rows = run.in_turn(&mut opened, |subject| {
            let store = subject.ours().ok_or("compositions are ours")?;
            let now = Timestamp::now().as_micros();
            let begun = Instant::now();
            for (at, handle) in handles.iter().enumerate() {
                store.touch(handle, Timestamp::from_micros(now + at as u64))?;
            }
            let touch = begun.elapsed().as_nanos() as f64 / handles.len() as f64;
            let begun = Instant::now();
            let stalest = black_box(store.lru(1_000)?);
            let took = begun.elapsed().as_secs_f64() * 1e3;
            let found = stalest.shapes.len() as u64;
            let there = 1_000.min(*shapes);
            if found == there { Ok((touch, took)) } else { Err(format!("{found} instead of {there}").into()) }
        })?;
        let measure = Measure::lower("1,000 least recently used", "ms").at(*shapes, "shapes");
        let target = if *shapes > 100_000 { 15.0 } else { 2.0 };
        run.tell(&rows, measure.target_if(*shapes <= 1_000_000, Target::Most(target)), |(_, ms)| Some(*ms))?;
        let touch = Measure::lower("noting a read", "ns").at(*shapes, "shapes");
        run.tell(&rows, touch, |(ns, _)| Some(*ns))?;
    }
    Ok(())
}
