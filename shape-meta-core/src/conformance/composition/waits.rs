//! C14: waits for a state of a shape.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use crate::{
    AwaitShapes, AwaitShapesExt, Milestone, MutateShapes, MutateShapesExt, NotReached, SnapshotState,
    conformance::{
        CompositionFixture,
        assertions::{TIMEOUT, WAIT, accepted, add, mark, remove},
        block_on::block_on,
        sample::{handle, shape},
    },
    waits::{ReadsBelow, wait_for},
};

use SnapshotState::{Complete, Pending, Started};

type Wait<'a> = Pin<Box<dyn Future<Output = Result<(), NotReached>> + Send + 'a>>;

/// Returns a wait that looks at its shape where it is polled, so that one poll says where it stands.
/// `wait_for` may look on another thread.
fn wait<S: MutateShapes>(store: &S, number: u64, milestone: impl Into<Milestone>) -> Wait<'_> {
    let (handle, milestone) = (handle(number), milestone.into());
    Box::pin(async move { wait_for(store, &handle, milestone, ReadsBelow::Here).await })
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(wait: &mut Wait<'_>, waker: &Waker) -> Poll<Result<(), NotReached>> {
    wait.as_mut().poll(&mut Context::from_waker(waker))
}

#[track_caller]
fn assert_pending(wait: &mut Wait<'_>, waker: &Waker) {
    assert!(poll(wait, waker).is_pending(), "the milestone is not reached yet");
}

#[track_caller]
fn assert_reached(wait: &mut Wait<'_>) {
    let outcome = poll(wait, Waker::noop());
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
}

#[track_caller]
fn assert_removed(wait: &mut Wait<'_>) {
    let outcome = poll(wait, Waker::noop());
    assert!(matches!(outcome, Poll::Ready(Err(NotReached::Removed))), "{outcome:?}");
}

/// A wait for what is so already is ready at once, and leaves nothing. So does one for a shape that is not
/// there.
pub fn c14_a_wait_for_what_is_so_is_ready<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for flushed in [false, true] {
        let number = u64::from(flushed);
        add(&store, &shape(number));
        assert_reached(&mut wait(&store, number, Pending));
        mark(&store, &handle(number), Complete);
        if flushed {
            fixture.flush(&store);
        }
        for state in [Pending, Started, Complete] {
            assert_reached(&mut wait(&store, number, state));
            store.wait_for_timeout(&handle(number), state, Duration::ZERO).expect("it is so");
        }
        for milestone in [Milestone::Snapshot(Pending), Milestone::Durable] {
            assert_removed(&mut wait(&store, 77, milestone));
        }
        assert_reached(&mut wait(&store, 77, Milestone::Removed));
        for text in ["", "\0"] {
            let unknown = block_on(store.wait_for(text, Started));
            assert!(matches!(unknown, Err(NotReached::Removed)), "{unknown:?}");
        }
    }
    let timed_out = store.wait_for_timeout(&handle(0), Milestone::Removed, Duration::from_millis(1));
    assert!(matches!(timed_out, Err(NotReached::TimedOut)), "{timed_out:?}");
    assert!(store.shape_waits().is_empty());
}

/// A mark ends the waits for its shape that it reaches, whether the shape is pending or on disk, and wakes no
/// others.
pub fn c14_a_mark_ends_the_waits_for_it<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for number in 0..4 {
        add(&store, &shape(number));
        if number == 1 {
            fixture.flush(&store);
        }
    }
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut other = wait(&store, 3, Started);
    assert_pending(&mut other, &waker);
    for number in 0..3 {
        let mut waits: Vec<_> =
            [Started, Started, Complete].map(|state| wait(&store, number, state)).into_iter().collect();
        waits.iter_mut().for_each(|wait| assert_pending(wait, Waker::noop()));
        assert_eq!(store.shape_waits().len(), 4);
        mark(&store, &handle(number), Started);
        waits[..2].iter_mut().for_each(assert_reached);
        assert_pending(&mut waits[2], Waker::noop());
        fixture.flush(&store);
        assert_pending(&mut waits[2], Waker::noop());
        mark(&store, &handle(number), Complete);
        assert_reached(&mut waits[2]);
    }
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0, "no change of another shape wakes a wait");
    mark(&store, &handle(3), Complete);
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert_reached(&mut other);
    drop(other);
    assert!(store.shape_waits().is_empty());
}

