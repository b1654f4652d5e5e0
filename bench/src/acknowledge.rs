//! Adds into memory, below the bound, with the flusher writing behind.

use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use shape_meta::{CacheOptions, NewShape, NoData, ShapeMeta, prelude::*};

use crate::{
    Result,
    figure::{Figure, Target},
    sample,
};

const SHAPES: u64 = 200_000;

pub(crate) fn run(root: &Path, rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for threads in [1, 8, 64] {
        let (mut rates, mut p50, mut p99, mut most) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let directory = root.join(format!("acknowledge-{threads}-{round}"));
            let (rate, latency) = round_of(&directory, threads)?;
            std::fs::remove_dir_all(&directory)?;
            rates.push(rate);
            p50.push(latency.value_at_quantile(0.5) as f64 / 1e3);
            p99.push(latency.value_at_quantile(0.99) as f64 / 1e3);
            most.push(latency.max() as f64 / 1e3);
        }
        let name = |what| format!("{what}, {threads} threads");
        let of = |what, unit, rounds| Figure::of("acknowledge", name(what), unit, rounds);
        let rate = of("adds into memory", "shapes/s", rates);
        let p99 = of("p99 of an add", "us", p99);
        figures.extend(match threads {
            1 => [rate.target(Target::Least(500_000.0)), p99],
            8 => [rate.target(Target::Least(1_000_000.0)), p99.target(Target::Most(20.0))],
            _ => [rate, p99.target(Target::Most(50.0))],
        });
        figures.push(of("p50 of an add", "us", p50));
        figures.push(of("longest add", "us", most));
    }
    Ok(figures)
}

fn round_of(directory: &Path, threads: u64) -> Result<(f64, Histogram<u64>)> {
    let store = ShapeMeta::builder(NoData)
        .cached(CacheOptions::default().expected_shapes(SHAPES as usize))
        .buffered(sample::buffer().max_changes(2 * SHAPES as usize))
        .open(directory)?;
    let each = SHAPES / threads;
    let start = Barrier::new(threads as usize + 1);
    let (took, latency) = thread::scope(|scope| -> Result<_> {
        let adders: Vec<_> = (0..threads)
            .map(|thread| {
                let shapes: Vec<_> = (thread * each..(thread + 1) * each).map(sample::shape).collect();
                let (store, start) = (store.clone(), &start);
                scope.spawn(move || add(&store, shapes, start))
            })
            .collect();
        start.wait();
        let mut latency = Histogram::new(3)?;
        let mut times: Option<(Instant, Instant)> = None;
        for adder in adders {
            let (of_thread, begun, ended) = adder.join().map_err(|_| "an adder panicked")??;
            latency.add(of_thread)?;
            let (first, last) = times.unwrap_or((begun, ended));
            times = Some((first.min(begun), last.max(ended)));
        }
        // From the first begin to the last end: this thread may have been late for both.
        let (begun, ended) = times.ok_or("there is an adder")?;
        Ok((ended - begun, latency))
    })?;
    let report = store.close(Duration::from_secs(60));
    assert!(report.is_complete(), "{report:?}");
    Ok(((each * threads) as f64 / took.as_secs_f64(), latency))
}

fn add(
    store: &ShapeMeta,
    shapes: Vec<NewShape>,
    start: &Barrier,
) -> Result<(Histogram<u64>, Instant, Instant)> {
    let mut latency = Histogram::new(3)?;
    start.wait();
    let started = Instant::now();
    for shape in shapes {
        let mutation = shape_meta::Mutation::Add(shape);
        let begun = Instant::now();
        store.try_mutate(&mutation)?;
        latency.record(begun.elapsed().as_nanos() as u64)?;
    }
    Ok((latency, started, Instant::now()))
}
