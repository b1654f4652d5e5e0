//! What receipts report about durability.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use shape_meta_core::{
    DurabilityTracker, Error, ErrorKind, NotDurable, Receipt, RequestFlush, Seq, conformance::block_on,
};

const TIMEOUT: Duration = Duration::from_secs(60);

fn tracker(settled: u64) -> Arc<DurabilityTracker> {
    Arc::new(DurabilityTracker::new(Seq::new(settled)))
}

fn receipt(tracker: &Arc<DurabilityTracker>, seq: u64) -> Receipt {
    Receipt::new(Seq::new(seq), Arc::clone(tracker))
}

/// Returns the current state of a receipt: its error with the kind of the cause.
fn state(tracker: &Arc<DurabilityTracker>, seq: u64) -> Result<(), String> {
    let receipt = receipt(tracker, seq);
    let outcome = receipt.wait_durable(Duration::ZERO);
    assert_eq!(receipt.is_durable(), outcome.is_ok());
    outcome.map_err(|why| match why {
        NotDurable::TimedOut => "pending".to_owned(),
        NotDurable::Rejected(error) => format!("rejected: {}", error.kind().name()),
        NotDurable::Stopped(error) => format!("stopped: {}", error.kind().name()),
        NotDurable::Forgotten => "forgotten".to_owned(),
        other => panic!("unexpected: {other:?}"),
    })
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "injected by a test")
}

#[test]
fn settled_mutations_stay_durable() {
    let tracker = tracker(3);
    assert_eq!(state(&tracker, 3), Ok(()));
    assert_eq!(state(&tracker, 4), Err("pending".to_owned()));
    tracker.settle(Seq::new(9));
    tracker.settle(Seq::new(5));
    assert_eq!(tracker.settled(), Seq::new(9));
    assert_eq!(state(&tracker, 9), Ok(()));
    assert_eq!(state(&tracker, 10), Err("pending".to_owned()));
    assert_eq!(receipt(&tracker, 9).seq(), Seq::new(9));
    assert!(receipt(&tracker, 9).wait_durable(Duration::MAX).is_ok(), "the timeout does not overflow");
}

#[test]
fn c8_a_rejection_is_reported_on_its_own_receipt() {
    let tracker = tracker(0);
    tracker.reject(Seq::new(2), failure(ErrorKind::Rejected));
    assert_eq!(state(&tracker, 1), Err("pending".to_owned()));
    assert_eq!(
        state(&tracker, 2),
        Err("rejected: rejected".to_owned()),
        "the rejection is known before its batch is settled"
    );
    tracker.settle(Seq::new(3));
    assert_eq!(state(&tracker, 1), Ok(()));
    assert_eq!(state(&tracker, 2), Err("rejected: rejected".to_owned()));
    assert_eq!(state(&tracker, 3), Ok(()));
    assert!(matches!(block_on(receipt(&tracker, 2).durable()), Err(NotDurable::Rejected(_))));
}

/// A receipt for everything up to a sequence number reports a rejection only if it relies on the rejected
/// mutation.
#[test]
fn c8_a_rejection_is_reported_on_receipts_that_rely_on_it() {
    let tracker = tracker(0);
    tracker.reject(Seq::new(2), failure(ErrorKind::Rejected));
    let up_to = |seq| Receipt::up_to(Seq::new(seq), Arc::clone(&tracker));
    assert!(!up_to(3).is_durable() && !up_to(3).relying_on(Seq::new(1)).is_durable());
    tracker.settle(Seq::new(3));
    assert!(up_to(2).is_durable() && up_to(3).is_durable());
    assert!(up_to(3).relying_on(Seq::new(1)).is_durable());
    let relying = up_to(3).relying_on(Seq::new(2));
    assert_eq!(relying.seq(), Seq::new(3));
    assert!(matches!(relying.wait_durable(Duration::ZERO), Err(NotDurable::Rejected(_))));
    assert!(!up_to(4).relying_on(Seq::new(1)).is_durable());
}

#[test]
fn c9_a_stop_fails_only_pending_mutations() {
    let tracker = tracker(2);
    tracker.stop(failure(ErrorKind::Corrupt));
    tracker.stop(failure(ErrorKind::Closed));
    assert_eq!(state(&tracker, 2), Ok(()));
    assert_eq!(state(&tracker, 3), Err("stopped: corrupt".to_owned()), "the first error stays");
    assert!(matches!(block_on(receipt(&tracker, 3).durable()), Err(NotDurable::Stopped(_))));
}

#[test]
fn c9_pending_mutations_can_be_awaited_again_after_a_resume() {
    let tracker = tracker(2);
    tracker.stop(failure(ErrorKind::Corrupt));
    tracker.resume();
    assert_eq!(state(&tracker, 3), Err("pending".to_owned()));
    tracker.settle(Seq::new(3));
    assert_eq!(state(&tracker, 3), Ok(()));
    tracker.stop(failure(ErrorKind::Closed));
    assert_eq!(state(&tracker, 4), Err("stopped: closed".to_owned()));
}

