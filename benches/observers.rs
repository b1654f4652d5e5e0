//! What observers cost, for a read, a mutation and a flush: `cargo bench --features full --bench observers`.
//!
//! The product; reads of metadata, mutations and flushes over a store in memory, so that nothing but the observer differs: the
//! shares that it takes of a flush to a disk are smaller by as much as the disk is slower. Reads of a definition ask a
//! database, since that is what they are.

#![forbid(unsafe_code)]

use std::{hint::black_box, io, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use metrics_exporter_prometheus::PrometheusBuilder;
use shape_meta::{
    BufferOptions, Builder, CacheOptions, MemoryStore, MetricsObserver, NoData, Observer, Silent,
    TIME_BUCKETS, TracingObserver, prelude::*,
};
use tracing::level_filters::LevelFilter;

/// Shapes that are there.
const SHAPES: u64 = 10_000;
/// Mutations of a flush.
const BATCH: u64 = 1_000;

/// Who observes.
#[derive(Clone, Copy)]
enum Case {
    Nobody,
    /// `TracingObserver`, and nobody listens.
    TracingOff,
    /// `TracingObserver`, and a subscriber writes all that is at this level or above, to nowhere. At `DEBUG` that is every
    /// committed change too, at `TRACE` also every use of a connection.
    Tracing(LevelFilter),
    /// `MetricsObserver`, and no recorder.
    MetricsOff,
    /// `MetricsObserver`, and the exporter of Prometheus.
    Metrics,
}

const CASES: [(&str, Case); 7] = [
    ("nobody", Case::Nobody),
    ("tracing, off", Case::TracingOff),
    ("tracing, info", Case::Tracing(LevelFilter::INFO)),
    ("tracing, debug", Case::Tracing(LevelFilter::DEBUG)),
    ("tracing, trace", Case::Tracing(LevelFilter::TRACE)),
    ("metrics, off", Case::MetricsOff),
    ("metrics, on", Case::Metrics),
];

impl Case {
    fn observed(self, run: impl FnOnce(Arc<dyn Observer>)) {
        match self {
            Self::Nobody => run(Arc::new(Silent)),
            Self::TracingOff => run(Arc::new(TracingObserver::new("main"))),
            Self::Tracing(level) => {
                let subscriber = tracing_subscriber::fmt()
                    .with_max_level(level)
                    .with_ansi(false)
                    .with_writer(io::sink)
                    .finish();
                tracing::subscriber::with_default(subscriber, || run(Arc::new(TracingObserver::new("main"))));
            }
            Self::MetricsOff => run(Arc::new(MetricsObserver::new("main"))),
            Self::Metrics => {
                let builder = PrometheusBuilder::new().set_buckets(TIME_BUCKETS).expect("there are some");
                let recorder = builder.build_recorder();
                metrics::with_local_recorder(&recorder, || run(Arc::new(MetricsObserver::new("main"))));
            }
        }
    }
}

fn shape(number: u64) -> NewShape {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    NewShape {
        handle: Handle::new(format!("{number:08}-1768476874000000")).expect("printable"),
        key: Key::new(key),
        hash: DefinitionHash::new(number),
        relations: [Relation::new(number as u32 % 1000)].into_iter().collect(),
        dependencies: [].into(),
        indexed: false,
        definition: vec![7; 419].into(),
    }
}

fn builder(observer: Arc<dyn Observer>) -> Builder {
    ShapeMeta::builder(NoData)
        .observer(observer)
        .cached(CacheOptions::default())
        // Flushed on the thread that measures.
        .buffered(BufferOptions::default().manual(true).max_changes(1 << 20).max_bytes(usize::MAX))
}

fn filled(store: ShapeMeta) -> ShapeMeta {
    for number in 0..SHAPES {
        store.add(shape(number), Wait::No).expect("room");
    }
    flush(&store);
    store
}

fn store(observer: Arc<dyn Observer>) -> ShapeMeta {
    filled(builder(observer).over(MemoryStore::new()).expect("memory does not fail"))
}

fn flush(store: &ShapeMeta) {
    store.flush(Duration::from_secs(60)).expect("memory does not fail");
}

fn observers(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("read of metadata");
    for (name, case) in CASES {
        case.observed(|observer| {
            let store = store(observer);
            let handle = shape(7).handle;
            group.bench_function(name, |bencher| bencher.iter(|| store.metadata(black_box(&handle))));
        });
    }
    group.finish();

    let mut group = bench.benchmark_group("read of a definition");
    for (name, case) in CASES {
        case.observed(|observer| {
            let directory = tempfile::tempdir().expect("there is room for temporary files");
            let store = filled(builder(observer).open(directory.path()).expect("a directory of our own"));
            let handle = shape(7).handle;
            group.bench_function(name, |bencher| {
                bencher.iter(|| store.record(black_box(&handle)).expect("it reads"))
            });
        });
    }
    group.finish();

    let mut group = bench.benchmark_group("add");
    for (name, case) in CASES {
        case.observed(|observer| {
            let store = store(observer);
            let mut number = SHAPES;
            group.bench_function(name, |bencher| {
                bencher.iter_batched(
                    || {
                        number += 1;
                        if number.is_multiple_of(50_000) {
                            store.reset(Wait::No).expect("room");
                            flush(&store);
                        }
                        shape(number)
                    },
                    |shape| store.add(shape, Wait::No).expect("room"),
                    BatchSize::LargeInput,
                );
            });
        });
    }
    group.finish();

    let mut group = bench.benchmark_group("flush of 1,000 changes");
    for (name, case) in CASES {
        case.observed(|observer| {
            let store = store(observer);
            let mut number = SHAPES;
            group.bench_function(name, |bencher| {
                bencher.iter_batched(
                    || {
                        store.reset(Wait::No).expect("room");
                        flush(&store);
                        for _ in 0..BATCH {
                            number += 1;
                            store.add(shape(number), Wait::No).expect("room");
                        }
                    },
                    |()| flush(&store),
                    BatchSize::PerIteration,
                );
            });
        });
    }
    group.finish();
}

criterion_group!(benches, observers);
criterion_main!(benches);
