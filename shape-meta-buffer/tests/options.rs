//! Options, and what the store reports about itself.

use std::{sync::Arc, time::Duration};

use shape_meta_buffer::{BufferOptions, FlusherOptions, FlusherPool};
use shape_meta_core::{
    Counts, ErrorKind, Limits, MutateShapesExt, StoreControl, Wait,
    conformance::{FailingStore, Side},
};

use crate::support::{add, below, buffered, handles, manual, until};

/// Sets an option.
type Setter = Box<dyn Fn(BufferOptions) -> BufferOptions>;

#[test]
fn each_option_sets_its_own_value_only() {
    let flushers = FlusherPool::new(FlusherOptions::default());
    let ms = Duration::from_millis;
    let setters: Vec<(Setter, &str)> = vec![
        (Box::new(|options| options.max_pending_shapes(11)), "max_pending_shapes: 11"),
        (Box::new(|options| options.max_pending_bytes(12)), "max_pending_bytes: 12"),
        (Box::new(|options| options.flush_shapes(13)), "flush_shapes: 13"),
        (Box::new(|options| options.flush_bytes(14)), "flush_bytes: 14"),
        (Box::new(move |options| options.flush_interval(ms(15))), "flush_interval: 15ms"),
        (Box::new(move |options| options.lag_threshold(ms(16))), "lag_threshold: 16ms"),
        (
            Box::new(|options| options.concurrent_publish_min_changes(22)),
            "concurrent_publish_min_changes: 22",
        ),
        (Box::new(move |options| options.backoff(ms(17), ms(18))), "backoff: (17ms, 18ms)"),
        (Box::new(move |options| options.last_read_save_interval(ms(19))), "last_read_save_interval: 19ms"),
        (Box::new(move |options| options.drop_timeout(ms(20))), "drop_timeout: 20ms"),
        (Box::new(|options| options.background_flush(false)), "background_flush: false"),
        (Box::new(move |options| options.flushers(&flushers)), "flushers: Some(FlusherPool("),
        (Box::new(|options| options.limits(Limits::default().max_relations(21))), "relations: 21"),
    ];
    let set = |options, (setter, _): &(Setter, _)| setter(options);
    let in_order = setters.iter().fold(BufferOptions::default(), set);
    let reversed = setters.iter().rev().fold(BufferOptions::default(), set);
    for options in [in_order, reversed] {
        let shown = format!("{options:?}");
        for (_, expected) in &setters {
            assert!(shown.contains(expected), "{expected} is missing in {shown}");
        }
    }
}

#[test]
fn values_out_of_range_are_clamped() {
    let options =
        BufferOptions::default().max_pending_shapes(0).max_pending_bytes(0).flush_shapes(0).flush_bytes(0);
    let options =
        options.concurrent_publish_min_changes(0).backoff(Duration::from_secs(3), Duration::from_secs(2));
    let shown = format!("{options:?}");
    for expected in [
        "max_pending_shapes: 1,",
        "max_pending_bytes: 1,",
        "flush_shapes: 1,",
        "flush_bytes: 1,",
        "concurrent_publish_min_changes: 1,",
        "backoff: (3s, 3s)",
    ] {
        assert!(shown.contains(expected), "{expected} is missing in {shown}");
    }
}

#[test]
fn a_store_is_paused_until_it_is_resumed() {
    let (store, _) = manual();
    assert!(!store.is_paused());
    store.pause();
    assert!(store.is_paused());
    store.resume();
    assert!(!store.is_paused());
}

#[test]
fn usage_counts_pending_shapes() {
    let (store, _) = manual();
    add(&store, "a", 1);
    store.flush_once().expect("flush");
    add(&store, "b", 2);
    assert_eq!(store.usage().shapes, Some(Counts { total: 2, indexed: 1 }));
}

