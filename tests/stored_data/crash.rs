//! Crashes between a removal and its cleaning.

use std::collections::BTreeSet;

use shape_meta::{MutateShapesExt, ReadShapesExt};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::{
    compositions::{ALL, WAIT, directory},
    crash::Crash,
};

use super::support::{Failure, Storage, add, clean, cleaned, flush, handles, open, remove, settle};

#[test]
fn c12_a_crash_before_the_cleaning_hands_over_again() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=4);
        flush(&store);
        remove(&store, [1, 2]);
        flush(&store);
        let crash = Crash::of(directory.path());
        drop(store);
        crash.restore();
        let reopened = open(composition, directory.path(), &storage);
        settle(&reopened);
        assert_eq!(cleaned(&storage), handles([1, 2]), "{composition:?}");
        assert_eq!(storage.stored(), handles([3, 4]));
    }
}

#[test]
fn c12_a_crash_before_the_acknowledgement_hands_over_again() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=4);
        flush(&store);
        remove(&store, [1, 2]);
        flush(&store);
        // The data is deleted, and the process dies before that is acknowledged.
        let crash = Crash::of(directory.path());
        clean(&store);
        assert_eq!(cleaned(&storage), handles([1, 2]));
        drop(store);
        crash.restore();
        let reopened = open(composition, directory.path(), &storage);
        clean(&reopened);
        assert_eq!(cleaned(&storage), handles([1, 2]), "{composition:?}");
        let crash = Crash::of(directory.path());
        drop(reopened);
        crash.restore();
        clean(&open(composition, directory.path(), &storage));
        assert_eq!(cleaned(&storage), handles([]), "it was acknowledged");
    }
}

#[test]
fn c12_a_removal_that_a_crash_undoes_has_kept_its_data() {
    for composition in ALL.into_iter().filter(|one| one.buffer.is_some()) {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=2);
        settle(&store);
        remove(&store, [1]);
        clean(&store);
        let crash = Crash::of(directory.path());
        drop(store);
        crash.restore();
        let reopened = open(composition, directory.path(), &storage);
        settle(&reopened);
        assert!(reopened.has_handle(&handle(1)).expect("it reads"), "the removal was not durable");
        assert_eq!(storage.stored(), handles([1, 2]), "{composition:?}");
    }
}

/// A task of an old shape says nothing about a newer one with its handle, whose removal is not durable.
#[test]
fn c12_a_pending_removal_of_a_readded_handle_keeps_its_data() {
    for composition in ALL.into_iter().filter(|one| one.buffer.is_some()) {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, [1]);
        flush(&store);
        remove(&store, [1]);
        flush(&store);
        add(&store, &storage, [1]);
        flush(&store);
        remove(&store, [1]);
        clean(&store);
        assert_eq!(cleaned(&storage), handles([]), "{composition:?}");
        let crash = Crash::of(directory.path());
        drop(store);
        crash.restore();
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert!(store.has_handle(&handle(1)).expect("it reads"));
        assert!(storage.has(1), "{composition:?}");
        remove(&store, [1]);
        settle(&store);
        assert!(!storage.has(1));
    }
}

#[test]
fn c12_what_a_crash_has_lost_is_found_by_the_sweep() {
    for composition in ALL.into_iter().filter(|one| one.buffer.is_some()) {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        add(&store, &storage, 1..=3);
        flush(&store);
        add(&store, &storage, 4..=26);
        let crash = Crash::of(directory.path());
        drop(store);
        crash.restore();
        let reopened = open(composition, directory.path(), &storage);
        // Added since the open, before the sweep.
        add(&reopened, &storage, [27, 28]);
        remove(&reopened, [28]);
        clean(&reopened);
        assert_eq!(cleaned(&storage), handles(4..=26), "{composition:?}");
        settle(&reopened);
        assert_eq!(storage.stored(), handles([1, 2, 3, 27]));
        let sweep = reopened.cleanup_status().sweep.expect("it has ended");
        assert_eq!((sweep.orphans, sweep.waits_for_confirmation), (23, false));
    }
}

/// A crash at every step of a cleanup with failures: nothing of a live shape is lost, and nothing leaks.
#[test]
fn c12_a_crash_at_any_step_loses_and_leaks_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        add(&store, &storage, 1..=6);
        flush(&store);
        let crash = |store| {
            let crash = Crash::of(directory.path());
            drop(store);
            crash.restore();
            open(composition, directory.path(), &storage)
        };
        let (mut store, mut live) = (store, (1..=6).collect::<BTreeSet<u64>>());
        for number in 1..=6 {
            remove(&store, [number]);
            flush(&store);
            live.remove(&number);
            storage.fail(&[[Failure::Error, Failure::Half, Failure::Panic][number as usize % 3]]);
            store = crash(store);
            store.clean_once().expect_err("the cleaner fails");
            store = crash(store);
            settle(&store);
            assert_eq!(storage.stored(), handles(live.iter().copied()), "{composition:?}");
        }
        store.add(shape(1), WAIT).expect("its handle and its key are free");
    }
}
