//! C7: backpressure. No change is accepted beyond the bound, and every waiting caller is woken.

use std::time::Duration;

use shape_meta_core::{
    ErrorKind, MutateError, MutateShapesExt, Mutation, Refusal, StoreControl, Wait, conformance::Side,
};
use shuttle::{future::block_on, thread};

use crate::{
    explore::explore,
    support::{SHORT, choose, handles, open, shape, small, threaded},
};

const HANDLES: [&str; 4] = ["a", "b", "c", "d"];

/// Threads and futures that wait without a deadline are all accepted: a caller at the bound wakes the
/// flusher, and the flush wakes the callers.
#[test]
fn c7_every_caller_that_waits_is_accepted() {
    explore(|| {
        let bound = 1 + choose(2);
        let (store, faults, memory) = open(threaded(64).max_pending_shapes(bound));
        if choose(2) == 0 {
            faults.fail_applies(1, ErrorKind::StorageFull, Side::Before);
        }
        thread::scope(|scope| {
            for (key, handle) in (0..).zip(HANDLES) {
                let store = &store;
                scope.spawn(move || {
                    let shape = shape(handle, key);
                    if key % 2 == 0 {
                        store.add(shape, Wait::UpTo(Duration::MAX)).expect("accepted in the end");
                    } else {
                        block_on(store.mutate_async(&Mutation::Add(shape))).expect("accepted in the end");
                    }
                    assert!(store.pending().shapes <= bound, "accepted beyond the bound");
                });
            }
        });
        assert_eq!(handles(&store).len(), HANDLES.len());
        drop(store);
        assert_eq!(handles(&*memory).len(), HANDLES.len());
    });
}

/// A caller that gives up is refused and has changed nothing; an accepted change is not lost.
#[test]
fn c7_a_caller_that_gives_up_has_changed_nothing() {
    explore(|| {
        let (store, _, _) = open(small().max_pending_shapes(1).background_flush(false));
        let accepted = std::sync::Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (key, handle) in (0..3).zip(HANDLES) {
                let (store, accepted) = (&store, &accepted);
                scope.spawn(move || match store.add(shape(handle, key), Wait::UpTo(SHORT)) {
                    Ok(_) => accepted.lock().expect("no panic").push(handle.to_owned()),
                    Err(MutateError::Refused(Refusal::Overloaded { .. })) => {}
                    Err(error) => panic!("{error}"),
                });
            }
            scope.spawn(|| {
                store.flush_once().expect("flush");
                assert!(store.pending().shapes <= 1);
            });
        });
        let (mut accepted, mut seen) = (accepted.into_inner().expect("no panic"), handles(&store));
        accepted.sort();
        seen.sort();
        assert_eq!(seen, accepted);
    });
}

/// Close wakes the callers that wait at the bound.
#[test]
fn c10_close_wakes_callers_that_wait_at_the_bound() {
    explore(|| {
        let (store, _, memory) = open(small().max_pending_shapes(1).background_flush(false));
        store.add(shape("first", 9), Wait::No).expect("below the bound");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let outcome = store.add(shape("a", 0), Wait::UpTo(Duration::MAX));
                matches!(outcome, Ok(_) | Err(MutateError::Failed(_))).then_some(outcome.is_ok())
            });
            scope.spawn(|| store.close(Duration::MAX));
            let was_accepted = waiting.join().expect("no panic").expect("accepted, or closed");
            assert_eq!(handles(&store).contains(&"a".to_owned()), was_accepted);
        });
        // A change that was accepted before the close is written; a later one was refused.
        assert_eq!(handles(&*memory), handles(&store));
    });
}
