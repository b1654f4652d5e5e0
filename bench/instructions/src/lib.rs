//! The stores whose instructions are counted: see `benches/instructions.rs`.

#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, MetricsObserver, Mutation, NoopCleaner, NoopObserver, Observer,
    SnapshotState, TracingObserver, prelude::*,
};
use shape_meta_core::MemoryStore;

/// The number of live shapes.
pub const SHAPES: u64 = 1_000;
/// The number of operations in one count.
pub const TIMES: u64 = 1_000;

/// No observer.
pub fn no_observer() -> Arc<dyn Observer> {
    Arc::new(NoopObserver)
}

/// A `TracingObserver` without a subscriber.
pub fn tracing_off() -> Arc<dyn Observer> {
    Arc::new(TracingObserver::new("main"))
}

/// A `MetricsObserver` without a recorder, because the counted operations record nothing.
pub fn metrics() -> Arc<dyn Observer> {
    Arc::new(MetricsObserver::named("main"))
}

/// The full stack over a store in memory, because these paths do not use the disk. Nothing is pending and no
/// thread flushes, so the count is the same in every run.
pub fn store(observer: Arc<dyn Observer>) -> ShapeMeta {
    let store = ShapeMeta::builder(NoopCleaner)
        .observer(observer)
        .cached(CacheOptions::default().initial_capacity(4_000))
        .buffered(BufferOptions::default().background_flush(false))
        .over(MemoryStore::new())
        .expect("memory does not fail");
    for number in 0..SHAPES {
        store.add(shape(number), Wait::No).expect("there is room");
        let complete = Mutation::Mark(handle(number).to_string(), SnapshotState::Complete);
        store.mutate(&complete, Wait::No).expect("the shape is there");
    }
    store.flush(Duration::from_secs(60)).expect("memory does not fail");
    store
}

/// The store, with handles to read.
pub fn handles(observer: Arc<dyn Observer>) -> (ShapeMeta, Vec<Handle>) {
    (store(observer), (0..TIMES).map(|time| handle(time * 7 % SHAPES)).collect())
}

/// The store, with keys to look up.
pub fn keys(observer: Arc<dyn Observer>) -> (ShapeMeta, Vec<Key>) {
    (store(observer), (0..TIMES).map(|time| key(time * 7 % SHAPES)).collect())
}

/// The store, with shapes to add.
pub fn adds(observer: Arc<dyn Observer>) -> (ShapeMeta, Vec<Mutation>) {
    (store(observer), (SHAPES..SHAPES + TIMES).map(|number| Mutation::Add(shape(number))).collect())
}

fn handle(number: u64) -> Handle {
    Handle::new(format!("{:08}-{:016}", number * 7_919 % 100_000_000, 1_768_476_874_000_000 + number))
        .expect("digits are printable")
}

fn key(number: u64) -> Key {
    let mut bytes = [7; 32];
    for (at, part) in bytes.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&(number + at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    Key::new(bytes)
}

fn shape(number: u64) -> NewShape {
    let key = key(number);
    NewShape {
        handle: handle(number),
        key,
        hash: key.definition_hash(),
        relations: [Relation::new((number / 100) as u32)].into_iter().collect(),
        dependencies: [].into(),
        indexed: false,
        definition: vec![b'x'; 431].into(),
        created_at: None,
    }
}
