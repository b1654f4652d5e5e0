//! Receipts: every outcome reaches every waiter, be it a thread or a future.

use std::time::Duration;

use shape_meta_core::{
    ErrorKind, MutateShapesExt, NotDurable, ReadShapes, Receipt, Refusal, StoreControl, Wait,
    conformance::{RejectedSeq, Side},
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
fn c6_a_durable_change_resolves_its_receipt() {
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
                    wait(receipt).expect("durable after the retry");
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
fn c8_a_rejection_resolves_its_receipt() {
    explore(|| {
        let (store, faults, _) = manual();
        let naming = if choose(2) == 0 { RejectedSeq::Reported } else { RejectedSeq::Omitted };
        faults.reject_handle(&shape("rejected", 0).handle, naming);
        let receipts = [add(&store, "a", 1), add(&store, "rejected", 2), add(&store, "b", 3)];
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

/// A change on disk is never reported as lost, and no waiter hangs on a change that will not be written.
#[test]
fn c9_a_stop_resolves_every_receipt() {
    explore(|| {
        let (store, faults, _) = manual();
        let first = add(&store, "a", 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                drop(store.flush_once());
                faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
                add(&store, "b", 2);
                store.flush_once().expect_err("the injected fault");
            });
            scope.spawn(|| match wait(&first) {
                Ok(()) => assert!(is_below(&store, &first)),
                other => panic!("it was committed: {other:?}"),
            });
        });
        let second = store.request_flush();
        assert!(matches!(wait(&second), Err(NotDurable::Stopped(_))));
    });
}

#[test]
fn c10_close_resolves_every_receipt() {
    explore(|| {
        // Only a request ends the back-off.
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

/// The flusher serves a request that arrives while it is busy, or after it has failed.
#[test]
fn no_request_to_flush_is_lost() {
    explore(|| {
        let (store, faults, memory) = open(threaded(64));
        faults.fail_applies(choose(2), ErrorKind::Busy, Side::Before);
        thread::scope(|scope| {
            for (handle, key) in [("a", 1), ("b", 2)] {
                let store = &store;
                scope.spawn(move || {
                    let mut receipt = add(store, handle, key);
                    // The wait is a request, too.
                    if choose(2) == 0 {
                        receipt = receipt.passive();
                        store.request_flush();
                    }
                    wait(&receipt).expect("the thread flushes");
                    assert!(is_below(store, &receipt), "I2");
                });
            }
        });
        assert_eq!(memory.committed().counts().expect("memory").total, 2);
    });
}

/// A mutation without effect relies on nothing that is accepted after it.
#[test]
fn c1_the_receipt_of_a_no_op_is_of_no_later_change() {
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
