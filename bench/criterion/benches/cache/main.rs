//! The operations of the cache: `cargo bench -p shape-meta-bench-criterion --bench cache`. The variable
//! `SHAPES=1000,100000,1000000` sets the numbers of shapes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::Criterion;
use shape_meta_bench_criterion::bare;
use shape_meta_bench_criterion::null_store::{NullStore, SHAPES_PER_RELATION, adds, handle, mixed, open};
use shape_meta_cache::{CacheOptions, Cached, LookupIndex};
use shape_meta_core::{Handle, HandleSet, Key, ReadShapes, Relation, ShapeStore, Timestamp, conformance};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for shapes in sizes() {
        let cached = open(shapes, CacheOptions::default());
        reads(&mut criterion, shapes, &cached);
        definitions(&mut criterion, shapes);
        recency(&mut criterion, shapes, &cached);
        writes(&mut criterion, shapes, cached);

        let on_disk = open(shapes, CacheOptions::default().lookup_index(LookupIndex::Disk));
        publish(&mut criterion, shapes, &on_disk, "publish 10,000 adds, look-ups on disk");
    }
    criterion.final_summary();
}

fn sizes() -> Vec<u64> {
    let sizes = std::env::var("SHAPES").unwrap_or_else(|_| "1000,100000,1000000".to_owned());
    sizes.split(',').map(|size| size.trim().parse().expect("SHAPES is a list of numbers")).collect()
}

/// Returns 100,000 random shapes: more than the processor caches hold, in an unpredictable order.
fn picks<T>(shapes: u64, make: impl Fn(u64) -> T) -> Vec<T> {
    (0..100_000).map(|pick| make(mixed(pick + 77) % shapes)).collect()
}

/// Measures one read for each pick.
fn each<T>(criterion: &mut Criterion, name: &str, shapes: u64, picks: &[T], mut read: impl FnMut(&T)) {
    let mut next = 0;
    criterion.bench_function(&format!("{name}/{shapes}"), |bencher| {
        bencher.iter(|| {
            read(&picks[next]);
            next = (next + 1) % picks.len();
        });
    });
}

fn reads(criterion: &mut Criterion, shapes: u64, cached: &Cached<NullStore>) {
    let handles: Vec<Handle> = picks(shapes, handle);
    let keys: Vec<Key> = picks(shapes, conformance::key);

    let entries: Vec<_> =
        (0..shapes).map(|n| cached.entry(&handle(n)).expect("in memory").expect("live")).collect();
    let bare = bare::shared(&entries);
    each(criterion, "bare evmap get, shared entries", shapes, &handles, |handle| {
        black_box(bare.get(handle));
    });
    drop(bare);
    let bare = bare::inline(&entries);
    drop(entries);
    each(criterion, "bare evmap get, inline metadata", shapes, &handles, |handle| {
        black_box(bare.get(handle));
    });
    drop(bare);
    each(criterion, "metadata", shapes, &handles, |handle| {
        black_box(cached.metadata(handle).expect("in memory").expect("live"));
    });
    let store: &dyn ReadShapes = cached;
    each(criterion, "metadata through a trait object", shapes, &handles, |handle| {
        black_box(store.metadata(handle).expect("in memory").expect("live"));
    });
    each(criterion, "touch", shapes, &handles, |handle| {
        black_box(cached.touch(handle, Timestamp::from_micros(5)).expect("in memory"));
    });
    each(criterion, "handle by key", shapes, &keys, |key| {
        black_box(cached.handle_for(key).expect("in memory").expect("live"));
    });
    each(criterion, "entry", shapes, &handles, |handle| {
        black_box(cached.entry(handle).expect("in memory").expect("live"));
    });
    if shapes >= SHAPES_PER_RELATION {
        let relations: Vec<_> =
            (0..shapes / SHAPES_PER_RELATION).map(|oid| Relation::new(oid as u32)).collect();
        each(criterion, "10,000 handles of a relation", shapes, &relations, |relation| {
            let handles = cached.handles_for_relations(&[*relation]).expect("in memory");
            assert_eq!(black_box(handles).len() as u64, SHAPES_PER_RELATION);
        });
    }
}

/// Reads the definitions of at most 100,000 shapes, all of which fit into the definition cache.
fn definitions(criterion: &mut Criterion, shapes: u64) {
    let handles: Vec<Handle> = picks(shapes, handle);
    let cached = open(shapes, CacheOptions::default().definition_cache_bytes(256 << 20));
    let read = |handle: &Handle| cached.record(handle).expect("in memory").expect("live");
    handles.iter().for_each(|handle| drop(read(handle)));
    let bytes = cached.memory().definitions;
    each(criterion, "cached definition", shapes, &handles, |handle| {
        black_box(read(handle));
    });
    assert_eq!(cached.memory().definitions, bytes, "all were cached");
}

fn recency(criterion: &mut Criterion, shapes: u64, cached: &Cached<NullStore>) {
    criterion.bench_function(&format!("1,000 least recently used/{shapes}"), |bencher| {
        bencher.iter(|| cached.least_recently_used(1000, &HandleSet::new()).expect("in memory"));
    });
}

fn writes(criterion: &mut Criterion, shapes: u64, cached: Cached<NullStore>) {
    publish(criterion, shapes, &cached, "publish 10,000 adds");
    let mut last = cached.last_seq().expect("in memory").get();
    criterion.bench_function(&format!("publish one add/{shapes}"), |bencher| {
        bencher.iter_custom(|times| {
            let batches: Vec<_> = (0..times).map(|time| adds(last + time, 1)).collect();
            last += times;
            timed(&batches, &cached)
        });
    });
}

fn publish(criterion: &mut Criterion, shapes: u64, cached: &Cached<NullStore>, name: &str) {
    let mut last = cached.last_seq().expect("in memory").get();
    criterion.bench_function(&format!("{name}/{shapes}"), |bencher| {
        bencher.iter_custom(|times| {
            let batches: Vec<_> = (0..times).map(|time| adds(last + time * 10_000, 10_000)).collect();
            last += times * 10_000;
            timed(&batches, cached)
        });
    });
}

fn timed(batches: &[shape_meta_core::Batch], cached: &Cached<NullStore>) -> Duration {
    let started_at = Instant::now();
    batches.iter().for_each(|batch| cached.apply(batch).expect("it never fails"));
    started_at.elapsed()
}
