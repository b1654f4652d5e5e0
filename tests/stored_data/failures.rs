//! A cleaner that fails or panics is called again, with the same handles, until it returns `Ok`.

use std::{
    error::Error as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use shape_meta::{Activity, Error, ErrorKind, Observer, ReadShapes, Span, StoreControl};
use shape_meta_core::conformance::handle;
use shape_meta_harness::{
    compositions::{ALL, PRODUCT, TIMEOUT, directory},
    rows::raw_connection,
};

use super::support::{
    Failure, Storage, add, builder, clean, clean_despite_failures, cleaned, flush, handles, open, remove,
    settle,
};

#[test]
fn c12_a_cleaner_that_fails_is_called_again() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=3);
        remove(&store, [1, 2]);
        flush(&store);
        storage.fail(&[Failure::Error, Failure::Half, Failure::Error]);
        let error = store.clean_once().expect_err("the cleaner fails");
        assert_eq!(error.kind(), ErrorKind::Cleaner);
        assert_eq!(error.source().expect("it has a cause").to_string(), "the object store does not answer");
        insta::allow_duplicates! { insta::assert_snapshot!(error.to_string()) }
        for failures in 2..=3 {
            store.clean_once().expect_err("the cleaner fails");
            let status = store.cleanup_status();
            assert_eq!((status.tasks, status.failures), (2, failures), "{composition:?}");
        }
        assert_eq!(cleaned(&storage), handles([1, 2]));
        assert!(store.health().is_ready(), "the store works meanwhile");
        clean(&store);
        clean(&store);
        let status = store.cleanup_status();
        assert_eq!((status.tasks, status.failures, status.last_error.is_some()), (0, 0, true));
        assert_eq!(storage.stored(), handles([3]));
    }
}

#[test]
fn c12_a_handle_that_cannot_be_cleaned_keeps_no_other() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=40);
        flush(&store);
        remove(&store, 1..=40);
        flush(&store);
        storage.set_stuck([17, 31]);
        let failures = clean_despite_failures(&store);
        assert!(failures <= 24, "each is found by halving: {failures}");
        assert_eq!(storage.stored(), handles([17, 31]), "{composition:?}");
        assert_eq!(store.cleanup_status().tasks, 2);
        // Neither do they keep what is removed later.
        add(&store, &storage, 50..=52);
        remove(&store, 50..=52);
        flush(&store);
        clean_despite_failures(&store);
        assert_eq!(storage.stored(), handles([17, 31]), "{composition:?}");
        storage.set_stuck([]);
        clean_despite_failures(&store);
        assert_eq!((storage.stored(), store.cleanup_status().failures), (handles([]), 0));
    }
}

#[test]
fn c12_a_storage_that_is_down_is_called_a_few_times_a_pass() {
    let (directory, storage) = (directory(), Storage::default());
    let store = open(PRODUCT, directory.path(), &storage);
    add(&store, &storage, 1..=64);
    flush(&store);
    remove(&store, 1..=64);
    flush(&store);
    storage.set_stuck(1..=64);
    clean_despite_failures(&store);
    // Halved to one handle, and then each by itself, with a delay.
    assert_eq!(
        storage.take_calls().iter().map(Vec::len).take(8).collect::<Vec<_>>(),
        [64, 32, 16, 8, 4, 2, 1, 1]
    );
    storage.set_stuck([]);
    clean(&store);
    clean(&store);
    assert_eq!(storage.stored(), handles([]));
}

#[test]
fn c12_a_cleaner_that_panics_is_called_again() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=3);
        remove(&store, [1]);
        flush(&store);
        storage.fail(&[Failure::Panic]);
        assert_eq!(store.clean_once().expect_err("it panics").kind(), ErrorKind::Panicked);
        clean(&store);
        clean(&store);
        assert_eq!(storage.stored(), handles([2, 3]), "{composition:?}");
    }
}

#[test]
fn c12_a_failure_at_one_open_is_made_up_for_at_the_next() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=3);
        remove(&store, [1]);
        flush(&store);
        storage.fail(&[Failure::Error]);
        store.clean_once().expect_err("the cleaner fails");
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        let store = open(composition, directory.path(), &storage);
        assert_eq!(store.open_report().expect("it has a database").cleanup_tasks, 1);
        clean(&store);
        assert_eq!(storage.stored(), handles([2, 3]), "{composition:?}");
    }
}

#[test]
fn c12_a_call_has_at_most_1000_handles_and_is_kept() {
    let (directory, storage) = (directory(), Storage::default());
    let store = open(PRODUCT, directory.path(), &storage);
    add(&store, &storage, 1..=2_501);
    flush(&store);
    remove(&store, 1..=2_500);
    flush(&store);
    let sizes = || storage.take_calls().iter().map(Vec::len).collect::<Vec<_>>();
    assert!(store.clean_once().expect("the cleaner works"));
    storage.fail(&[Failure::Error]);
    store.clean_once().expect_err("the cleaner fails");
    assert_eq!(sizes(), [1_000, 1_000]);
    assert_eq!(store.cleanup_status().tasks, 1_500);
    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    let store = open(PRODUCT, directory.path(), &storage);
    settle(&store);
    assert_eq!(sizes(), [1_000, 500], "what was acknowledged is not cleaned again");
    assert_eq!(store.counts().expect("it reads").total, 1);
}

