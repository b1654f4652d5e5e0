//! The cost of a standby: a refresh, by the numbers of changes and shapes, and a promotion.
//!
//! `cargo bench -p shape-meta-bench-criterion --bench standby`

use std::{hint::black_box, path::Path, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use shape_meta::{
    BufferOptions, CacheOptions, Durability, NoopCleaner, OnLiveOwner, ShapeMeta, SqliteOptions, Standby,
    prelude::*,
};
use shape_meta_core::conformance::{handle, shape};

const TIMEOUT: Duration = Duration::from_secs(60);
const WAIT: Wait = Wait::UpTo(TIMEOUT);

fn builder() -> shape_meta::Builder {
    ShapeMeta::builder(NoopCleaner)
        .sqlite(SqliteOptions::default().durability(Durability::ProcessCrash))
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
}

fn add(store: &ShapeMeta, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store.add(shape(number), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
    }
    store.flush(TIMEOUT).expect("nothing fails");
}

fn remove(store: &ShapeMeta, numbers: std::ops::Range<u64>) {
    for number in numbers {
        store.remove(&handle(number), WAIT).expect("it is live");
    }
    store.flush(TIMEOUT).expect("nothing fails");
}

fn open(directory: &Path) -> (ShapeMeta, Standby) {
    let owner = builder().open(directory).expect("it opens");
    let standby = builder().open_standby(directory).expect("there is a database");
    (owner, standby)
}

fn refresh(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refresh");
    for shapes in [10_000, 100_000] {
        let directory = tempfile::tempdir().expect("a directory");
        let (owner, standby) = open(directory.path());
        add(&owner, 0..shapes);
        standby.refresh().expect("it reads");
        for changes in [0, 100, 10_000] {
            let id = BenchmarkId::new(format!("{changes} changes"), shapes);
            group.bench_function(id, |bencher| {
                let mut next = 1_000_000_000;
                bencher.iter_batched(
                    || {
                        // Half of the changes add shapes, and half remove the previous ones.
                        add(&owner, next..next + changes / 2);
                        if next > 1_000_000_000 {
                            remove(&owner, next - changes / 2..next);
                        }
                        next += changes / 2;
                    },
                    |()| {
                        let refreshed = standby.refresh().expect("it reads");
                        assert!(!refreshed.full);
                    },
                    BatchSize::PerIteration,
                );
                if changes > 0 {
                    remove(&owner, next - changes / 2..next);
                }
                standby.refresh().expect("it reads");
            });
        }
    }
    group.finish();
}

fn promote(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("promotion");
    group.sample_size(10);
    for shapes in [10_000, 100_000] {
        let directory = tempfile::tempdir().expect("a directory");
        let (owner, standby) = open(directory.path());
        add(&owner, 0..shapes);
        drop((owner, standby));
        group.bench_function(BenchmarkId::from_parameter(shapes), |bencher| {
            bencher.iter_batched(
                || builder().open_standby(directory.path()).expect("there is a database"),
                |standby| black_box(standby.promote(OnLiveOwner::Fail).expect("it has no owner")),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("opening instead", shapes), |bencher| {
            bencher.iter_with_large_drop(|| builder().open(directory.path()).expect("it has no owner"));
        });
    }
    group.finish();
}

criterion_group!(benches, refresh, promote);
criterion_main!(benches);
