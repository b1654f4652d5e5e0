use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use shape_meta::{Evictor, EvictorOptions, ShapeMeta, prelude::*};

use super::definition::{Chart, Workload};
use crate::{
    BoxError, Kind, Result,
    data::sample,
    probe::Latencies,
    result::Measure,
    run::{Filling, Run},
};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "eviction",
    about: "two threads add shapes to a full store (closed loop), first alone, and then while an evictor keeps the \
            number of shapes. Compositions of shape-meta only",
    run,
    charts: &[Chart::distribution("Adds next to an evictor", "p99 of an add next to an evictor")],
};

/// The first number of the shapes that are added.
const NEW: u64 = 1 << 42;
const THREADS: u64 = 2;

struct Round {
    alone: Latencies,
    busy: Latencies,
    evicted: f64,
}

fn run(run: &mut Run<'_>) -> Result {
    let shapes = run.scale.pick([500, 20_000, 1_000_000, 1_000_000]);
    let duration = Duration::from_millis(run.scale.pick([30, 100, 2_000, 2_000]));
    let mut candidates = run.candidates(shapes);
    candidates.retain(|one| one.kind() == Kind::Composition);
    // Of its own, since it evicts shapes that others read.
    let filling = Filling { name: "eviction", shapes, shape: sample::shape };
    let mut opened = run.open_filled(&candidates, filling)?;
    let mut number = 0;
    let rows = run.measure_rounds(&mut opened, |candidate| {
        let store = candidate.shape_meta().ok_or("compositions have a store")?;
        let mut adds = |until: &AtomicBool| {
            number += 1;
            add(store, NEW + number * 100_000_000, duration, until)
        };
        let alone = adds(&AtomicBool::new(false))?;
        // What was added before goes first, so that each round begins alike.
        let evictor = Evictor::new(EvictorOptions::default().max_shapes(shapes).low_water(shapes));
        while evictor.step(store).more {}
        let evictor =
            Evictor::new(EvictorOptions::default().max_shapes(shapes).low_water(shapes - shapes / 100));
        let done = AtomicBool::new(false);
        let (busy, evicted) = thread::scope(|scope| {
            let evicting = scope.spawn(|| {
                let mut evicted = 0;
                while !done.load(Ordering::Relaxed) {
                    evicted += evictor.step(store).removed.len();
                }
                evicted
            });
            let busy = adds(&done);
            done.store(true, Ordering::Relaxed);
            let evicted = evicting.join().map_err(|_| "the evictor panicked")?;
            Ok::<_, BoxError>((busy?, evicted as f64 / duration.as_secs_f64()))
        })?;
        Ok(Round { alone, busy, evicted })
    })?;
    run.record_latencies(&rows, Measure::lower("an add alone", "us"), |round| &round.alone);
    run.record_latencies(&rows, Measure::lower("an add next to an evictor", "us"), |round| &round.busy);
    run.record(&rows, Measure::higher("evicted during the adds", "shapes/s"), |round| Some(round.evicted));
    Ok(())
}

/// Adds for this long, or until `done`. Shapes are read when they are created, so they age.
fn add(store: &ShapeMeta, from: u64, duration: Duration, done: &AtomicBool) -> Result<Latencies> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let (mut latencies, begun) = (Latencies::default(), Instant::now());
                    for number in from + thread * 10_000_000.. {
                        if begun.elapsed() >= duration || done.load(Ordering::Relaxed) {
                            break;
                        }
                        let shape = sample::shape(number);
                        let handle = shape.handle.clone();
                        let start = Instant::now();
                        store.add(shape, Wait::UpTo(Duration::from_secs(60)))?;
                        latencies.record(start.elapsed());
                        store.touch_now(&handle)?;
                    }
                    Ok::<_, BoxError>(latencies)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a writer panicked")?).collect()
    })
}
