//! A signal wakes every waiter that listened before it was raised, and no other.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use shape_meta_core::{Signal, conformance::block_on};

fn now() -> Option<Instant> {
    Some(Instant::now())
}

#[test]
fn a_signal_wakes_waiters_that_listened_before() {
    let signal = Signal::new();
    let before = signal.listen();
    let dropped = signal.listen();
    drop(dropped);
    signal.raise();
    let after = signal.listen();
    assert!(before.wait(now()), "the signal was raised after the listen and before the wait");
    assert!(!after.wait(now()), "the signal was not raised since the listen");
}

#[test]
fn a_signal_can_be_raised_repeatedly() {
    let signal = Signal::default();
    for _ in 0..3 {
        let waiters: Vec<_> = (0..10).map(|_| signal.listen()).collect();
        signal.raise();
        assert!(waiters.into_iter().all(|waiter| waiter.wait(now())), "the signal wakes all waiters");
    }
}

#[test]
fn a_waiter_is_a_future() {
    let signal = Signal::new();
    {
        let mut waiter = pin!(signal.listen());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(waiter.as_mut().poll(&mut context), Poll::Pending);
        signal.raise();
        assert_eq!(waiter.as_mut().poll(&mut context), Poll::Ready(()));
    }
    std::thread::scope(|scope| {
        let (started, all_started) = std::sync::mpsc::channel();
        for number in 0..4 {
            let (started, signal) = (started.clone(), &signal);
            scope.spawn(move || {
                let waiter = signal.listen();
                started.send(()).expect("the test receives");
                if number % 2 == 0 { block_on(waiter) } else { assert!(waiter.wait(None)) }
            });
        }
        for _ in 0..4 {
            all_started.recv_timeout(Duration::from_secs(60)).expect("every thread starts");
        }
        signal.raise();
    });
}
