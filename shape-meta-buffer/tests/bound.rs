//! C7: what is pending is bounded, and callers are told.

use std::{thread, time::Duration};

use shape_meta_buffer::BufferOptions;
use shape_meta_core::{
    ControlWrites, MutateError, MutateShapes, MutateShapesExt, Mutation, ReadShapesExt, Refusal, Wait,
    conformance::{Side, block_on},
};

use crate::support::{PATIENT, add, during_a_flush, manual_with, shape};

fn is_overloaded<T>(outcome: Result<T, MutateError>) -> bool {
    match outcome {
        Err(MutateError::Refused(Refusal::Overloaded { retry_after })) => {
            assert!(retry_after >= Duration::from_millis(1) && retry_after <= Duration::from_secs(30));
            true
        }
        _ => false,
    }
}

#[test]
fn c7_refuses_at_once_at_the_bound_and_loses_nothing() {
    let (store, _) = manual_with(BufferOptions::default().max_changes(3));
    for key in 0..3 {
        add(&store, &format!("h{key}"), key);
    }
    assert!(is_overloaded(store.add(shape("h3", 3), Wait::No)));
    assert!(!store.has_handle("h3").expect("read"));
    assert_eq!(store.pending().changes, 3);
    assert!(store.has_handle("h2").expect("read"));
    assert!(!store.get_or_add(&shape("other", 2), Wait::No).expect("a live key needs no room").added);

    store.flush_once().expect("flush");
    assert!(store.add(shape("h3", 3), Wait::No).is_ok());
}

#[test]
fn c7_the_sealed_part_counts_until_it_is_written() {
    let (store, faults) = manual_with(BufferOptions::default().max_changes(2));
    add(&store, "a", 1);
    during_a_flush(&store, &faults, Side::Before, || {
        add(&store, "b", 2);
        assert!(is_overloaded(store.add(shape("c", 3), Wait::No)));
    });
    add(&store, "c", 3);
}

#[test]
fn c7_is_bounded_by_bytes_but_lets_one_large_change_in() {
    let (store, _) = manual_with(BufferOptions::default().max_bytes(10_000));
    let mut large = shape("large", 1);
    large.definition = vec![7; 50_000].into();
    store.add(large, Wait::No).expect("nothing else is pending");
    assert!(store.pending().bytes > 50_000);
    assert!(is_overloaded(store.add(shape("small", 2), Wait::No)));
    store.flush_once().expect("flush");
    assert_eq!(store.pending().bytes, 0);
}

#[test]
fn c7_mutations_of_one_shape_are_bounded_too() {
    let (store, _) = manual_with(BufferOptions::default().max_bytes(4_000));
    let mut accepted = 0;
    let refused = loop {
        let outcome = store.add(shape("h", 1), Wait::No).and_then(|_| store.remove("h", Wait::No));
        match outcome {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 10_000, "the log of mutations grows without bound");
    };
    assert!(is_overloaded::<()>(Err(refused)));
}

#[test]
fn c7_waits_for_room_at_most_as_long_as_the_caller_allows() {
    let (store, _) = manual_with(BufferOptions::default().max_changes(1));
    add(&store, "a", 1);
    assert!(is_overloaded(store.add(shape("b", 2), Wait::UpTo(Duration::from_millis(1)))));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.add(shape("b", 2), Wait::UpTo(PATIENT)));
        // Whether it waits already or not, it must get the room.
        store.flush_once().expect("flush");
        waiting.join().expect("no panic").expect("room");
    });
    assert!(store.has_handle("b").expect("read"));
}

#[test]
fn c7_waits_for_room_as_a_future() {
    let (store, _) = manual_with(BufferOptions::default().max_changes(1));
    add(&store, "a", 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(store.mutate_async(&Mutation::Add(shape("b", 2)))));
        store.flush_once().expect("flush");
        waiting.join().expect("no panic").expect("room");
    });
    // A future that is dropped has changed nothing.
    let mutation = Mutation::Add(shape("c", 3));
    drop(store.mutate_async(&mutation));
    assert!(store.try_mutate(&mutation).is_err());
}