#[test]
fn c12_the_background_retries_a_failing_cleaner() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = builder(composition, &storage).background_cleanup(true);
        let store = store.open(directory.path()).expect("it opens");
        add(&store, &storage, 1..=3);
        flush(&store);
        storage.fail(&[Failure::Error, Failure::Panic]);
        remove(&store, [1, 2]);
        flush(&store);
        storage.wait_until_stored(1);
        assert!(store.close(TIMEOUT).is_complete());
    }
}

#[test]
fn c12_the_background_cleans_around_a_handle_that_fails() {
    let (directory, storage) = (directory(), Storage::default());
    let store = builder(PRODUCT, &storage).background_cleanup(true);
    let store = store.open(directory.path()).expect("it opens");
    add(&store, &storage, 1..=8);
    flush(&store);
    storage.set_stuck([3]);
    remove(&store, 1..=7);
    flush(&store);
    storage.wait_until_stored(2);
    storage.set_stuck([]);
    storage.wait_until_stored(1);
    assert!(store.close(TIMEOUT).is_complete());
}

/// Records the delays after failures.
#[derive(Debug, Default)]
struct Delays(Mutex<Vec<Duration>>);

impl Observer for Delays {
    fn cleanup_failed(&self, _: &Error, _: u32, delay: Duration) {
        self.0.lock().expect("no test panics under it").push(delay);
    }
}

/// The tasks of later removals, and the sweep, come after those that fail.
#[test]
fn c12_each_handle_that_fails_delays_the_others_a_little() {
    let (directory, storage) = (directory(), Storage::default());
    let delays = Arc::new(Delays::default());
    let builder = builder(PRODUCT, &storage).observer(Arc::clone(&delays) as Arc<dyn Observer>);
    let store = builder.open(directory.path()).expect("it opens");
    add(&store, &storage, 1..=21);
    flush(&store);
    remove(&store, 1..=21);
    flush(&store);
    storage.set_stuck(1..=20);
    clean_despite_failures(&store);
    assert_eq!(storage.stored(), handles(1..=20));
    let delays = delays.0.lock().expect("no test panics under it");
    assert!(delays.len() >= 20 && delays.iter().all(|delay| delay.as_secs() == 0), "{delays:?}");
}

/// The tasks of orphans stay across sweeps, and are not repeated.
#[test]
fn c12_orphans_that_cannot_be_deleted_keep_one_task_each() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        (50..=52).for_each(|number| storage.create(handle(number)));
        storage.set_stuck(50..=52);
        for restart in 0..3 {
            let store = open(composition, directory.path(), &storage);
            clean_despite_failures(&store);
            assert!(store.cleanup_status().sweep.is_some());
            assert_eq!(store.cleanup_status().tasks, 3, "{composition:?}, restart {restart}");
            assert!(store.close(TIMEOUT).is_complete());
        }
        storage.set_stuck([]);
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert_eq!((storage.stored(), store.cleanup_status().tasks), (handles([]), 0));
    }
}

/// An observer that panics at everything that the cleanup reports.
#[derive(Debug)]
struct PanickingObserver;

impl Observer for PanickingObserver {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        assert!(!matches!(activity, Activity::Clean { .. }), "it panics on purpose");
        None
    }

    fn cleanup_failed(&self, _: &Error, _: u32, _: Duration) {
        panic!("it panics on purpose");
    }
}

#[test]
fn c12_an_observer_that_panics_ends_no_cleanup() {
    let (directory, storage) = (directory(), Storage::default());
    let observer = Arc::new(PanickingObserver);
    let builder = builder(PRODUCT, &storage).observer(observer);
    let store = builder.open(directory.path()).expect("it opens");
    add(&store, &storage, [1]);
    remove(&store, [1]);
    flush(&store);
    for _ in 0..3 {
        assert_eq!(store.clean_once().expect_err("it panics").kind(), ErrorKind::Panicked);
    }
    assert_eq!((store.cleanup_status().tasks, storage.stored()), (1, handles([1])));
}

/// Many tasks are handed over page by page, in the order of their keys.
#[test]
fn c12_100_000_tasks_are_cleaned_in_pages() {
    let (directory, storage) = (directory(), Storage::default());
    let store = open(PRODUCT, directory.path(), &storage);
    add(&store, &storage, [1]);
    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    let sql = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)
        INSERT INTO cleanup (id, handle, checksum) SELECT 10 + n, 'gone-' || n, NULL FROM number";
    raw_connection(directory.path()).execute(sql, []).expect("it is written");
    let store = open(PRODUCT, directory.path(), &storage);
    assert_eq!(store.cleanup_status().tasks, 100_000);
    clean(&store);
    let calls = storage.take_calls();
    assert_eq!((calls.len(), calls.iter().map(Vec::len).max()), (100, Some(1_000)));
    assert_eq!((store.cleanup_status().tasks, storage.stored()), (0, handles([1])));
}
