//! C14: no wake-up of a wait for a shape is lost, whatever changes the shape.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    AwaitShapes, AwaitShapesExt, Direct, Limits, MemoryStore, Milestone, MutateShapes, MutateShapesExt,
    NoopObserver, NotReached, Removal, SnapshotState, StoreControl, Timestamp, Wait,
    conformance::RejectedSeq,
};
use shuttle::{future::block_on, thread};

use crate::{
    explore::explore,
    support::{NEVER, add, choose, manual, open, shape, threaded},
};

/// Waits as a thread or as a future. A wake-up that is lost is a deadlock, which fails the test.
fn wait(store: &impl AwaitShapes, milestone: impl Into<Milestone>) -> Result<(), NotReached> {
    match choose(2) {
        0 => store.wait_for_timeout("a", milestone, Duration::MAX),
        _ => block_on(store.wait_for("a", milestone)),
    }
}

fn is_removed(outcome: &Result<(), NotReached>) -> bool {
    matches!(outcome, Err(NotReached::Removed))
}

/// Removes the shape in one of several ways.
fn remove(store: &impl MutateShapes) {
    let removed = match choose(4) {
        0 => store.remove("a", Wait::No),
        1 => store.reset(Wait::No),
        2 => store.remove_all(Removal::of_handles(["a"]), Wait::No),
        _ => store
            .remove_if_unread_since("a", Timestamp::now(), Wait::No)
            .map(|receipt| receipt.expect("it was never read")),
    };
    removed.expect("it is live");
}

#[test]
fn c14_no_wait_for_a_mark_is_lost() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "a", 1);
        thread::scope(|scope| {
            for state in [SnapshotState::Started, SnapshotState::Complete] {
                let store = &store;
                scope.spawn(move || wait(store, state).expect("it is marked"));
            }
            scope.spawn(|| {
                for _ in 0..2 {
                    drop(store.flush_once());
                }
            });
            store.mark_snapshot_started("a", Wait::No).expect("it is live");
            store.mark_snapshot_complete("a", Wait::No).expect("it is live");
        });
        assert!(store.shape_waits().is_empty());
    });
}

#[test]
fn c14_no_wait_outlasts_its_shape() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "a", 1);
        thread::scope(|scope| {
            scope.spawn(|| assert!(is_removed(&wait(&store, SnapshotState::Started))));
            scope.spawn(|| wait(&store, Milestone::Removed).expect("it is removed"));
            scope.spawn(|| drop(store.flush_once()));
            remove(&store);
        });
        assert!(store.shape_waits().is_empty());
    });
}

/// An add that the store below rejects ends the waits for the shape, also that for its durability.
#[test]
fn c14_a_rejection_ends_the_waits_for_its_shape() {
    explore(|| {
        let (store, faults, _) = manual();
        let naming = if choose(2) == 0 { RejectedSeq::Reported } else { RejectedSeq::Omitted };
        faults.reject_handle(&shape("a", 1).handle, naming);
        add(&store, "a", 1);
        thread::scope(|scope| {
            scope.spawn(|| assert!(is_removed(&wait(&store, SnapshotState::Complete))));
            scope.spawn(|| {
                let outcome = wait(&store, Milestone::Durable);
                assert!(
                    is_removed(&outcome) || matches!(outcome, Err(NotReached::NotDurable(_))),
                    "{outcome:?}"
                );
            });
            scope.spawn(|| drop(store.flush_once()));
        });
    });
}

#[test]
fn c14_a_close_ends_every_wait() {
    explore(|| {
        let (store, _, _) = open(threaded(64));
        add(&store, "a", 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                let outcome = wait(&store, SnapshotState::Started);
                assert!(matches!(outcome, Err(NotReached::Closed)), "{outcome:?}");
            });
            scope.spawn(|| wait(&store, Milestone::Durable).expect("the close writes it"));
            assert!(store.close(NEVER).is_complete());
        });
    });
}

#[test]
fn c14_no_wait_is_lost_without_a_buffer() {
    explore(|| {
        let store = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver));
        let store = store.expect("memory does not fail");
        store.add(shape("a", 1), Wait::No).expect("no shape has the handle");
        let is_marked = choose(2) == 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                let outcome = wait(&store, SnapshotState::Started);
                assert!(if is_marked { outcome.is_ok() } else { is_removed(&outcome) }, "{outcome:?}");
            });
            match is_marked {
                true => drop(store.mark_snapshot_complete("a", Wait::No).expect("it is live")),
                false => remove(&store),
            }
        });
        assert!(store.shape_waits().is_empty());
    });
}
