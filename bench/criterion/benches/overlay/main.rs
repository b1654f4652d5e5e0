//! The cost of the overlay: `cargo bench -p shape-meta-bench-criterion --bench overlay`. The store below is
//! the reference store in memory, so that the buffer dominates.

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Handle, MemoryStore, MutateShapes, Mutation, NewShape, NoopObserver, ReadShapes, conformance,
};

const PENDING: u64 = 50_000;

fn shape(number: u64) -> NewShape {
    let mut shape = conformance::shape(number);
    shape.handle = handle(number);
    shape.definition = vec![7; 419].into();
    shape
}

fn handle(number: u64) -> Handle {
    Handle::new(format!("{number:08}-1768476874000000")).expect("printable")
}

fn buffered(pending: u64) -> Buffered<MemoryStore> {
    let options = BufferOptions::default().background_flush(false).max_pending_shapes(1 << 20);
    let store =
        Buffered::new(MemoryStore::new(), options, Arc::new(NoopObserver)).expect("memory does not fail");
    for number in 0..PENDING {
        store.try_mutate(&Mutation::Add(shape(number))).expect("below the limit");
    }
    store.flush_once().expect("memory does not fail");
    for number in PENDING..PENDING + pending {
        store.try_mutate(&Mutation::Add(shape(number))).expect("below the limit");
    }
    store
}

fn adds(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("mutations");
    let store = buffered(0);
    let mut number = PENDING;
    group.bench_function("add", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                if number.is_multiple_of(100_000) {
                    store.flush_once().expect("memory does not fail");
                }
                Mutation::Add(shape(number))
            },
            |mutation| store.try_mutate(&mutation).expect("below the limit"),
            BatchSize::LargeInput,
        );
    });
    let store = buffered(PENDING);
    let started = Mutation::snapshot_started(handle(PENDING + 7).as_str());
    group.bench_function("repeated mark of a pending shape", |bencher| {
        bencher.iter(|| store.try_mutate(&started).expect("live"));
    });
    group.finish();
}

fn reads(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("reads");
    let written = handle(7);
    let key = shape(7).key;
    let pending = handle(PENDING + 7);
    let relation = [shape(7).relations[0]];
    for (name, store) in [("nothing pending", buffered(0)), ("50,000 pending", buffered(PENDING))] {
        group.bench_function(format!("metadata of a written shape, {name}"), |bencher| {
            bencher.iter(|| store.metadata(black_box(&written)));
        });
        group.bench_function(format!("handle of a written key, {name}"), |bencher| {
            bencher.iter(|| store.handle_for(black_box(&key)));
        });
        group.bench_function(format!("shapes of a relation, {name}"), |bencher| {
            bencher.iter(|| store.handles_for_relations(black_box(&relation)));
        });
    }
    let store = buffered(PENDING);
    group.bench_function("metadata of a pending shape", |bencher| {
        bencher.iter(|| store.metadata(black_box(&pending)));
    });
    group.finish();
}

criterion_group!(benches, adds, reads);
criterion_main!(benches);
