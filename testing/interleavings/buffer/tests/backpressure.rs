//! C7: back-pressure. Nobody is let in beyond the bound, and nobody who waits is forgotten.

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

/// Threads and futures that wait for room for ever all get it: whoever finds the buffer full wakes the
/// flusher, and whoever makes room wakes those who wait.
#[test]
fn c7_whoever_waits_for_room_gets_it() {
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
                        store.add(shape, Wait::UpTo(Duration::MAX)).expect("room in the end");
                    } else {
                        block_on(store.mutate_async(&Mutation::Add(shape))).expect("room in the end");
                    }
                    assert!(store.pending().shapes <= bound, "let in beyond the bound");
                });
            }
        });
        assert_eq!(handles(&store).len(), HANDLES.len());
        drop(store);
        assert_eq!(handles(&*memory).len(), HANDLES.len());
    });
}

/// Whoever gives up is told so, and has changed nothing; whoever is let in is not lost.
#[test]
fn c7_whoever_gives_up_has_changed_nothing() {
    explore(|| {
        let (store, _, _) = open(small().max_pending_shapes(1).background_flush(false));
        let let_in = std::sync::Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (key, handle) in (0..3).zip(HANDLES) {
                let (store, let_in) = (&store, &let_in);
                scope.spawn(move || match store.add(shape(handle, key), Wait::UpTo(SHORT)) {
                    Ok(_) => let_in.lock().expect("nobody panicked").push(handle.to_owned()),
                    Err(MutateError::Refused(Refusal::Overloaded { .. })) => {}
                    Err(error) => panic!("{error}"),
                });
            }
            scope.spawn(|| {
                store.flush_once().expect("flush");
                assert!(store.pending().shapes <= 1);
            });
        });
        let (mut let_in, mut seen) = (let_in.into_inner().expect("nobody panicked"), handles(&store));
        let_in.sort();
        seen.sort();
        assert_eq!(seen, let_in);
    });
}

/// Closing tells whoever waits for room.
#[test]
fn c10_whoever_waits_for_room_is_told_of_the_end() {
    explore(|| {
        let (store, _, memory) = open(small().max_pending_shapes(1).background_flush(false));
        store.add(shape("first", 9), Wait::No).expect("room");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let outcome = store.add(shape("a", 0), Wait::UpTo(Duration::MAX));
                matches!(outcome, Ok(_) | Err(MutateError::Failed(_))).then_some(outcome.is_ok())
            });
            scope.spawn(|| store.close(Duration::MAX));
            let was_let_in = waiting.join().expect("no panic").expect("room, or the end");
            assert_eq!(handles(&store).contains(&"a".to_owned()), was_let_in);
        });
        // What was let in before the end is written; what came later was refused.
        assert_eq!(handles(&*memory), handles(&store));
    });
}
