//! Dropping the last clone of a store that futures use.

use shape_meta::{OnLiveOwner, prelude::*};
use shape_meta_core::conformance::{block_on, handle, shape};
use shape_meta_harness::compositions::{ALL, DIRECT, TIMEOUT};

use super::ticker::{OnDisk, assert_reached};

/// Once, the drop waited up to 10 seconds, on whatever thread.
#[test]
fn c10_dropping_the_last_clone_does_not_block_the_executor() {
    for composition in ALL {
        let on = OnDisk::new();
        let store = on.open(composition);
        block_on(store.add_async(shape(1))).expect("it is new");
        let completed = block_on(store.mark_snapshot_complete_async(&handle(1))).expect("it is live");
        let (dropped, _) = on.run("the drop", async move {
            drop(store);
            completed
        });
        // What was pending is written by the thread that ends the store.
        let next = OnDisk::options().on_live_owner(OnLiveOwner::Wait(TIMEOUT));
        let next = DIRECT.builder().sqlite(next).open(on.path()).expect("the former owner has ended");
        assert!(next.has_handle(&handle(1)).expect("the disk works"), "{composition:?}");
        assert!(dropped.is_durable(), "{composition:?}");
    }
}

/// A program without futures may end when its last clone is dropped, and loses nothing.
#[test]
fn c10_dropping_the_last_clone_of_other_stores_waits() {
    for composition in ALL {
        let on = OnDisk::new();
        let store = on.open(composition);
        let receipt = store.add(shape(1), Wait::UpTo(TIMEOUT)).expect("it is new");
        drop(store);
        assert!(receipt.is_durable(), "{composition:?}");
        on.open(composition);
    }
}

/// A call that hangs keeps the store open. Its thread drops the last clone then.
#[test]
fn c10_a_hanging_call_may_drop_the_last_clone() {
    let on = OnDisk::new();
    let store = on.open(DIRECT);
    block_on(store.add_async(shape(1))).expect("it is new");
    let hang = on.disk.hang();
    let read = store.clone();
    let read = std::thread::spawn(move || block_on(read.record_async(&handle(1))));
    assert_reached(&hang);
    drop(store);
    drop(hang);
    assert!(read.join().expect("no panic").expect("the disk works").is_some());
    let next = OnDisk::options().on_live_owner(OnLiveOwner::Wait(TIMEOUT));
    DIRECT.builder().sqlite(next).open(on.path()).expect("the former owner has ended");
}
