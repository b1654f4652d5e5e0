//! Calls that start from a definition, as callers do, next to the same calls with a prepared key:
//! `cargo bench -p shape-meta-bench-criterion --bench definition`. The store below is the reference store in
//! memory.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use shape_meta::{
    BufferOptions, CacheOptions, Handle, Keyed, Mutation, NewShape, NoopCleaner, Relation, Shape, ShapeMeta,
    TableName, prelude::*,
};
use shape_meta_core::MemoryStore;

const SHAPES: u64 = 10_000;

/// The adds that wait to be flushed stay far below the limit of the buffer.
const BATCH: BatchSize = BatchSize::NumIterations(10_000);

/// A definition of 300 bytes.
fn definition(number: u64) -> Shape {
    Shape::new(TableName::new("public", "issues"), Relation::new(16_384))
        .pk(["id"])
        .columns(["id", "title", "state", "body", "author_id", "created_at", "project_id", "updated_at"])
        .filter("project_id = $1 AND state <> 'done' AND author_id = $2")
        .param("1", format!("{number:012}"))
        .param("2", "7b1c9a52-71d0-4c25-8a")
}

fn handle(number: u64) -> Handle {
    Handle::new(format!("{number:08}-1768476874000000")).expect("printable")
}

fn store() -> ShapeMeta {
    let store = ShapeMeta::builder(NoopCleaner)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default().background_flush(false).max_pending_shapes(1 << 22))
        .over(MemoryStore::new())
        .expect("memory does not fail");
    for number in 0..SHAPES {
        store.add(NewShape::of(handle(number), &definition(number)), Wait::No).expect("below the limit");
    }
    store.flush(std::time::Duration::from_secs(60)).expect("memory does not fail");
    store
}

fn values(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("a definition of 300 bytes");
    let (handle, shape) = (handle(1), definition(1));
    assert_eq!(shape.encode().len(), 300);
    group.bench_function("key", |bencher| bencher.iter(|| black_box(&shape).key()));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&shape).encode()));
    group.bench_function("is_indexed", |bencher| bencher.iter(|| black_box(&shape).is_indexed()));
    group.bench_function("NewShape::of", |bencher| {
        bencher.iter(|| NewShape::of(black_box(&handle).clone(), black_box(&shape)));
    });
    let keyed = shape.keyed();
    group.bench_function("NewShape::of a keyed one", |bencher| {
        bencher.iter(|| NewShape::of(black_box(&handle).clone(), black_box(&keyed)));
    });
    group.finish();
}

fn calls(bench: &mut Criterion) {
    let store = store();
    let shapes: Vec<_> = (0..SHAPES).map(|number| (handle(number), definition(number))).collect();
    let keyed: Vec<_> = shapes.iter().map(|(handle, shape)| (handle, shape.clone().keyed())).collect();
    let pick = |at: &mut usize| {
        *at = (*at + 7) % SHAPES as usize;
        *at
    };
    let mut group = bench.benchmark_group("calls");
    let mut at = 0;
    group.bench_function("validate a handle, from a definition", |bencher| {
        bencher.iter(|| {
            let (handle, shape) = &shapes[pick(&mut at)];
            store.validate_handle(handle, shape.definition_hash())
        });
    });
    group.bench_function("validate a handle, keyed", |bencher| {
        bencher.iter(|| {
            let (handle, shape) = &keyed[pick(&mut at)];
            store.validate_handle(handle, shape.definition_hash())
        });
    });
    group.bench_function("look a handle up, from a definition", |bencher| {
        bencher.iter(|| store.handle_for(&shapes[pick(&mut at)].1.key()));
    });
    group.bench_function("look a handle up, keyed", |bencher| {
        bencher.iter(|| store.handle_for(keyed[pick(&mut at)].1.as_key()));
    });

    let mut next = SHAPES;
    let mut fresh = || {
        next += 1;
        if next.is_multiple_of(100_000) {
            // So that memory stays bounded.
            store.reset(Wait::No).expect("below the limit");
            store.flush(std::time::Duration::from_secs(60)).expect("memory does not fail");
        }
        (handle(next), definition(next))
    };
    group.bench_function("add, from a definition", |bencher| {
        let add = |(handle, shape): (Handle, Shape)| {
            store.try_mutate(&Mutation::Add(NewShape::of(handle, &shape))).expect("below the limit");
            shape
        };
        bencher.iter_batched(&mut fresh, add, BATCH);
    });
    group.bench_function("add, keyed", |bencher| {
        let add = |(handle, shape): (Handle, Keyed<Shape>)| {
            store.try_mutate(&Mutation::Add(NewShape::of(handle, &shape))).expect("below the limit");
            shape
        };
        let keyed = || {
            let (handle, shape) = fresh();
            (handle, shape.keyed())
        };
        bencher.iter_batched(keyed, add, BATCH);
    });
    group.bench_function("add, prepared", |bencher| {
        let prepared = || {
            let (handle, shape) = fresh();
            Mutation::Add(NewShape::of(handle, &shape))
        };
        bencher.iter_batched(prepared, |add| store.try_mutate(&add).expect("below the limit"), BATCH);
    });
    group.finish();
}

criterion_group!(definition_benches, values, calls);
criterion_main!(definition_benches);