#[test]
fn each_flusher_option_sets_its_own_value_only() {
    let second = Duration::from_secs(1);
    let in_order = FlusherOptions::default().threads(3).max_threads(33).slow_threshold(second);
    let reversed = FlusherOptions::default().slow_threshold(second).max_threads(33).threads(3);
    for options in [in_order, reversed] {
        let shown = format!("{options:?}");
        assert_eq!(shown, "FlusherOptions { threads: 3, max_threads: 33, slow_threshold: 1s }");
    }
    let shown = format!("{:?}", FlusherOptions::default().threads(0).slow_threshold(Duration::MAX));
    assert_eq!(shown, "FlusherOptions { threads: 1, max_threads: 32, slow_threshold: 86400s }");
}

#[test]
fn a_flush_reports_what_it_committed() {
    let (store, _) = manual();
    add(&store, "a", 1);
    add(&store, "b", 2);
    store.remove("b", Wait::No).expect("live");
    let pending = store.pending();
    let flushed = store.flush_once().expect("flush").expect("something is pending");
    assert_eq!((flushed.mutations, flushed.changes, flushed.coalesced()), (3, 1, 2));
    assert_eq!(flushed.bytes, pending.bytes);
    assert!(flushed.took > Duration::ZERO && flushed.oldest >= flushed.took);
    store.reset(Wait::No).expect("below the bound");
    let flushed = store.flush_once().expect("flush").expect("something is pending");
    assert_eq!((flushed.mutations, flushed.changes), (1, 1));
}

type Extreme = fn(BufferOptions) -> BufferOptions;

const EXTREMES: &[(&str, Extreme)] = &[
    ("flush_interval(MAX)", |options| options.flush_interval(Duration::MAX)),
    ("flush_interval(0)", |options| options.flush_interval(Duration::ZERO)),
    ("backoff(MAX, MAX)", |options| options.backoff(Duration::MAX, Duration::MAX)),
    ("backoff(0, MAX)", |options| options.backoff(Duration::ZERO, Duration::MAX)),
    ("backoff(0, 0)", |options| options.backoff(Duration::ZERO, Duration::ZERO)),
    ("last_read_save_interval(MAX)", |options| options.last_read_save_interval(Duration::MAX)),
    ("last_read_save_interval(0)", |options| options.last_read_save_interval(Duration::ZERO)),
    ("drop_timeout(MAX)", |options| options.drop_timeout(Duration::MAX)),
    ("lag_threshold(MAX)", |options| options.lag_threshold(Duration::MAX)),
    ("lag_threshold(0)", |options| options.lag_threshold(Duration::ZERO)),
    ("max_pending_shapes(MAX)", |options| options.max_pending_shapes(usize::MAX)),
    ("max_pending_bytes(MAX)", |options| options.max_pending_bytes(usize::MAX)),
    ("flush_shapes(MAX)", |options| options.flush_shapes(usize::MAX)),
    ("flush_bytes(MAX)", |options| options.flush_bytes(usize::MAX)),
    ("no publish in parallel", |options| options.concurrent_publish_min_changes(usize::MAX)),
    ("all threads", |options| {
        let threads = FlusherOptions::default().threads(usize::MAX).max_threads(usize::MAX);
        options.flushers(&FlusherPool::new(threads.slow_threshold(Duration::MAX)))
    }),
    ("no threshold", |options| {
        let threads = FlusherOptions::default().threads(0).max_threads(0);
        options.flushers(&FlusherPool::new(threads.slow_threshold(Duration::ZERO)))
    }),
];

/// None panics, and a flush, a retry, a close and a drop work with each.
#[test]
fn c7_extreme_options_neither_panic_nor_flip_their_meaning() {
    for (name, set) in EXTREMES {
        let store = buffered(FailingStore::new(Arc::default()), set(BufferOptions::default()));
        store.inner().faults().fail_applies(1, ErrorKind::Busy, Side::Before);
        add(&store, "a", 1);
        // Each is a request. The first may be served by the attempt that fails.
        until(|| store.flush(Duration::from_millis(50)).is_ok());
        assert!(store.health().is_ready(), "{name}: {:?}", store.health());
        add(&store, "b", 2);
        assert!(store.close(Duration::MAX).is_complete(), "{name}");
        assert_eq!(handles(below(&store)), ["a", "b"], "{name}");
    }
}
