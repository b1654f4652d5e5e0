//! Receipts: whoever waits is told, by a thread's wait or a future, of every way in which it can end.

use std::time::Duration;

use shape_meta_core::{
    ErrorKind, MutateShapesExt, NotDurable, ReadShapes, Receipt, Refusal, StoreControl, Wait,
    conformance::{Naming, Side},
};
use shuttle::{future::block_on, thread};

use crate::{
    explore::explore,
    support::{NEVER, Store, add, choose, holder, manual, open, shape, threaded},
};

fn wait(receipt: &Receipt) -> Result<(), NotDurable> {
    if choose(2) == 0 { receipt.wait_durable(Duration::MAX) } else { block_on(receipt.durable()) }
}

fn is_below(store: &Store, receipt: &Receipt) -> bool {
    store.inner().inner().committed().last_seq().expect("memory does not fail") >= receipt.seq()
}

#[test]
fn c6_whoever_waits_for_a_receipt_is_told_that_it_is_durable() {
    explore(|| {
        let (store, faults, _) = manual();
        let receipts = [add(&store, "a", 1), add(&store, "b", 2)];
        let failures = choose(2);
        faults.fail_applies(
            failures,
            ErrorKind::Busy,
            if choose(2) == 0 { Side::Before } else { Side::After },
        );
        thread::scope(|scope| {
            for receipt in &receipts {
                let store = &store;
                scope.spawn(move || {
                    wait(receipt).expect("durable in the end");
                    assert!(is_below(store, receipt), "I2");
                });
            }
            scope.spawn(|| {
                for _ in 0..=failures {
                    drop(store.flush_once());
                }
            });
        });
    });
}

#[test]
fn c8_whoever_waits_for_a_receipt_is_told_that_it_was_rejected() {
    explore(|| {
        let (store, faults, _) = manual();
        let naming = if choose(2) == 0 { Naming::Culprit } else { Naming::Nobody };
        faults.refuse(&shape("poison", 0).handle, naming);
        let receipts = [add(&store, "a", 1), add(&store, "poison", 2), add(&store, "b", 3)];
        thread::scope(|scope| {
            for (number, receipt) in receipts.iter().enumerate() {
                scope.spawn(move || match (number, wait(receipt)) {
                    (1, Err(NotDurable::Rejected(_))) | (0 | 2, Ok(())) => {}
                    (number, other) => panic!("{number}: {other:?}"),
                });
            }
            scope.spawn(|| store.flush_once().expect("flush"));
        });
        assert_eq!((holder(&store, 2), store.counts().expect("memory").total), (None, 2));
    });
}

/// Nobody takes for lost what is on disk, and nobody waits for what will not be written.
#[test]
fn c9_whoever_waits_for_a_receipt_is_told_that_writing_has_stopped() {
    explore(|| {
        let (store, faults, _) = manual();
        let first = add(&store, "a", 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                drop(store.flush_once());
                faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
                add(&store, "b", 2);
                store.flush_once().expect_err("told to fail");
            });
            scope.spawn(|| match wait(&first) {
                Ok(()) => assert!(is_below(&store, &first)),
                other => panic!("it was written: {other:?}"),
            });
        });
        let second = store.request_flush();
        assert!(matches!(wait(&second), Err(NotDurable::Stopped(_))));
    });
}

#[test]
fn c10_whoever_waits_for_a_receipt_is_told_of_the_end() {
    explore(|| {
        // Only a request lets it try again.
        let (store, faults, _) = open(threaded(64).backoff(NEVER, NEVER));
        let receipt = add(&store, "a", 1);
        let fails = choose(2) == 0;
        if fails {
            faults.fail_applies(usize::from(u8::MAX), ErrorKind::StorageFull, Side::Before);
        }
        thread::scope(|scope| {
            scope.spawn(|| match wait(&receipt) {
                Ok(()) => assert!(is_below(&store, &receipt)),
                Err(NotDurable::Stopped(_)) => assert!(fails && !is_below(&store, &receipt)),
                other => panic!("{other:?}"),
            });
            scope.spawn(|| {
                let report = store.close(if fails { Duration::from_millis(1) } else { Duration::MAX });
                assert_eq!(report.is_complete(), !fails, "{report:?}");
            });
        });
    });
}

/// A request is served by the thread also if it comes while the thread is busy, or after it has failed.
#[test]
fn no_request_to_flush_is_lost() {
    explore(|| {
        let (store, faults, memory) = open(threaded(64));
        faults.fail_applies(choose(2), ErrorKind::Busy, Side::Before);
        thread::scope(|scope| {
            for (handle, key) in [("a", 1), ("b", 2)] {
                let store = &store;
                scope.spawn(move || {
                    let receipt = add(store, handle, key);
                    store.request_flush();
                    wait(&receipt).expect("the thread flushes");
                    assert!(is_below(store, &receipt), "I2");
                });
            }
        });
        assert_eq!(memory.committed().counts().expect("memory").total, 2);
    });
}

/// Whoever finds things so already relies on nothing that comes later.
#[test]
fn c1_a_receipt_of_what_was_so_is_of_no_later_place() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "a", 1);
        let complete = store.mark_snapshot_complete("a", Wait::No).expect("it is live");
        thread::scope(|scope| {
            scope.spawn(|| match store.mark_snapshot_complete("a", Wait::No) {
                Ok(again) => assert_eq!(again.seq(), complete.seq()),
                Err(error) => assert!(matches!(error.refusal(), Some(Refusal::UnknownHandle { .. }))),
            });
            scope.spawn(|| store.remove("a", Wait::No).expect("it is live"));
        });
    });
}
