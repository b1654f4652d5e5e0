//! Instruction counts of the hot paths, by callgrind. They are the same on a busy machine, so a regression is
//! visible there as well.
//!
//! `cargo xtask bench --instructions` needs valgrind, and gungraun-runner in the version of gungraun in
//! `Cargo.lock` (`cargo install gungraun-runner`). Each figure is the count of a thousand operations.

#![allow(missing_docs, reason = "the macros generate modules without docs")]

use std::hint::black_box;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use shape_meta::{Handle, Key, MutateShapes, Mutation, ReadShapes, ShapeMeta, Timestamp};
use shape_meta_instructions::{adds, handles, keys, metrics, no_observer, tracing_off};

// The returned values are dropped after counting has ended.

#[library_benchmark]
#[bench::full_stack(handles(no_observer()))]
#[bench::tracing_off(handles(tracing_off()))]
#[bench::metrics(handles(metrics()))]
fn metadata((store, handles): (ShapeMeta, Vec<Handle>)) -> (ShapeMeta, Vec<Handle>) {
    for handle in &handles {
        black_box(store.metadata(black_box(handle)).is_ok_and(|found| found.is_some()));
    }
    (store, handles)
}

#[library_benchmark]
#[bench::full_stack(keys(no_observer()))]
fn handle_by_key((store, keys): (ShapeMeta, Vec<Key>)) -> (ShapeMeta, Vec<Key>) {
    for key in &keys {
        black_box(store.handle_for(black_box(key)).is_ok_and(|found| found.is_some()));
    }
    (store, keys)
}

#[library_benchmark]
#[bench::full_stack(handles(no_observer()))]
fn recording_a_last_read((store, handles): (ShapeMeta, Vec<Handle>)) -> (ShapeMeta, Vec<Handle>) {
    for handle in &handles {
        black_box(
            store.touch(black_box(handle), Timestamp::from_micros(u64::MAX / 2)).is_ok_and(|live| live),
        );
    }
    (store, handles)
}

#[library_benchmark]
#[bench::full_stack(adds(no_observer()))]
#[bench::tracing_off(adds(tracing_off()))]
#[bench::metrics(adds(metrics()))]
fn add_acknowledged((store, adds): (ShapeMeta, Vec<Mutation>)) -> (ShapeMeta, Vec<Mutation>) {
    for add in &adds {
        black_box(store.try_mutate(black_box(add)).is_ok());
    }
    (store, adds)
}

library_benchmark_group!(
    name = hot_paths,
    benchmarks = [metadata, handle_by_key, recording_a_last_read, add_acknowledged]
);

main!(
    // More than 5% above the previous run, or a named baseline, is a failure.
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]).soft_limits([(EventKind::Ir, 5.0)])),
    library_benchmark_groups = hot_paths
);
