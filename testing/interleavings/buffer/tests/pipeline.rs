//! One generation is being published while the next one is being committed.

use std::time::Duration;

use shape_meta_core::{
    ErrorKind, MutateShapesExt, NotDurable, ReadShapes, ReadShapesExt, Receipt, SnapshotState, StoreControl,
    Wait,
    conformance::{RejectedSeq, Side},
};
use shuttle::thread;

use crate::{
    explore::explore,
    support::{NEVER, add, choose, handles, holder, manual, open, readers, see_in_order, shape, threaded},
};

/// C1: handle, key, relation, list and count, over three generations at a time. The flusher always has a next
/// flush due.
#[test]
fn c1_every_index_follows_while_publish_and_commit_overlap() {
    explore(|| {
        let (store, faults, memory) = open(threaded(1));
        faults.fail_applies(choose(2), ErrorKind::Busy, Side::After);
        let list = |handles: &[&str]| handles.iter().map(|handle| (*handle).to_owned()).collect::<Vec<_>>();
        thread::scope(|scope| {
            scope.spawn(|| {
                let add = |handle, key| {
                    add(&store, handle, key);
                    for _ in 0..2 {
                        assert!(store.has_handle(handle).expect("memory"));
                        assert_eq!(holder(&store, key).as_deref(), Some(handle));
                    }
                };
                add("a", 1);
                add("b", 2);
                assert_eq!(holder(&store, 1).as_deref(), Some("a"), "the shape may be two generations old");
                store.remove("a", Wait::No).expect("live");
                add("c", 1);
                store.remove("b", Wait::No).expect("live");
                assert!(!store.has_handle("b").expect("memory"));
            });
            scope.spawn(|| {
                let states = [
                    list(&[]),
                    list(&["a"]),
                    list(&["a", "b"]),
                    list(&["b"]),
                    list(&["b", "c"]),
                    list(&["c"]),
                ];
                match choose(4) {
                    0 => see_in_order(&states, || readers(&store)),
                    1 => see_in_order(&states, || handles(&store)),
                    2 => see_in_order(&[0, 1, 2, 1, 2, 1], || store.counts().expect("memory").total),
                    _ => {
                        let states =
                            [None, Some("a"), None, Some("c")].map(|handle| handle.map(str::to_owned));
                        see_in_order(&states, || holder(&store, 1));
                    }
                }
            });
        });
        assert!(store.close(Duration::MAX).is_complete());
        assert_eq!((handles(&store), handles(memory.committed())), (list(&["c"]), list(&["c"])));
    });
}

/// C1: a mark on a shape whose add is one or two generations older.
#[test]
fn c1_marks_follow_their_shape_through_the_generations() {
    explore(|| {
        let (store, _, memory) = open(threaded(1));
        let state = || store.snapshot_state("h").expect("memory");
        thread::scope(|scope| {
            scope.spawn(|| {
                add(&store, "h", 1);
                store.mark_snapshot_started("h", Wait::No).expect("live");
                add(&store, "i", 2);
                assert_eq!(state(), Some(SnapshotState::Started));
                store.mark_snapshot_complete("h", Wait::No).expect("live");
                assert_eq!(state(), Some(SnapshotState::Complete));
            });
            scope.spawn(|| {
                let (pending, started) = (SnapshotState::Pending, SnapshotState::Started);
                see_in_order(&[None, Some(pending), Some(started), Some(SnapshotState::Complete)], state);
            });
        });
        assert!(store.close(Duration::MAX).is_complete());
        let written = memory.committed().snapshot_state("h").expect("memory");
        assert_eq!((state(), written), (Some(SnapshotState::Complete), Some(SnapshotState::Complete)));
    });
}

