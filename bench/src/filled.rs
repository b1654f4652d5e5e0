//! A database with many shapes, which later workloads open.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use shape_meta::{Lookups, SnapshotState, prelude::*};

use crate::{
    Result,
    figure::{Figure, Target},
    sample,
};

/// The rate is compared between parts of this size.
const PART: u64 = 100_000;

/// Fills the database with complete shapes and says whether the rate falls as it grows.
pub(crate) fn fill(directory: &Path, shapes: u64) -> Result<Vec<Figure>> {
    let store = sample::open(directory, Lookups::InMemory, shapes as usize)?;
    let wait = Wait::UpTo(Duration::from_secs(60));
    let mut rates = Vec::new();
    let begun = Instant::now();
    for part in 0..shapes.div_ceil(PART) {
        let numbers = part * PART..((part + 1) * PART).min(shapes);
        let added: Vec<_> = numbers.clone().map(sample::shape).collect();
        let begun = Instant::now();
        for shape in added {
            let handle = shape.handle.clone();
            store.add(shape, wait)?;
            store.mutate(&shape_meta::Mutation::Mark(handle.to_string(), SnapshotState::Complete), wait)?;
        }
        store.flush(Duration::from_secs(600))?;
        rates.push((numbers.end - numbers.start) as f64 / begun.elapsed().as_secs_f64());
    }
    let whole = shapes as f64 / begun.elapsed().as_secs_f64();
    store.close(Duration::from_secs(60));
    drop(store);
    let size: u64 =
        std::fs::read_dir(directory)?.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();

    let of = |name: String, unit, value: f64| Figure::of("growth", name, unit, vec![value]);
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    let bytes = size as f64 / (shapes * sample::RECORD) as f64;
    Ok(vec![
        of(format!("durable rate while filling to {shapes}, with marks"), "shapes/s", whole),
        of(format!("the same, the last {PART} (limit: the first)"), "shapes/s", last)
            .limit(vec![first])
            .target(Target::LeastTimesLimit(0.8)),
        of("bytes on disk, for each byte of the records".into(), "", bytes).target(Target::Most(1.6)),
    ])
}
