//! Every composition, over a store with artificial delays below each layer.

use std::sync::Arc;

use shape_meta::{NoopObserver, ShapeMeta, StoreControl};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    MemoryStore,
    conformance::{FailingStore, Faults},
};

use shape_meta_harness::compositions::{
    ALL, BUFFERED, Composition, DIRECT, DIRECT_CACHED, DIRECT_DISK_LOOKUPS, FlushSchedule, PRODUCT,
    PRODUCT_DISK_LOOKUPS, TIMEOUT, directory,
};
use shape_meta_harness::linear::rounds::run_rounds;

/// The maximum number of scheduler yields of one slow call.
const SLOW: u64 = 5;

fn slow() -> Faults {
    let faults = Faults::default();
    faults.slow_down(SLOW);
    faults
}

fn assert_linearizable(composition: Composition, rounds: usize) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}, {composition:?}");
    for slow_between in [false, true] {
        let directory = directory();
        let below = FailingStore::with(Arc::new(composition.open_sqlite(directory.path())), slow());
        let store = match composition.cache {
            // Adds a delay between the cache's publish and the buffer's drop.
            Some(lookups) if slow_between => {
                let options = CacheOptions::default().lookup_index(lookups);
                let open =
                    if composition.buffer.is_some() { Cached::open_below_buffer } else { Cached::open };
                let cached = open(below, options, Arc::new(NoopObserver)).expect("it can be read");
                let above = Composition { cache: None, ..composition };
                above.over(FailingStore::with(Arc::new(cached), slow()))
            }
            _ => composition.over(below),
        };
        check(&store, seed, rounds);
    }
}

fn check(store: &ShapeMeta, seed: u64, rounds: usize) {
    if let Err(history) = run_rounds(store, seed, rounds) {
        panic!("C1: these calls have no order: {history:#?}");
    }
    store.flush(TIMEOUT).expect("nothing fails");
    check_at_rest(store, seed);
}

/// Checks one more round after everything was flushed.
fn check_at_rest(store: &ShapeMeta, seed: u64) {
    assert!(run_rounds(store, seed, 1).is_ok(), "C1: at rest");
}

/// Over a store without delays, so that most of the time is spent in the layers themselves.
#[test]
fn c1_every_composition_over_memory_is_linearizable() {
    for composition in ALL {
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}, {composition:?} over memory");
        check(
            &composition.with_flush_schedule(FlushSchedule::Continuous).over(MemoryStore::new()),
            seed,
            500,
        );
    }
}

#[test]
fn c1_direct_is_linearizable() {
    assert_linearizable(DIRECT, 100);
}

#[test]
fn c1_direct_with_a_cache_is_linearizable() {
    assert_linearizable(DIRECT_CACHED, 100);
}

#[test]
fn c1_direct_with_lookups_on_disk_is_linearizable() {
    assert_linearizable(DIRECT_DISK_LOOKUPS, 100);
}

#[test]
fn c1_buffered_is_linearizable() {
    assert_linearizable(BUFFERED.with_flush_schedule(FlushSchedule::Continuous), 300);
}

#[test]
fn c1_the_product_is_linearizable() {
    assert_linearizable(PRODUCT.with_flush_schedule(FlushSchedule::Continuous), 300);
}

#[test]
fn c1_the_product_with_lookups_on_disk_is_linearizable() {
    assert_linearizable(PRODUCT_DISK_LOOKUPS.with_flush_schedule(FlushSchedule::Continuous), 300);
}