/// C9: the publish or the commit fails or panics while the other one runs.
#[test]
fn c9_a_fault_of_overlapping_publish_or_commit_loses_nothing() {
    explore(|| {
        let (store, faults, memory) = open(threaded(1));
        faults.allow_applies(choose(2));
        match choose(3) {
            0 => faults.fail_applies(1, ErrorKind::Io, Side::After),
            1 => faults.panic_applies(1, Side::After),
            _ => {}
        }
        if choose(2) == 0 {
            faults.panic_publishes(1 + choose(2), if choose(2) == 0 { Side::Before } else { Side::After });
        }
        let names = [("a", 1), ("b", 2), ("c", 3)];
        for (number, (handle, key)) in names.into_iter().enumerate() {
            let receipt = add(&store, handle, key);
            if number == choose(3) {
                receipt.passive().wait_durable(Duration::MAX).expect("retried until it succeeds");
            }
            assert_eq!(handles(&store).len(), number + 1);
        }
        store.flush(Duration::MAX).expect("retried until it succeeds");
        assert_eq!(store.pending().shapes, 0, "a committed shape is not pending");
        assert_eq!((handles(&store).len(), handles(memory.committed()).len()), (3, 3));
        assert!(store.close(Duration::MAX).is_complete());
        assert_eq!(handles(&store).len(), 3);
    });
}

/// C8: a rejection is reconciled before the next commit, so that nothing in that one rests on it.
#[test]
fn c8_a_rejection_is_reconciled_before_the_next_commit() {
    explore(|| {
        let (store, faults, memory) = open(threaded(1));
        let naming = if choose(2) == 0 { RejectedSeq::Reported } else { RejectedSeq::Omitted };
        faults.reject_handle(&shape("rejected", 0).handle, naming);
        store.pause();
        let [a, rejected] = [add(&store, "a", 1), add(&store, "rejected", 2)];
        store.resume();
        let is_rejected = |receipt: &Receipt| match receipt.wait_durable(Duration::MAX) {
            Ok(()) => false,
            Err(NotDurable::Rejected(_)) => true,
            Err(other) => panic!("{other:?}"),
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let mark = store.mark_snapshot_started("rejected", Wait::No);
                assert!(!is_rejected(&add(&store, "b", 3)), "it rests on no other change");
                if let Ok(mark) = mark {
                    assert_eq!(is_rejected(&mark), is_rejected(&rejected), "it rests on the add");
                }
            });
            // The add is rejected or not, but a mark is never rejected on its own.
            scope.spawn(|| faults.clear());
        });
        assert!(!is_rejected(&a));
        assert!(store.close(Duration::MAX).is_complete());
        let is_there = holder(&store, 2).is_some();
        assert_eq!(is_there, !is_rejected(&rejected));
        assert_eq!(store.counts().expect("memory").total, 2 + u64::from(is_there));
        assert_eq!(handles(&store), handles(memory.committed()));
    });
}

/// C8: the same if a publish panicked, so that the rejection is still to be reconciled when the next flush
/// begins.
#[test]
fn c8_nothing_that_rests_on_a_rejection_is_committed() {
    explore(|| {
        let (store, faults, memory) = manual();
        add(&store, "good", 1);
        add(&store, "bad", 2);
        faults.reject_handle(&shape("bad", 0).handle, RejectedSeq::Reported);
        faults.panic_publishes(1, if choose(2) == 0 { Side::Before } else { Side::After });
        assert_eq!(store.flush_once().expect_err("a panic").kind(), ErrorKind::Panicked);
        faults.clear();
        // The rejected shape disappears with the drop of its generation, and the mark with it.
        let mark = store.mark_snapshot_started("bad", Wait::No).expect("live");
        thread::scope(|scope| {
            scope.spawn(|| store.flush_once().expect("flush"));
            see_in_order(&[true, false], || store.has_handle("bad").expect("memory"));
        });
        assert!(matches!(mark.wait_durable(NEVER), Err(NotDurable::Rejected(_))));
        assert_eq!(
            (handles(&store), handles(memory.committed())),
            (vec!["good".into()], vec!["good".into()])
        );
    });
}

/// A pause returns only after committed changes are published.
#[test]
fn a_pause_leaves_nothing_unpublished() {
    explore(|| {
        let (store, _, memory) = open(threaded(1));
        thread::scope(|scope| {
            scope.spawn(|| {
                for (handle, key) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
                    add(&store, handle, key);
                }
            });
            scope.spawn(|| {
                for _ in 0..4 {
                    (0..choose(10)).for_each(|_| thread::yield_now());
                    store.pause();
                    assert_eq!(handles(&*memory), handles(memory.committed()));
                    store.resume();
                }
            });
        });
        assert!(store.close(Duration::MAX).is_complete());
    });
}
