//! A cleaner that fails or panics is called again, with the same handles, until it returns `Ok`.

use std::error::Error as _;

use shape_meta::StoreControl;
use shape_meta::{ErrorKind, ReadShapes};
use shape_meta_harness::compositions::{ALL, PRODUCT, TIMEOUT, directory};

use super::support::{Failure, Storage, add, builder, clean, cleaned, flush, handles, open, remove, settle};

#[test]
fn c12_a_cleaner_that_fails_is_called_again() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=3);
        remove(&store, [1, 2]);
        flush(&store);
        storage.fail(&[Failure::Error, Failure::Half, Failure::Error]);
        for failures in 1..=3 {
            let error = store.clean_once().expect_err("the cleaner fails");
            assert_eq!(error.kind(), ErrorKind::Cleaner);
            assert_eq!(
                error.source().expect("it has a cause").to_string(),
                "the object store does not answer"
            );
            insta::allow_duplicates! { insta::assert_snapshot!(error.to_string()) }
            let status = store.cleanup_status();
            assert_eq!((status.tasks, status.failures), (2, failures));
            assert_eq!(cleaned(&storage), handles([1, 2]), "{composition:?}");
        }
        assert!(store.health().is_ready(), "the store works meanwhile");
        clean(&store);
        let status = store.cleanup_status();
        assert_eq!((status.tasks, status.failures, status.last_error.is_some()), (0, 0, true));
        assert_eq!(storage.stored(), handles([3]));
    }
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
        for _ in 0..2 {
            storage.fail(&[Failure::Error]);
            store.clean_once().expect_err("the cleaner fails");
        }
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
    assert_eq!(sizes(), [1_000, 500], "the first 1,000 are not cleaned again");
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
