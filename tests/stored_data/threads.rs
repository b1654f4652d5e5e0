//! The thread of the cleaner: it exists while there are tasks, and close waits for it.

use std::{
    fs,
    time::{Duration, Instant},
};

use shape_meta::{
    BufferOptions, CacheOptions, FlusherOptions, FlusherPool, OnLiveOwner, ReadShapes, ShapeMeta,
    StoreControl,
};
use shape_meta_harness::compositions::{ALL, PRODUCT, TIMEOUT, directory, sqlite};

use super::support::{Storage, add, builder, flush, handles, open, remove, settle};

/// Returns how many threads of this process clean.
fn cleaning_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("this is Linux");
    let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("shape-meta-clea")).count()
}

fn wait_until_idle() {
    let deadline = Instant::now() + TIMEOUT;
    while cleaning_threads() > 0 {
        assert!(Instant::now() < deadline, "a thread is left");
        std::thread::yield_now();
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "counts threads as Linux does")]
fn c12_tenants_clean_and_cost_no_thread_when_idle() {
    let flushers = FlusherPool::new(FlusherOptions::default());
    let tenants: Vec<_> = (0..20)
        .map(|_| {
            let (directory, storage) = (directory(), Storage::listing());
            let store = ShapeMeta::builder(storage.clone())
                .sqlite(sqlite())
                .cached(CacheOptions::default())
                .buffered(BufferOptions::default().flushers(&flushers))
                .open(directory.path())
                .expect("it opens");
            storage.watch(&store);
            (directory, storage, store)
        })
        .collect();
    for (_, storage, store) in &tenants {
        add(store, storage, 1..=20);
    }
    for (_, _, store) in &tenants {
        remove(store, 1..=15);
        flush(store);
    }
    for (_, storage, store) in &tenants {
        storage.wait_until_stored(5);
        assert_eq!(store.counts().expect("it reads").total, 5);
    }
    wait_until_idle();
    drop(tenants);
}

#[test]
fn c12_an_open_does_not_wait_for_the_cleaner() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=2);
        remove(&store, [1]);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        storage.hold();
        let builder = builder(composition, &storage).background_cleanup(true);
        let store = builder.open(directory.path()).expect("it opens");
        storage.wait_until_called();
        add(&store, &storage, [3]);
        storage.release();
        storage.wait_until_stored(2);
        assert!(store.close(TIMEOUT).is_complete());
        assert_eq!(storage.stored(), handles([2, 3]), "{composition:?}");
    }
}

#[test]
fn c12_close_waits_for_the_cleaner_within_its_deadline() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = builder(composition, &storage).background_cleanup(true);
        let store = store.open(directory.path()).expect("it opens");
        add(&store, &storage, 1..=2);
        flush(&store);
        storage.hold();
        remove(&store, [1]);
        flush(&store);
        storage.wait_until_called();
        let begun = Instant::now();
        assert!(store.close(Duration::from_millis(100)).is_complete());
        assert!(begun.elapsed() >= Duration::from_millis(100), "it waits for the call");
        assert!(begun.elapsed() < TIMEOUT, "and not for ever");
        storage.release();
        drop(store);
        // The database is given up when the call in progress has ended, and was acknowledged.
        let waits = sqlite().on_live_owner(OnLiveOwner::Wait(TIMEOUT));
        let store = builder(PRODUCT, &storage).sqlite(waits).open(directory.path()).expect("it opens");
        storage.watch(&store);
        settle(&store);
        assert_eq!(storage.stored(), handles([2]), "{composition:?}");
    }
}
