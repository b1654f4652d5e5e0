//! What subscribers cost a mutation: `cargo bench -p shape-meta-bench-criterion --bench feeds`. The store
//! below is the reference store in memory. Each iteration adds, marks and removes a thousand shapes on one
//! thread: 3,000 changes. Subscribers are drained in between, and that is not measured: it is their own time.

use std::{sync::Arc, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    MemoryStore, MutateShapes, Mutation, NoopObserver, StoreControl, conformance,
    feed::{Feed, FeedOptions},
};

const SHAPES: u64 = 1_000;

fn mutations() -> Vec<Mutation> {
    let shapes = (0..SHAPES).map(conformance::shape);
    let each = shapes.flat_map(|shape| {
        let handle = shape.handle.as_str().to_owned();
        [Mutation::Add(shape), Mutation::snapshot_started(handle.as_str()), Mutation::remove(handle)]
    });
    each.collect()
}

fn drain(feeds: &mut [Feed]) {
    for feed in feeds {
        while feed.recv_timeout(Duration::ZERO).expect("the feed goes on").is_some() {}
    }
}

fn subscribers(bench: &mut Criterion) {
    let mutations = mutations();
    for (name, options) in [("visible", FeedOptions::visible()), ("durable", FeedOptions::durable())] {
        let mut group = bench.benchmark_group(format!("changes with subscribers to {name} ones"));
        group.throughput(Throughput::Elements(3 * SHAPES));
        for count in [0, 1, 8] {
            let buffer = BufferOptions::default().background_flush(false).max_pending_shapes(1 << 20);
            let store = Buffered::new(MemoryStore::new(), buffer, Arc::new(NoopObserver))
                .expect("memory does not fail");
            let mut feeds: Vec<_> =
                (0..count).map(|_| store.subscribe(&options).expect("the store is open")).collect();
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter_batched(
                    || {
                        store.flush_once().expect("memory does not fail");
                        drain(&mut feeds);
                    },
                    |()| {
                        for mutation in &mutations {
                            store.try_mutate(mutation).expect("below the limit");
                        }
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, subscribers);
criterion_main!(benches);