/// Whatever removes a shape ends the waits for it, also if another shape has its handle by the time of the
/// look.
pub fn c14_a_wait_ends_when_its_shape_goes<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for flushed in [false, true] {
        for end in 0..4 {
            add(&store, &shape(1));
            if flushed {
                fixture.flush(&store);
            }
            let mut waits = [Milestone::from(Started), Milestone::Removed].map(|goal| wait(&store, 1, goal));
            waits.iter_mut().for_each(|wait| assert_pending(wait, Waker::noop()));
            match end {
                0 if flushed => {
                    let all = crate::Removal::of_handles([&*handle(1)]);
                    accepted(store.remove_all(all, WAIT));
                }
                0 => drop(remove(&store, &handle(1))),
                1 => drop(accepted(store.reset(WAIT))),
                2 => {
                    let evicted = store.remove_if_unread_since(&handle(1), crate::Timestamp::now(), WAIT);
                    assert!(accepted(evicted).is_some());
                }
                _ => {
                    remove(&store, &handle(1));
                    add(&store, &shape(1));
                    mark(&store, &handle(1), Started);
                }
            }
            let [started, removed] = &mut waits;
            assert_removed(started);
            assert_reached(removed);
            drop(waits);
            if end == 3 {
                remove(&store, &handle(1));
            }
        }
    }
    assert!(store.shape_waits().is_empty());
}

/// A wait for durability requests a flush, and ends with it, or when the shape goes.
pub fn c14_a_shape_is_awaited_until_it_is_durable<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    let mut durable = wait(&store, 1, Milestone::Durable);
    let _ = poll(&mut durable, Waker::noop());
    drop(durable);
    add(&store, &shape(2));
    thread::scope(|scope| {
        let waits = [1, 2].map(|number| {
            let store = &store;
            scope.spawn(move || store.wait_for_timeout(&handle(number), Milestone::Durable, TIMEOUT))
        });
        fixture.flush(&store);
        for wait in waits {
            wait.join().expect("a wait panicked").expect("durable after the flush");
        }
    });
    if fixture.pause(&store) {
        add(&store, &shape(3));
        let mut durable = wait(&store, 3, Milestone::Durable);
        assert_pending(&mut durable, Waker::noop());
        remove(&store, &handle(3));
        assert_removed(&mut durable);
        drop(durable);
        fixture.resume(&store);
    }
    assert!(store.shape_waits().is_empty());
}

/// Thousands of waits for one shape, and one each for thousands of shapes, as futures and on threads. Each
/// change wakes those for its shape, and those that are dropped leave nothing.
pub fn c14_thousands_of_waits_end<F: CompositionFixture>(fixture: &F) {
    let count = (fixture.large_count() as u64 / 10).max(10);
    let store = fixture.open();
    for number in 0..count {
        add(&store, &shape(number));
    }
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut of_one: Vec<_> = (0..count).map(|_| wait(&store, 0, Started)).collect();
    let mut of_each: Vec<_> = (0..count).map(|number| wait(&store, number, Complete)).collect();
    of_one.iter_mut().chain(&mut of_each).for_each(|wait| assert_pending(wait, &waker));
    assert_eq!(store.shape_waits().len() as u64, 2 * count);
    of_one.drain(..count as usize / 2);
    of_each.drain(1..count as usize / 2);
    assert_eq!(store.shape_waits().len(), of_one.len() + of_each.len());
    thread::scope(|scope| {
        let blocked: Vec<_> = (0..4)
            .map(|number| {
                let store = &store;
                scope.spawn(move || store.wait_for_timeout(&handle(number), Complete, TIMEOUT))
            })
            .collect();
        let all = of_one.len() + of_each.len() + blocked.len();
        while store.shape_waits().len() < all {
            thread::yield_now();
        }
        mark(&store, &handle(0), Started);
        of_one.iter_mut().for_each(assert_reached);
        for number in 0..count {
            mark(&store, &handle(number), Complete);
        }
        of_each.iter_mut().for_each(assert_reached);
        for wait in blocked {
            wait.join().expect("a wait panicked").expect("complete");
        }
    });
    // Each future was woken once; that for both states of shape 0 twice.
    let woken = wakes.0.load(Ordering::SeqCst);
    assert!(woken <= of_one.len() + of_each.len() + 1, "{woken} wake-ups");
    drop((of_one, of_each));
    assert!(store.shape_waits().is_empty());
}

/// Threads wait for marks that other threads make at the same time: no wake-up is lost.
pub fn c14_no_wake_up_is_lost<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for round in 0..50 {
        add(&store, &shape(round));
        let mut late = wait(&store, round, Complete);
        assert_pending(&mut late, Waker::noop());
        thread::scope(|scope| {
            for state in [Started, Complete] {
                let store = &store;
                scope.spawn(move || {
                    store.wait_for_timeout(&handle(round), state, TIMEOUT).expect("it is marked");
                });
            }
            scope.spawn(|| block_on(store.wait_for(&handle(round), Complete)).expect("it is marked"));
            mark(&store, &handle(round), Started);
            fixture.flush(&store);
            mark(&store, &handle(round), Complete);
        });
        assert_reached(&mut late);
    }
}
