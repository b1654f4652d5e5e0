//! Instructions of the hot paths, by callgrind: the same on a busy machine, so that a regression is seen there too.
//!
//! `cargo xtask bench --instructions`. It needs valgrind, and `cargo install gungraun-runner` of the version of
//! gungraun in `Cargo.lock`. Each figure is of a thousand operations.

#![allow(missing_docs, reason = "the macros make modules without")]

use std::hint::black_box;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use shape_meta::{Handle, Key, MutateShapes, Mutation, ReadShapes, ShapeMeta, Timestamp};
use shape_meta_instructions::{adds, handles, keys, metrics, nobody, tracing_off};

// What is given back is dropped after counting has ended.

#[library_benchmark]
#[bench::full_stack(handles(nobody()))]
#[bench::tracing_off(handles(tracing_off()))]
#[bench::metrics(handles(metrics()))]
fn metadata((store, handles): (ShapeMeta, Vec<Handle>)) -> (ShapeMeta, Vec<Handle>) {
    for handle in &handles {
        black_box(store.metadata(black_box(handle)).is_ok_and(|found| found.is_some()));
    }
    (store, handles)
}

#[library_benchmark]
#[bench::full_stack(keys(nobody()))]
fn handle_by_key((store, keys): (ShapeMeta, Vec<Key>)) -> (ShapeMeta, Vec<Key>) {
    for key in &keys {
        black_box(store.handle_for(black_box(key)).is_ok_and(|found| found.is_some()));
    }
    (store, keys)
}

#[library_benchmark]
#[bench::full_stack(handles(nobody()))]
fn noting_a_read((store, handles): (ShapeMeta, Vec<Handle>)) -> (ShapeMeta, Vec<Handle>) {
    for handle in &handles {
        black_box(
            store.touch(black_box(handle), Timestamp::from_micros(u64::MAX / 2)).is_ok_and(|live| live),
        );
    }
    (store, handles)
}

#[library_benchmark]
#[bench::full_stack(adds(nobody()))]
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
    benchmarks = [metadata, handle_by_key, noting_a_read, add_acknowledged]
);

main!(
    // More than five in a hundred beyond the run before, or a named baseline, is a failure.
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]).soft_limits([(EventKind::Ir, 5.0)])),
    library_benchmark_groups = hot_paths
);