#[test]
fn the_oldest_of_many_rejections_are_forgotten() {
    let tracker = tracker(0);
    let total = 65_536 + 10;
    for seq in 1..=total {
        tracker.reject(Seq::new(seq), failure(ErrorKind::Rejected));
    }
    tracker.settle(Seq::new(total + 1));
    assert_eq!(state(&tracker, 1), Err("forgotten".to_owned()));
    assert_eq!(state(&tracker, 10), Err("forgotten".to_owned()));
    assert_eq!(state(&tracker, 11), Err("rejected: rejected".to_owned()));
    assert_eq!(state(&tracker, total), Err("rejected: rejected".to_owned()));
    assert_eq!(state(&tracker, total + 1), Ok(()));

    // A late rejection does not restore forgotten ones.
    tracker.reject(Seq::new(1), failure(ErrorKind::Rejected));
    assert_eq!(state(&tracker, 10), Err("forgotten".to_owned()));
}

#[test]
fn threads_and_futures_wake_up_for_their_receipts() {
    let tracker = tracker(0);
    thread::scope(|scope| {
        let waiting: Vec<_> = (1..=8)
            .map(|seq| {
                let receipt = receipt(&tracker, seq);
                scope.spawn(move || match seq % 2 {
                    0 => receipt.wait_durable(TIMEOUT),
                    _ => block_on(receipt.durable()),
                })
            })
            .collect();
        for seq in [1, 2, 5] {
            tracker.settle(Seq::new(seq));
        }
        tracker.reject(Seq::new(6), failure(ErrorKind::Rejected));
        tracker.settle(Seq::new(7));
        tracker.stop(failure(ErrorKind::Fenced));
        for (seq, waiter) in (1..).zip(waiting) {
            let outcome = waiter.join().expect("no thread panics");
            match seq {
                6 => assert!(matches!(outcome, Err(NotDurable::Rejected(_))), "{outcome:?}"),
                8 => assert!(matches!(outcome, Err(NotDurable::Stopped(_))), "{outcome:?}"),
                _ => assert!(outcome.is_ok(), "{seq}: {outcome:?}"),
            }
        }
    });
}

#[test]
fn a_future_can_be_dropped() {
    let tracker = tracker(0);
    let receipt = receipt(&tracker, 1);
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut dropped = pin!(receipt.durable());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
    }
    let mut kept = pin!(receipt.durable());
    assert!(kept.as_mut().poll(&mut context).is_pending());
    tracker.settle(Seq::new(1));
    assert!(matches!(kept.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
}

/// A receipt whose mutation is settled just before the stop never reports the stop.
#[test]
fn c10_a_stop_does_not_hide_durable_mutations() {
    const ROUNDS: usize = 20_000;
    let rounds: Vec<_> = (0..ROUNDS).map(|_| tracker(0)).collect();
    // The round whose receipt is being polled.
    let polled = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (round, tracker) in rounds.iter().enumerate() {
                while polled.load(Ordering::Acquire) < round {
                    thread::yield_now();
                }
                tracker.settle(Seq::new(1));
                tracker.stop(failure(ErrorKind::Closed));
            }
        });
        let mut hidden = 0;
        for (round, tracker) in rounds.iter().enumerate() {
            polled.store(round, Ordering::Release);
            let receipt = receipt(tracker, 1);
            loop {
                match receipt.wait_durable(Duration::ZERO) {
                    Err(NotDurable::TimedOut) => {}
                    outcome => break hidden += u64::from(outcome.is_err()),
                }
            }
        }
        assert_eq!(
            hidden, 0,
            "of {ROUNDS} receipts that reported the stop although their mutation was durable"
        );
    });
}

/// Settles what is requested.
struct Settles(std::sync::OnceLock<std::sync::Weak<DurabilityTracker>>, AtomicUsize);

impl RequestFlush for Settles {
    fn request_flush(&self, through: Seq) {
        self.1.fetch_add(1, Ordering::Relaxed);
        let tracker = self.0.get().and_then(std::sync::Weak::upgrade);
        tracker.expect("a receipt holds it").settle(through);
    }
}

#[test]
fn c6_a_wait_requests_a_flush_once_unless_it_is_passive() {
    let settles = Arc::new(Settles(std::sync::OnceLock::new(), AtomicUsize::new(0)));
    let tracker = DurabilityTracker::new(Seq::ZERO).requesting(Arc::clone(&settles) as Arc<dyn RequestFlush>);
    let tracker = Arc::new(tracker);
    settles.0.get_or_init(|| Arc::downgrade(&tracker));
    let passive = receipt(&tracker, 1).passive();
    assert!(matches!(passive.wait_durable(Duration::ZERO), Err(NotDurable::TimedOut)));
    receipt(&tracker, 1).wait_durable(Duration::ZERO).expect("settled by the request");
    block_on(receipt(&tracker, 2).durable()).expect("settled by the request");
    for seq in [1, 2] {
        receipt(&tracker, seq).wait_durable(Duration::ZERO).expect("settled before");
    }
    assert_eq!(settles.1.load(Ordering::Relaxed), 2);
}
