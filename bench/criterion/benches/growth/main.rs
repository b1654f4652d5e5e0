//! What a batch costs the thread that applies it, while the number of shapes grows and the indexes with it:
//! `cargo bench -p shape-meta-bench-criterion --bench growth`. `SHAPES=10000,1000000` chooses how many shapes there are at first.
//! It is the processor's time, so that it says something on a busy machine too. Linux only.

use std::{env, fs};

use shape_meta_bench_criterion::null_store::{adds, open};
use shape_meta_cache::CacheOptions;
use shape_meta_core::ShapeStore;

const BATCHES: u64 = 24;
const ADDS: u64 = 50_000;

fn main() {
    println!("{BATCHES} batches of {ADDS} adds, milliseconds of the processor each");
    println!("{:>10} {:>9} {:>9} {:>9}", "shapes", "least", "median", "most");
    let sizes = env::var("SHAPES").unwrap_or_else(|_| "10000,1000000".to_owned());
    for shapes in sizes.split(',') {
        let shapes = shapes.trim().parse().expect("SHAPES is a list of numbers");
        let cached = open(shapes, CacheOptions::default());
        let batches: Vec<_> = (0..BATCHES).map(|batch| adds(shapes + batch * ADDS, ADDS)).collect();
        let mut took: Vec<_> = batches
            .iter()
            .map(|batch| {
                let begun = processor_time();
                cached.apply(batch).expect("it never fails");
                (processor_time() - begun) / 1e6
            })
            .collect();
        took.sort_unstable_by(f64::total_cmp);
        let (least, median, most) = (took[0], took[took.len() / 2], took[took.len() - 1]);
        println!("{shapes:>10} {least:>9.1} {median:>9.1} {most:>9.1}");
    }
}

/// Nanoseconds that this thread was running.
fn processor_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    text.split(' ').next().and_then(|word| word.parse().ok()).expect("it begins with a number")
}
