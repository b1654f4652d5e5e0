//! Eviction by one thread for several stores, and by a caller that steps a schedule.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta::{
    BufferOptions, CacheOptions, Evictor, EvictorOptions, EvictorSchedule, EvictorThread, NoopCleaner,
    prelude::*,
};
use shape_meta_core::conformance::shape;

const WAIT: Wait = Wait::UpTo(Duration::from_secs(60));

fn open(directory: &tempfile::TempDir) -> ShapeMeta {
    ShapeMeta::builder(NoopCleaner)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
        .creation_counts_as_read(true)
        .open(directory.path())
        .expect("the store opens")
}

fn evictor(shapes: u64) -> Arc<Evictor> {
    Arc::new(Evictor::new(
        EvictorOptions::default()
            .max_shapes(shapes)
            .low_water(shapes)
            .step_shapes(100)
            .step_time(Duration::MAX),
    ))
}

#[test]
fn i7_a_schedule_steps_stores_in_turn_and_forgets_those_that_end() {
    let directories = [(); 3].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let [one, two, dropped] = [0, 1, 2].map(|at| open(&directories[at]));
    let schedule = EvictorSchedule::default();
    for store in [&one, &two, &dropped] {
        (0..450).for_each(|number| drop(store.add(shape(number), WAIT).expect("it is new")));
        schedule.watch(store, evictor(250), Duration::from_secs(3600));
    }
    drop(dropped);
    let totals = || [&one, &two].map(|store| store.counts().expect("memory").total);
    let now = Instant::now();
    let due = schedule.run_due(now).expect("stores are watched");
    assert_eq!((totals(), due), ([350, 350], now), "a step each, and the next one at once");
    let due = schedule.run_due(now).expect("stores are watched");
    assert_eq!((totals(), due), ([250, 250], now + Duration::from_secs(3600)));
    assert!(two.close(Duration::from_secs(60)).is_complete());
    two.touch_now("unknown").expect("memory");
    // A store that is closed has nothing to remove until it is above its limit; it ends with its last clone.
    drop(two);
    schedule.run_due(now + Duration::from_secs(3600));
    drop(one);
    assert_eq!(schedule.run_due(now + Duration::from_secs(10_000)), None);
}

#[test]
fn c14_a_thread_keeps_a_store_at_its_limit_during_a_storm() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(&directory);
    let thread = EvictorThread::start().expect("a thread starts");
    thread.watch(&store, evictor(500), Duration::from_millis(1));
    for number in 0..5_000 {
        let new = NewShape { created_at: None, ..shape(number) };
        store.add(new, WAIT).expect("it is new");
    }
    let end = Instant::now() + Duration::from_secs(60);
    while store.counts().expect("memory").total > 500 {
        assert!(Instant::now() < end, "the thread removes what is above the limit");
        std::thread::yield_now();
    }
    drop(thread);
    // The oldest ones went, and their data is handed to the cleaner as after any removal.
    assert!(!store.has_handle(&shape(0).handle).expect("memory"));
    assert!(store.has_handle(&shape(4_999).handle).expect("memory"));
    assert!(store.close(Duration::from_secs(60)).is_complete());
}
