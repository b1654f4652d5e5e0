//! C10: close and drop in parallel with mutations and flushes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use shape_meta_core::{ErrorKind, HealthState, MutateError, MutateShapesExt, StoreControl, Wait};
use shuttle::thread;

use crate::{
    explore::explore,
    support::{add, choose, handles, manual, open, shape, threaded},
};

/// A mutation during the close is refused, or written.
#[test]
fn c10_every_accepted_mutation_is_written_by_close() {
    explore(|| {
        let (store, _, memory) = if choose(2) == 0 { manual() } else { open(threaded(1)) };
        let accepted = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (key, handle) in [(1, "a"), (2, "b")] {
                let (store, accepted) = (&store, &accepted);
                scope.spawn(move || match store.add(shape(handle, key), Wait::No) {
                    Ok(_) => accepted.lock().expect("no panic").push(handle.to_owned()),
                    Err(MutateError::Failed(error)) => assert_eq!(error.kind(), ErrorKind::Closed),
                    Err(error) => panic!("{error}"),
                });
            }
            scope.spawn(|| drop(store.flush_once()));
            for _ in 0..2 {
                scope.spawn(|| {
                    let report = store.close(Duration::MAX);
                    assert!(report.is_complete() && report.error.is_none(), "{report:?}");
                });
            }
        });
        let (mut accepted, mut below) = (accepted.into_inner().expect("no panic"), handles(&*memory));
        accepted.sort();
        below.sort();
        assert_eq!(below, accepted);
    });
}

/// Any thread may drop the last owner. The flusher does not keep the store below.
#[test]
fn c10_a_drop_writes_and_frees_everything() {
    explore(|| {
        let (store, _, memory) = open(threaded(1 + choose(3)));
        let store = Arc::new(store);
        let threads = [(1, "a"), (2, "b")].map(|(key, handle)| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.add(shape(handle, key), Wait::No).expect("not closed");
                drop(store);
            })
        });
        drop(store);
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(handles(&*memory).len(), 2);
        assert_eq!(Arc::strong_count(&memory), 1, "the thread does not hold the store");
    });
}

/// Whichever way they interleave, close wins, and nothing that was accepted is lost.
#[test]
fn i8_close_outranks_a_repair_and_a_pause() {
    explore(|| {
        let (store, _, memory) = if choose(2) == 0 { manual() } else { open(threaded(1)) };
        let receipt = add(&store, "a", 1);
        thread::scope(|scope| {
            scope.spawn(|| drop(store.repair()));
            scope.spawn(|| store.pause());
            scope.spawn(|| {
                let report = store.close(Duration::MAX);
                assert!(report.is_complete() && report.error.is_none(), "{report:?}");
            });
        });
        assert!(!store.is_paused() && receipt.is_durable());
        let health = store.health().state;
        assert!(matches!(health, HealthState::Closed), "{health:?}");
        let refused = store.add(shape("b", 2), Wait::No).expect_err("closed");
        assert!(matches!(refused, MutateError::Failed(error) if error.kind() == ErrorKind::Closed));
        assert_eq!(handles(&*memory), ["a"]);
    });
}
