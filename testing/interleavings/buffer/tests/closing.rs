//! C10: closing and dropping beside mutations and flushes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use shape_meta_core::{ErrorKind, MutateError, MutateShapesExt, StoreControl, Wait};
use shuttle::thread;

use crate::{
    explore::explore,
    support::{choose, handles, manual, open, shape, threaded},
};

/// What is accepted while the store is being closed is written, or was refused.
#[test]
fn c10_what_was_accepted_before_the_end_is_written() {
    explore(|| {
        let (store, _, memory) = if choose(2) == 0 { manual() } else { open(threaded(1)) };
        let accepted = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (key, handle) in [(1, "a"), (2, "b")] {
                let (store, accepted) = (&store, &accepted);
                scope.spawn(move || match store.add(shape(handle, key), Wait::No) {
                    Ok(_) => accepted.lock().expect("nobody panicked").push(handle.to_owned()),
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
        let (mut accepted, mut below) = (accepted.into_inner().expect("nobody panicked"), handles(&*memory));
        accepted.sort();
        below.sort();
        assert_eq!(below, accepted);
    });
}

/// The last handle may be dropped by whoever is last; the thread lets the store below go.
#[test]
fn c10_dropping_writes_and_lets_everything_go() {
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
        assert_eq!(Arc::strong_count(&memory), 1, "the thread has let the store go");
    });
}
