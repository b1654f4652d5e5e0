//! Shapes on disk, end to end: from the first add until the last receipt is durable.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use shape_meta::{Lookups, NewShape, prelude::*};

use crate::{
    Result, bare,
    figure::{Figure, Target},
    sample,
};

/// The batch of the bare loop: what a flush takes at once, about.
const BATCH: usize = 50_000;

pub(crate) fn run(root: &Path, shapes: u64, rounds: usize) -> Result<Vec<Figure>> {
    let all: Vec<_> = (0..shapes).map(sample::shape).collect();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // One round of each that does not count: the file system and the allocator warm up.
    for round in 0..=rounds {
        let rate = buffered(&root.join(format!("durable-{round}")), &all)?;
        let limit = bare::insert(&root.join(format!("bare-{round}")), &all, BATCH)?;
        for name in ["durable", "bare"] {
            std::fs::remove_dir_all(root.join(format!("{name}-{round}")))?;
        }
        if round > 0 {
            ours.push(rate);
            bare.push(limit);
        }
    }
    let name = format!("shapes on disk, end to end, {shapes} in all");
    Ok(vec![Figure::of("durable", name, "shapes/s", ours).limit(bare).target(Target::LeastTimesLimit(0.95))])
}

fn buffered(directory: &Path, shapes: &[NewShape]) -> Result<f64> {
    let store = sample::open(directory, Lookups::InMemory, shapes.len())?;
    let begun = Instant::now();
    for shape in shapes {
        store.add(shape.clone(), Wait::UpTo(Duration::from_secs(60)))?;
    }
    store.flush(Duration::from_secs(600))?;
    let rate = shapes.len() as f64 / begun.elapsed().as_secs_f64();
    store.close(Duration::from_secs(60));
    Ok(rate)
}
