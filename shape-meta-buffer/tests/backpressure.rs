//! C7: what is pending is bounded, and callers are told.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use shape_meta_buffer::BufferOptions;
use shape_meta_core::{
    MutateError, MutateShapes, MutateShapesExt, Mutation, ReadShapesExt, Refusal, StoreControl, Wait,
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
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(3));
    for key in 0..3 {
        add(&store, &format!("h{key}"), key);
    }
    assert!(is_overloaded(store.add(shape("h3", 3), Wait::No)));
    assert!(!store.has_handle("h3").expect("read"));
    assert_eq!(store.pending().shapes, 3);
    assert!(store.has_handle("h2").expect("read"));
    assert!(!store.get_or_add(&shape("other", 2), Wait::No).expect("a live key needs no room").added);

    store.flush_once().expect("flush");
    assert!(store.add(shape("h3", 3), Wait::No).is_ok());
}

#[test]
fn c7_the_sealed_part_counts_until_it_is_written() {
    let (store, faults) = manual_with(BufferOptions::default().max_pending_shapes(2));
    add(&store, "a", 1);
    during_a_flush(&store, &faults, Side::Before, || {
        add(&store, "b", 2);
        assert!(is_overloaded(store.add(shape("c", 3), Wait::No)));
    });
    add(&store, "c", 3);
}

#[test]
fn c7_is_bounded_by_bytes_but_lets_one_large_change_in() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_bytes(10_000));
    let mut large = shape("large", 1);
    large.definition = vec![7; 50_000].into();
    store.add(large, Wait::No).expect("nothing else is pending");
    assert!(store.pending().bytes > 50_000);
    assert!(is_overloaded(store.add(shape("small", 2), Wait::No)));
    store.flush_once().expect("flush");
    assert_eq!(store.pending().bytes, 0);

    // It is asked before it is let in, with what it would take.
    add(&store, "small", 2);
    let before = store.pending().bytes;
    let mut large = shape("not so large", 3);
    large.definition = vec![7; 10_001 - before].into();
    assert!(is_overloaded(store.add(large.clone(), Wait::No)));
    assert_eq!(store.pending().bytes, before);
    large.definition = vec![7; 10_000 - before].into();
    store.add(large, Wait::No).expect("what its definition takes counts beforehand, and the rest afterwards");
}

#[test]
fn c7_mutations_of_one_shape_are_bounded_too() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_bytes(4_000));
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
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(1));
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
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(1));
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

/// Whoever waits is told, and does not have to look again and again.
#[test]
fn c7_room_is_told_when_it_is_there() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(1));
    add(&store, "a", 1);
    let room = store.capacity_signal().expect("it is bounded").listen();
    let mutation = Mutation::Add(shape("b", 2));
    let mut waiting = pin!(store.mutate_async(&mutation));
    let mut poll = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    store.flush_once().expect("flush");
    assert!(room.wait(Some(Instant::now() + PATIENT)));
    assert!(matches!(poll(), Poll::Ready(Ok(_))));
}

#[test]
fn c7_how_fast_room_is_made_is_told() {
    let (store, _) = manual_with(BufferOptions::default());
    assert_eq!(store.drain_rate(), 0.0, "nothing is known before the first flush");
    add(&store, "a", 1);
    store.flush_once().expect("flush");
    assert!(store.drain_rate() > 10.0, "changes a second");
}
