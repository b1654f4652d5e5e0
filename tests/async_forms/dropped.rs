//! Dropping a future is safe.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use shape_meta::{ErrorKind, prelude::*};
use shape_meta_core::conformance::{block_on, handle, shape};
use shape_meta_harness::compositions::{ALL, BUFFERED, DIRECT, PRODUCT, TIMEOUT, WAIT};

use super::ticker::{OnDisk, assert_reached};

/// Polls a future once, and drops it.
fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn c14_a_call_that_no_thread_has_taken_is_not_made() {
    let on = OnDisk::new();
    let store = on.open(DIRECT);
    store.add(shape(1), WAIT).expect("it is new");
    let hang = on.disk.hang();
    // All threads of the store hang.
    let hung: Vec<_> = (0..4)
        .map(|_| {
            let mut read = Box::pin({
                let store = store.clone();
                async move { store.record_async(&handle(1)).await }
            });
            assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            read
        })
        .collect();
    assert_reached(&hang);
    let calls = Arc::new(AtomicU64::new(0));
    for _ in 0..1_000 {
        let counted = Arc::clone(&calls);
        // The queue is bounded: at some time the future waits for room. Dropped, it leaves the queue.
        assert!(poll_once(store.run_blocking(move |_| counted.fetch_add(1, Ordering::Relaxed))).is_pending());
    }
    drop(hang);
    for read in hung {
        assert!(block_on(read).expect("the disk works").is_some());
    }
    let counted = Arc::clone(&calls);
    block_on(store.run_blocking(move |_| counted.fetch_add(1, Ordering::Relaxed))).expect("it runs");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn c14_a_dropped_future_leaves_a_store_that_works() {
    for composition in ALL {
        let on = OnDisk::new();
        let store = on.open(composition);
        store.add(shape(1), WAIT).expect("it is new");
        let hang = on.disk.hang();
        let _ = poll_once(store.get_or_add_async(&shape(2)));
        let _ = poll_once(store.record_async(&handle(1)));
        let _ = poll_once(store.flush_async());
        let _ = poll_once(store.repair_async());
        let mut scan = store.scan_async();
        let _ = poll_once(scan.next());
        drop(scan);
        drop(hang);
        // The repair may have begun, and goes on then. The next one waits for it.
        block_on(store.repair_async()).expect("the disk works");
        store.get_or_add(&shape(2), WAIT).expect("it is live or new");
        store.flush(TIMEOUT).expect("the disk works");
        assert!(store.close(TIMEOUT).is_complete(), "{composition:?}");
        assert!(on.open(composition).has_handle(&handle(1)).is_ok());
    }
}

/// A close that no future awaits any more goes on.
#[test]
fn c10_a_dropped_close_goes_on() {
    let on = OnDisk::new();
    let store = on.open(PRODUCT);
    let receipt = store.add(shape(1), WAIT).expect("it is new");
    let hang = on.disk.hang();
    assert!(poll_once(store.close_async(TIMEOUT)).is_pending());
    assert_reached(&hang);
    drop(hang);
    receipt.passive().wait_durable(TIMEOUT).expect("the close writes it");
    assert!(store.close(TIMEOUT).is_complete());
}

#[test]
fn c14_a_panic_is_an_error_and_ends_no_thread() {
    let on = OnDisk::new();
    let store = on.open(BUFFERED);
    for _ in 0..20 {
        let panicked = block_on(store.run_blocking(|_| -> () { panic!("on purpose") }));
        assert_eq!(panicked.expect_err("it panics").kind(), ErrorKind::Panicked);
    }
    block_on(store.run_blocking(|store| store.counts())).expect("it runs").expect("the disk works");
}
