//! A signal reaches whoever listened before it, and nobody else.

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
fn reaches_who_listened_before() {
    let signal = Signal::new();
    let before = signal.listen();
    let dropped = signal.listen();
    drop(dropped);
    signal.raise();
    let after = signal.listen();
    assert!(before.wait(now()), "raised after it listened, and before it waits");
    assert!(!after.wait(now()), "it did not happen since");
}

#[test]
fn happens_again_and_again() {
    let signal = Signal::default();
    for _ in 0..3 {
        let waiters: Vec<_> = (0..10).map(|_| signal.listen()).collect();
        signal.raise();
        assert!(waiters.into_iter().all(|waiter| waiter.wait(now())), "it reaches all of them");
    }
}

#[test]
fn is_a_future_too() {
    let signal = Signal::new();
    {
        let mut waiter = pin!(signal.listen());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(waiter.as_mut().poll(&mut context), Poll::Pending);
        signal.raise();
        assert_eq!(waiter.as_mut().poll(&mut context), Poll::Ready(()));
    }
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        for number in 0..4 {
            let (tell, signal) = (tell.clone(), &signal);
            scope.spawn(move || {
                let waiter = signal.listen();
                tell.send(()).expect("the test waits for it");
                if number % 2 == 0 { block_on(waiter) } else { assert!(waiter.wait(None)) }
            });
        }
        for _ in 0..4 {
            told.recv_timeout(Duration::from_secs(60)).expect("every thread starts");
        }
        signal.raise();
    });
}
