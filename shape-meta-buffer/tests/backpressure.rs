//! C7: pending changes are bounded, and callers wait or are refused at the bound.

use std::{
    cell::Cell,
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

use crate::support::{LONG_TIMEOUT, add, during_a_flush, manual_with, shape};

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
fn c7_at_the_bound_a_mutation_is_refused_and_nothing_lost() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(3));
    for key in 0..3 {
        add(&store, &format!("h{key}"), key);
    }
    assert!(is_overloaded(store.add(shape("h3", 3), Wait::No)));
    assert!(!store.has_handle("h3").expect("read"));
    assert_eq!(store.pending().shapes, 3);
    assert!(store.has_handle("h2").expect("read"));
    assert!(!store.get_or_add(&shape("other", 2), Wait::No).expect("a live key needs no capacity").added);

    store.flush_once().expect("flush");
    assert!(store.add(shape("h3", 3), Wait::No).is_ok());
}

#[test]
fn c7_a_sealed_generation_counts_until_it_is_committed() {
    let (store, faults) = manual_with(BufferOptions::default().max_pending_shapes(2));
    add(&store, "a", 1);
    during_a_flush(&store, &faults, Side::Before, || {
        add(&store, "b", 2);
        assert!(is_overloaded(store.add(shape("c", 3), Wait::No)));
    });
    add(&store, "c", 3);
}

/// Once, they were refused although they need no room.
#[test]
fn c7_at_the_bound_pending_shapes_are_marked_and_removed() {
    for (options, by_bytes) in [
        (BufferOptions::default().max_pending_shapes(3), false),
        (BufferOptions::default().max_pending_bytes(3_000), true),
    ] {
        let (store, faults) = manual_with(options);
        add(&store, "below", 99);
        store.flush_once().expect("flush");
        let keys = Cell::new(0);
        let fill = || {
            while store.add(shape(&format!("h{}", keys.get()), keys.get()), Wait::No).is_ok() {
                keys.set(keys.get() + 1);
            }
        };
        let check = |marked, removed| {
            fill();
            let pending = store.pending().shapes;
            store.mark_snapshot_started(marked, Wait::No).expect("pending already");
            store.mark_snapshot_complete(marked, Wait::No).expect("pending already");
            store.remove(removed, Wait::No).expect("pending already");
            assert_eq!(store.pending().shapes, pending, "each shape counts once");
            if !by_bytes {
                assert!(is_overloaded(store.remove("below", Wait::No)), "it needs room");
                assert!(is_overloaded(store.add(shape("new", 1_000), Wait::No)));
            }
        };
        check("h0", "h1");
        // Makes room in bytes for another one, and not in shapes.
        store.remove("h2", Wait::No).expect("pending already");
        let before = keys.get();
        // The same of shapes that a flush in progress has.
        during_a_flush(&store, &faults, Side::Before, || check("h0", "h0"));
        assert_eq!(keys.get() > before, by_bytes, "the shapes of the flush count");
        assert!(!store.has_handle("h0").expect("read"));
        store.reset(Wait::No).expect("flushed");
        assert_eq!(store.pending().shapes, 1);
    }
}

#[test]
fn c7_a_reset_needs_no_room_with_pending_shapes() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(2));
    add(&store, "a", 1);
    add(&store, "b", 2);
    store.reset(Wait::No).expect("it replaces what is pending");
    assert_eq!(store.pending().shapes, 1);
}

#[test]
fn c7_the_bound_in_bytes_admits_one_large_change() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_bytes(10_000));
    let mut large = shape("large", 1);
    large.definition = vec![7; 50_000].into();
    store.add(large, Wait::No).expect("nothing else is pending");
    assert!(store.pending().bytes > 50_000);
    assert!(is_overloaded(store.add(shape("small", 2), Wait::No)));
    store.flush_once().expect("flush");
    assert_eq!(store.pending().bytes, 0);

    // A change is checked before it is accepted, with the bytes that it would take.
    add(&store, "small", 2);
    let before = store.pending().bytes;
    let mut large = shape("not so large", 3);
    large.definition = vec![7; 10_001 - before].into();
    assert!(is_overloaded(store.add(large.clone(), Wait::No)));
    assert_eq!(store.pending().bytes, before);
    large.definition = vec![7; 10_000 - before].into();
    store.add(large, Wait::No).expect("only its definition counts in the check");
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
        assert!(accepted < 10_000, "the memory of mutations grows without bound");
    };
    assert!(is_overloaded::<()>(Err(refused)));
}

#[test]
fn c7_a_caller_waits_for_capacity_up_to_its_timeout() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(1));
    add(&store, "a", 1);
    assert!(is_overloaded(store.add(shape("b", 2), Wait::UpTo(Duration::from_millis(1)))));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.add(shape("b", 2), Wait::UpTo(LONG_TIMEOUT)));
        // Whether it waits already or not, it must be accepted.
        store.flush_once().expect("flush");
        waiting.join().expect("no panic").expect("below the bound");
    });
    assert!(store.has_handle("b").expect("read"));
}

#[test]
fn c7_a_future_waits_for_capacity() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(1));
    add(&store, "a", 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(store.mutate_async(&Mutation::Add(shape("b", 2)))));
        store.flush_once().expect("flush");
        waiting.join().expect("no panic").expect("below the bound");
    });
    // A future that is dropped has changed nothing.
    let mutation = Mutation::Add(shape("c", 3));
    drop(store.mutate_async(&mutation));
    assert!(store.try_mutate(&mutation).is_err());
}

/// A caller that waits is woken, and need not poll.
#[test]
fn c7_a_waiting_caller_is_woken_when_there_is_capacity() {
    let (store, _) = manual_with(BufferOptions::default().max_pending_shapes(1));
    add(&store, "a", 1);
    let capacity = store.capacity_signal().expect("it is bounded").listen();
    let mutation = Mutation::Add(shape("b", 2));
    let mut waiting = pin!(store.mutate_async(&mutation));
    let mut poll = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    store.flush_once().expect("flush");
    assert!(capacity.wait(Some(Instant::now() + LONG_TIMEOUT)));
    assert!(matches!(poll(), Poll::Ready(Ok(_))));
}

#[test]
fn c7_the_drain_rate_is_reported() {
    let (store, _) = manual_with(BufferOptions::default());
    assert_eq!(store.drain_rate(), 0.0, "nothing is known before the first flush");
    add(&store, "a", 1);
    store.flush_once().expect("flush");
    assert!(store.drain_rate() > 10.0, "changes a second");
}
