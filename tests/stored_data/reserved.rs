//! Handles whose data is being deleted are reserved: an add of one waits or is refused.

use std::{thread, time::Duration};

use shape_meta::{MutateError, MutateShapesExt, ReadShapes, ReadShapesExt, Refusal, Wait};
use shape_meta_core::conformance::{block_on, handle, key, shape};
use shape_meta_harness::compositions::{ALL, WAIT, directory};

use super::support::{Failure, Storage, add, clean, cleaned, flush, handles, open, remove, settle};

#[test]
fn c12_a_readded_handle_keeps_its_data() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=2);
        flush(&store);
        remove(&store, [1, 2]);
        flush(&store);
        add(&store, &storage, [1]);
        clean(&store);
        assert_eq!(cleaned(&storage), handles([2]), "{composition:?}");
        settle(&store);
        assert_eq!((cleaned(&storage), store.cleanup_status().tasks), (vec![], 0), "the task is dropped");
        assert_eq!(storage.stored(), handles([1]));
        remove(&store, [1]);
        settle(&store);
        assert_eq!(storage.stored(), handles([]), "{composition:?}");
    }
}

#[test]
fn c12_an_add_waits_while_its_handle_is_cleaned() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=2);
        flush(&store);
        remove(&store, [1]);
        flush(&store);
        storage.hold();
        thread::scope(|scope| {
            let cleaning = scope.spawn(|| clean(&store));
            storage.wait_until_called();
            for outcome in [
                store.add(shape(1), Wait::No).map(drop),
                store.add(shape(1), Wait::UpTo(Duration::from_millis(1))).map(drop),
                store.get_or_add(&shape(1), Wait::No).map(drop),
            ] {
                let Err(MutateError::Refused(refusal)) = outcome else {
                    panic!("{composition:?}: {outcome:?}")
                };
                let Refusal::BeingCleaned { handle: refused, retry_after } = &refusal else {
                    panic!("{refusal}")
                };
                assert!(*refused == handle(1) && !retry_after.is_zero());
            }
            assert!(!store.has_handle(&handle(1)).expect("it reads"), "nothing has changed (C4)");
            // Other handles, and the key of the removed shape, are free.
            let mut other = shape(1);
            other.handle = handle(77);
            assert!(store.get_or_add(&other, Wait::No).expect("it is accepted").added);
            store.remove(&handle(77), WAIT).expect("it is live");

            let waits = scope.spawn(|| store.add(shape(1), WAIT));
            let asks = scope.spawn(|| block_on(store.get_or_add_async(&shape(3))));
            assert!(asks.join().expect("no panic").is_ok());
            storage.release();
            cleaning.join().expect("the cleaner works");
            waits.join().expect("no panic").expect("the handle is free again");
        });
        assert!(store.handle_for(&key(1)).expect("it reads").is_some());
        assert!(!storage.has(1), "its data was deleted before it was added: {composition:?}");
    }
}

#[test]
fn c12_a_failed_call_releases_its_handles() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        add(&store, &storage, [1]);
        remove(&store, [1]);
        flush(&store);
        for failure in [Failure::Error, Failure::Panic] {
            storage.fail(&[failure]);
            store.clean_once().expect_err("the cleaner fails");
            assert!(!store.clean_once().expect("the end of the pass"));
        }
        add(&store, &storage, [1]);
        settle(&store);
        assert!(storage.has(1), "{composition:?}");
    }
}

#[test]
fn c12_a_handle_that_comes_back_often_keeps_its_latest_data() {
    for composition in ALL {
        for ends_live in [false, true] {
            let (directory, storage) = (directory(), Storage::default());
            let store = open(composition, directory.path(), &storage);
            for _ in 0..30 {
                add(&store, &storage, [1]);
                flush(&store);
                remove(&store, [1]);
                flush(&store);
            }
            assert_eq!(store.cleanup_status().tasks, 30, "one for each shape");
            if ends_live {
                add(&store, &storage, [1]);
            }
            settle(&store);
            settle(&store);
            assert_eq!((storage.has(1), store.cleanup_status().tasks), (ends_live, 0), "{composition:?}");
        }
    }
}

/// Adds, removals and cleanings of the same few handles on several threads. The storage checks each call.
#[test]
fn c12_adds_and_cleanings_at_the_same_time_keep_live_data() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        thread::scope(|scope| {
            let mutating: Vec<_> = (0..3)
                .map(|thread| {
                    let (store, storage) = (&store, &storage);
                    scope.spawn(move || {
                        for round in 0..60 {
                            let number = 1 + (round + thread) % 4;
                            if store.add(shape(number), WAIT).is_ok() {
                                storage.create(handle(number));
                                if round % 3 > 0 {
                                    flush(store);
                                }
                                assert!(storage.has(number), "the data of a live shape was deleted");
                                store.remove(&handle(number), WAIT).expect("this thread has added it");
                            }
                            flush(store);
                        }
                    })
                })
                .collect();
            while !mutating.iter().all(thread::ScopedJoinHandle::is_finished) {
                store.clean_once().expect("the cleaner works");
                thread::yield_now();
            }
            mutating.into_iter().for_each(|thread| thread.join().expect("no check fails"));
        });
        settle(&store);
        assert_eq!(storage.stored(), handles([]), "{composition:?}");
    }
}
