//! The cost of a batch for the thread that applies it, while the number of shapes and the indexes grow:
//! `cargo bench -p shape-meta-bench-criterion --bench growth`. The variable `SHAPES=10000,1000000` sets the
//! initial numbers of shapes. Measures processor time, so that the figures are usable on a busy machine.
//! Linux only.

use std::{env, fs};

use shape_meta_bench_criterion::null_store::{adds, open};
use shape_meta_cache::CacheOptions;
use shape_meta_core::ShapeStore;

const BATCHES: u64 = 24;
const ADDS: u64 = 50_000;

fn main() {
    println!("{BATCHES} batches of {ADDS} adds, milliseconds of processor time each");
    println!("{:>10} {:>9} {:>9} {:>9}", "shapes", "min", "median", "max");
    let sizes = env::var("SHAPES").unwrap_or_else(|_| "10000,1000000".to_owned());
    for shapes in sizes.split(',') {
        let shapes = shapes.trim().parse().expect("SHAPES is a list of numbers");
        let cached = open(shapes, CacheOptions::default());
        let batches: Vec<_> = (0..BATCHES).map(|batch| adds(shapes + batch * ADDS, ADDS)).collect();
        let mut took: Vec<_> = batches
            .iter()
            .map(|batch| {
                let before = processor_time();
                cached.apply(batch).expect("it never fails");
                (processor_time() - before) / 1e6
            })
            .collect();
        took.sort_unstable_by(f64::total_cmp);
        let (min, median, max) = (took[0], took[took.len() / 2], took[took.len() - 1]);
        println!("{shapes:>10} {min:>9.1} {median:>9.1} {max:>9.1}");
    }
}

/// Returns the nanoseconds for which this thread has run.
fn processor_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux provides it");
    text.split(' ').next().and_then(|word| word.parse().ok()).expect("it begins with a number")
}
