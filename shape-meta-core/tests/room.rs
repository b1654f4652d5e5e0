//! Waiting for room, as a thread and as a future: C7 as far as the traits go.

use std::{
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use shape_meta_core::{
    Direct, GetOrAdd, MemoryStore, MutateError, MutateShapes, MutateShapesExt, Mutation, NewShape,
    ReadShapes, ReadShapesExt, Receipt, Refusal, Result, Signal, Wait,
    conformance::{block_on, shape},
    forward_reads,
};

use crate::compositions::direct;

/// Accepts as many mutations as it has room for, and refuses the others as overloaded.
struct Crowded {
    inner: Direct<MemoryStore>,
    room: Mutex<usize>,
    made: Signal,
    refused: AtomicUsize,
    /// Room that is made just when this many mutations have been refused.
    late: Option<usize>,
}

impl Crowded {
    fn new(room: usize) -> Self {
        let inner = direct(MemoryStore::new());
        Self { inner, room: Mutex::new(room), made: Signal::new(), refused: AtomicUsize::new(0), late: None }
    }

    fn make_room(&self) {
        *self.room.lock().expect("no panic under the lock") += 1;
        self.made.raise();
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    fn if_room<T>(&self, then: impl FnOnce() -> Result<T, MutateError>) -> Result<T, MutateError> {
        let mut room = self.room.lock().expect("no panic under the lock");
        if *room > 0 {
            *room -= 1;
            return then();
        }
        drop(room);
        let refused = self.refused.fetch_add(1, Ordering::SeqCst) + 1;
        if self.late == Some(refused) {
            self.make_room();
        }
        Err(Refusal::Overloaded { retry_after: Duration::from_millis(5) }.into())
    }
}

impl ReadShapes for Crowded {
    forward_reads!(self => self.inner);
}

impl MutateShapes for Crowded {
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.if_room(|| self.inner.try_mutate(mutation))
    }
    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.if_room(|| self.inner.try_get_or_add(shape))
    }
    fn capacity_signal(&self) -> Option<&Signal> {
        Some(&self.made)
    }
}

#[track_caller]
fn assert_overloaded<T: std::fmt::Debug>(outcome: Result<T, MutateError>) {
    let overloaded = matches!(outcome, Err(MutateError::Refused(Refusal::Overloaded { .. })));
    assert!(overloaded, "{outcome:?}");
}

#[test]
fn c7_without_waiting_it_is_refused_at_once() {
    let store = Crowded::new(1);
    assert!(store.add(shape(1), Wait::No).is_ok());
    assert_overloaded(store.add(shape(2), Wait::No));
    assert_eq!(store.refused(), 1, "one attempt");
    assert!(!store.has_handle(&shape(2).handle).expect("memory does not fail"));
}

#[test]
fn c7_a_wait_ends_with_the_time_that_its_caller_allows() {
    let store = Crowded::new(0);
    assert_overloaded(store.add(shape(1), Wait::UpTo(Duration::from_millis(1))));
    assert_overloaded(store.get_or_add(&shape(1), Wait::UpTo(Duration::ZERO)));
    store.make_room();
    assert!(store.add(shape(1), Wait::UpTo(Duration::ZERO)).is_ok(), "no time is needed where there is room");
}

#[test]
fn c7_a_wait_ends_when_room_is_made() {
    // The room is made after the first refusal or after the second: before and after it listens.
    for late in [1, 2] {
        let store = Crowded { late: Some(late), ..Crowded::new(0) };
        assert!(store.add(shape(1), Wait::UpTo(Duration::MAX)).is_ok());
        let store = Crowded { late: Some(late), ..Crowded::new(0) };
        let made = store.get_or_add(&shape(1), Wait::UpTo(Duration::from_secs(60)));
        assert!(made.is_ok_and(|made| made.added));
    }
    // A future listens before its first attempt.
    let store = Crowded { late: Some(1), ..Crowded::new(0) };
    assert!(block_on(store.mutate_async(&Mutation::Add(shape(1)))).is_ok());
}

#[test]
fn c7_a_wait_is_a_wait() {
    let store = Crowded::new(0);
    thread::scope(|scope| {
        let adding = scope.spawn(|| store.add(shape(1), Wait::UpTo(Duration::from_secs(60))));
        while store.refused() < 2 {
            thread::yield_now();
        }
        // It listens now. Whatever time it gets, it does not try again before there is room.
        (0..1_000).for_each(|_| thread::yield_now());
        assert_eq!(store.refused(), 2);
        store.make_room();
        assert!(adding.join().expect("no thread panics").is_ok());
    });
}

#[test]
fn c7_other_refusals_do_not_wait() {
    let store = Crowded::new(2);
    assert!(store.remove("unknown", Wait::UpTo(Duration::MAX)).is_err());
    assert!(block_on(store.mutate_async(&Mutation::remove("unknown"))).is_err());
    assert_eq!(store.refused(), 0);
}

#[test]
fn c7_a_future_that_is_dropped_has_changed_nothing() {
    let store = Crowded::new(0);
    let mut context = Context::from_waker(Waker::noop());
    let new = shape(1);
    {
        let mut dropped = pin!(store.get_or_add_async(&new));
        assert!(dropped.as_mut().poll(&mut context).is_pending());
    }
    store.make_room();
    assert_eq!(store.counts().expect("memory does not fail").total, 0);
    let mut kept = pin!(store.get_or_add_async(&new));
    assert!(matches!(kept.as_mut().poll(&mut context), Poll::Ready(Ok(GetOrAdd { added: true, .. }))));
}

#[test]
fn c7_many_waiters_share_the_room_that_is_made() {
    const WAITERS: u64 = 6;
    let store = Crowded::new(0);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..WAITERS)
            .map(|number| {
                let store = &store;
                scope.spawn(move || match number % 2 {
                    0 => store.add(shape(number), Wait::UpTo(Duration::from_secs(60))),
                    _ => block_on(store.mutate_async(&Mutation::Add(shape(number)))),
                })
            })
            .collect();
        for _ in 0..WAITERS {
            store.make_room();
        }
        for waiter in waiting {
            assert!(waiter.join().expect("no thread panics").is_ok());
        }
    });
    assert_eq!(store.counts().expect("memory does not fail").total, WAITERS);
}

#[test]
fn a_composition_without_a_bound_does_not_wait() {
    let store = direct(MemoryStore::new());
    assert!(store.capacity_signal().is_none());
    assert!(block_on(store.mutate_async(&Mutation::Add(shape(1)))).is_ok());
}
