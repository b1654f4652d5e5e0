//! C7: waiting at the bound, as a thread and as a future, as far as the traits define it.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use shape_meta_core::{
    AwaitShapes, Direct, GetOrAdd, Key, MemoryStore, MutateError, MutateShapes, MutateShapesExt, Mutation,
    NewShape, ReadShapes, ReadShapesExt, Receipt, Refusal, Result, ShapeWaits, Signal, Wait,
    conformance::{block_on, shape},
    forward_reads,
};

use crate::conformance::direct;

/// Accepts as many mutations as it has capacity for, and refuses the others as overloaded.
struct FullStore {
    inner: Direct<MemoryStore>,
    capacity: Mutex<usize>,
    freed: Signal,
    refused: AtomicUsize,
    /// Capacity is freed right after this many mutations were refused.
    free_after: Option<usize>,
}

impl FullStore {
    fn new(capacity: usize) -> Self {
        let inner = direct(MemoryStore::new());
        Self {
            inner,
            capacity: Mutex::new(capacity),
            freed: Signal::new(),
            refused: AtomicUsize::new(0),
            free_after: None,
        }
    }

    fn free_capacity(&self) {
        *self.capacity.lock().expect("no thread panics while it holds the lock") += 1;
        self.freed.raise();
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    fn if_capacity<T>(&self, then: impl FnOnce() -> Result<T, MutateError>) -> Result<T, MutateError> {
        let mut capacity = self.capacity.lock().expect("no thread panics while it holds the lock");
        if *capacity > 0 {
            *capacity -= 1;
            return then();
        }
        drop(capacity);
        let refused = self.refused.fetch_add(1, Ordering::SeqCst) + 1;
        if self.free_after == Some(refused) {
            self.free_capacity();
        }
        Err(Refusal::Overloaded { retry_after: Duration::from_millis(5) }.into())
    }
}

impl ReadShapes for FullStore {
    forward_reads!(self => self.inner);
}

impl AwaitShapes for FullStore {
    fn shape_waits(&self) -> Arc<ShapeWaits> {
        self.inner.shape_waits()
    }
    fn shown_receipt(&self) -> Option<Receipt> {
        self.inner.shown_receipt()
    }
}

impl MutateShapes for FullStore {
    fn get(&self, key: &Key) -> Result<Option<GetOrAdd>> {
        self.inner.get(key)
    }
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.if_capacity(|| self.inner.try_mutate(mutation))
    }
    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.if_capacity(|| self.inner.try_get_or_add(shape))
    }
    fn capacity_signal(&self) -> Option<&Signal> {
        Some(&self.freed)
    }
}

#[track_caller]
fn assert_overloaded<T: std::fmt::Debug>(outcome: Result<T, MutateError>) {
    let overloaded = matches!(outcome, Err(MutateError::Refused(Refusal::Overloaded { .. })));
    assert!(overloaded, "{outcome:?}");
}

#[test]
fn c7_without_a_wait_a_mutation_is_refused_at_once() {
    let store = FullStore::new(1);
    assert!(store.add(shape(1), Wait::No).is_ok());
    assert_overloaded(store.add(shape(2), Wait::No));
    assert_eq!(store.refused(), 1, "one attempt");
    assert!(!store.has_handle(&shape(2).handle).expect("memory does not fail"));
}

#[test]
fn c7_a_wait_ends_after_its_timeout() {
    let store = FullStore::new(0);
    assert_overloaded(store.add(shape(1), Wait::UpTo(Duration::from_millis(1))));
    assert_overloaded(store.get_or_add(&shape(1), Wait::UpTo(Duration::ZERO)));
    store.free_capacity();
    assert!(
        store.add(shape(1), Wait::UpTo(Duration::ZERO)).is_ok(),
        "a mutation within the capacity needs no time"
    );
}

#[test]
fn c7_a_wait_ends_when_capacity_is_freed() {
    // The capacity is freed after the first or the second refusal: before and after the caller listens.
    for refusals in [1, 2] {
        let store = FullStore { free_after: Some(refusals), ..FullStore::new(0) };
        assert!(store.add(shape(1), Wait::UpTo(Duration::MAX)).is_ok());
        let store = FullStore { free_after: Some(refusals), ..FullStore::new(0) };
        let made = store.get_or_add(&shape(1), Wait::UpTo(Duration::from_secs(60)));
        assert!(made.is_ok_and(|made| made.added));
    }
    // A future listens before its first attempt.
    let store = FullStore { free_after: Some(1), ..FullStore::new(0) };
    assert!(block_on(store.mutate_async(&Mutation::Add(shape(1)))).is_ok());
}

#[test]
fn c7_a_waiting_caller_does_not_retry() {
    let store = FullStore::new(0);
    thread::scope(|scope| {
        let adding = scope.spawn(|| store.add(shape(1), Wait::UpTo(Duration::from_secs(60))));
        while store.refused() < 2 {
            thread::yield_now();
        }
        // The caller listens now. It does not try again before capacity is freed.
        (0..1_000).for_each(|_| thread::yield_now());
        assert_eq!(store.refused(), 2);
        store.free_capacity();
        assert!(adding.join().expect("no thread panics").is_ok());
    });
}

#[test]
fn c7_other_refusals_do_not_wait() {
    let store = FullStore::new(2);
    assert!(store.remove("unknown", Wait::UpTo(Duration::MAX)).is_err());
    assert!(block_on(store.mutate_async(&Mutation::remove("unknown"))).is_err());
    assert_eq!(store.refused(), 0);
}

#[test]
fn c7_a_dropped_future_has_changed_nothing() {
    let store = FullStore::new(0);
    let mut context = Context::from_waker(Waker::noop());
    let new = shape(1);
    {
        let mut dropped = pin!(store.get_or_add_async(&new));
        assert!(dropped.as_mut().poll(&mut context).is_pending());
    }
    store.free_capacity();
    assert_eq!(store.counts().expect("memory does not fail").total, 0);
    let mut kept = pin!(store.get_or_add_async(&new));
    assert!(matches!(kept.as_mut().poll(&mut context), Poll::Ready(Ok(GetOrAdd { added: true, .. }))));
}

#[test]
fn c7_many_waiters_share_the_freed_capacity() {
    const WAITERS: u64 = 6;
    let store = FullStore::new(0);
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
            store.free_capacity();
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
    assert!(block_on(store.mutate_async(&Mutation::Add(shape(1)))).is_ok());
}
