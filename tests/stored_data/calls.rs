//! A cleaner that calls the store that calls it.

use std::sync::{Arc, Mutex};

use shape_meta::{MutateError, MutateShapesExt, ReadShapesExt, Refusal, ShapeMeta, StoreControl, Wait};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{ALL, PRODUCT, TIMEOUT, directory};

use super::support::{
    Storage, add, builder, clean, clean_despite_failures, cleaned, flush, handles, open, remove, settle,
};

/// Makes the cleaner call `work` with the store, once.
fn call_once(storage: &Storage, store: &ShapeMeta, work: impl FnOnce(&ShapeMeta) + Send + 'static) {
    let (store, work) = (store.downgrade(), Mutex::new(Some(work)));
    storage.on_clean(move |_| {
        if let (Some(store), Some(work)) = (store.upgrade(), work.lock().expect("no panic").take()) {
            work(&store);
        }
    });
}

#[test]
fn c12_a_cleaner_may_use_the_store() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        add(&store, &storage, 1..=3);
        remove(&store, [1]);
        flush(&store);
        let created = storage.clone();
        call_once(&storage, &store, move |store| {
            let refused = store.add(shape(1), Wait::UpTo(std::time::Duration::from_millis(1)));
            let Err(MutateError::Refused(Refusal::BeingCleaned { .. })) = refused else {
                panic!("its handle is being cleaned: {refused:?}")
            };
            add(store, &created, [4]);
            remove(store, [2]);
            flush(store);
            assert!(!store.clean_once().expect("a call within a call does nothing"));
            store.confirm_orphans().expect("it is written");
            assert_eq!(store.cleanup_status().tasks, 2);
        });
        settle(&store);
        assert_eq!(storage.stored(), handles([3, 4]), "{composition:?}");
    }
}

#[test]
fn c12_a_cleaner_may_close_the_store() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=2);
        remove(&store, [1]);
        flush(&store);
        call_once(&storage, &store, |store| assert!(store.close(TIMEOUT).is_complete()));
        clean_despite_failures(&store);
        assert_eq!(storage.stored(), handles([2]), "the call has ended");
        drop(store);
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert_eq!(storage.stored(), handles([2]), "{composition:?}");
    }
}

#[test]
fn c12_a_cleaner_may_drop_the_last_clone() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = builder(composition, &storage).background_cleanup(true);
        let store = store.open(directory.path()).expect("it opens");
        add(&store, &storage, 1..=2);
        flush(&store);
        let last: Arc<Mutex<Option<ShapeMeta>>> = Arc::default();
        let dropped = Arc::clone(&last);
        storage.on_clean(move |_| drop(dropped.lock().expect("no panic").take()));
        *last.lock().expect("no panic") = Some(store.clone());
        store.remove(&handle(1), Wait::No).expect("it is live");
        drop(store);
        // No other clone is left: the pending removal is flushed, cleaned, or handed over after the next
        // open.
        drop(last.lock().expect("no panic").take());
        storage.on_clean(|_| ());
        let options = builder(composition, &storage).background_cleanup(true);
        let options = options.sqlite(
            shape_meta_harness::compositions::sqlite().on_live_owner(shape_meta::OnLiveOwner::Wait(TIMEOUT)),
        );
        let store = options.open(directory.path()).expect("the database has no owner in the end");
        storage.wait_until_stored(1);
        assert!(store.has_handle(&handle(2)).expect("it reads"), "{composition:?}");
        assert!(store.close(TIMEOUT).is_complete());
    }
}

/// Parts run one after the other, on any thread.
#[test]
fn c12_several_threads_clean_next_to_the_background() {
    let (directory, storage) = (directory(), Storage::default());
    let store = builder(PRODUCT, &storage).background_cleanup(true);
    let store = store.open(directory.path()).expect("it opens");
    add(&store, &storage, 1..=3_000);
    flush(&store);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for number in (1..=2_900).filter(|number| number % 3 == thread) {
                    remove(store, [number]);
                    if number % 100 < 3 {
                        flush(store);
                        clean(store);
                    }
                }
            });
        }
    });
    flush(&store);
    storage.wait_until_stored(100);
    assert_eq!(cleaned(&storage).len(), 2_900);
    assert!(store.close(TIMEOUT).is_complete());
}
