//! What receipts tell of the way to disk.

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

use shape_meta_core::{DurabilityTracker, Error, ErrorKind, NotDurable, Receipt, Seq, conformance::block_on};

const LONG: Duration = Duration::from_secs(60);

fn progress(settled: u64) -> Arc<DurabilityTracker> {
    Arc::new(DurabilityTracker::new(Seq::new(settled)))
}

fn receipt(progress: &Arc<DurabilityTracker>, seq: u64) -> Receipt {
    Receipt::new(Seq::new(seq), Arc::clone(progress))
}

/// What the receipt says now: the kind of the error with the way it is told.
fn now(progress: &Arc<DurabilityTracker>, seq: u64) -> Result<(), String> {
    let receipt = receipt(progress, seq);
    let outcome = receipt.wait_durable(Duration::ZERO);
    assert_eq!(receipt.is_durable(), outcome.is_ok());
    outcome.map_err(|why| match why {
        NotDurable::TimedOut => "pending".to_owned(),
        NotDurable::Rejected(error) => format!("rejected: {}", error.kind().name()),
        NotDurable::Stopped(error) => format!("stopped: {}", error.kind().name()),
        NotDurable::Forgotten => "forgotten".to_owned(),
        other => panic!("new: {other:?}"),
    })
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "the test says so")
}

#[test]
fn what_is_settled_is_durable_and_stays_so() {
    let progress = progress(3);
    assert_eq!(now(&progress, 3), Ok(()));
    assert_eq!(now(&progress, 4), Err("pending".to_owned()));
    progress.settle(Seq::new(9));
    progress.settle(Seq::new(5));
    assert_eq!(progress.settled(), Seq::new(9));
    assert_eq!(now(&progress, 9), Ok(()));
    assert_eq!(now(&progress, 10), Err("pending".to_owned()));
    assert_eq!(receipt(&progress, 9).seq(), Seq::new(9));
    assert!(receipt(&progress, 9).wait_durable(Duration::MAX).is_ok(), "no overflow");
}

#[test]
fn c8_a_rejection_is_told_to_its_own_receipt() {
    let progress = progress(0);
    progress.reject(Seq::new(2), failure(ErrorKind::Rejected));
    assert_eq!(now(&progress, 1), Err("pending".to_owned()));
    assert_eq!(now(&progress, 2), Err("rejected: rejected".to_owned()), "known before its batch is settled");
    progress.settle(Seq::new(3));
    assert_eq!(now(&progress, 1), Ok(()));
    assert_eq!(now(&progress, 2), Err("rejected: rejected".to_owned()));
    assert_eq!(now(&progress, 3), Ok(()));
    assert!(matches!(block_on(receipt(&progress, 2).durable()), Err(NotDurable::Rejected(_))));
}

/// Whoever needs everything up to a place, though it has made none of it, hears of no rejection but of the one
/// that it relies on.
#[test]
fn c8_a_rejection_is_told_to_who_relies_on_it() {
    let progress = progress(0);
    progress.reject(Seq::new(2), failure(ErrorKind::Rejected));
    let up_to = |seq| Receipt::up_to(Seq::new(seq), Arc::clone(&progress));
    assert!(!up_to(3).is_durable() && !up_to(3).relying_on(Seq::new(1)).is_durable());
    progress.settle(Seq::new(3));
    assert!(up_to(2).is_durable() && up_to(3).is_durable());
    assert!(up_to(3).relying_on(Seq::new(1)).is_durable());
    let relying = up_to(3).relying_on(Seq::new(2));
    assert_eq!(relying.seq(), Seq::new(3));
    assert!(matches!(relying.wait_durable(Duration::ZERO), Err(NotDurable::Rejected(_))));
    assert!(!up_to(4).relying_on(Seq::new(1)).is_durable());
}

#[test]
fn c9_after_a_stop_only_what_was_pending_is_lost() {
    let progress = progress(2);
    progress.stop(failure(ErrorKind::Corrupt));
    progress.stop(failure(ErrorKind::Closed));
    assert_eq!(now(&progress, 2), Ok(()));
    assert_eq!(now(&progress, 3), Err("stopped: corrupt".to_owned()), "the first reason stays");
    assert!(matches!(block_on(receipt(&progress, 3).durable()), Err(NotDurable::Stopped(_))));
}

#[test]
fn c9_after_a_stop_that_was_got_over_what_is_pending_is_waited_for_again() {
    let progress = progress(2);
    progress.stop(failure(ErrorKind::Corrupt));
    progress.resume();
    assert_eq!(now(&progress, 3), Err("pending".to_owned()));
    progress.settle(Seq::new(3));
    assert_eq!(now(&progress, 3), Ok(()));
    progress.stop(failure(ErrorKind::Closed));
    assert_eq!(now(&progress, 4), Err("stopped: closed".to_owned()));
}

#[test]
fn very_many_rejections_are_forgotten_one_by_one() {
    let progress = progress(0);
    let total = 65_536 + 10;
    for seq in 1..=total {
        progress.reject(Seq::new(seq), failure(ErrorKind::Rejected));
    }
    progress.settle(Seq::new(total + 1));
    assert_eq!(now(&progress, 1), Err("forgotten".to_owned()));
    assert_eq!(now(&progress, 10), Err("forgotten".to_owned()));
    assert_eq!(now(&progress, 11), Err("rejected: rejected".to_owned()));
    assert_eq!(now(&progress, total), Err("rejected: rejected".to_owned()));
    assert_eq!(now(&progress, total + 1), Ok(()));

    // One that comes late does not bring back what was forgotten.
    progress.reject(Seq::new(1), failure(ErrorKind::Rejected));
    assert_eq!(now(&progress, 10), Err("forgotten".to_owned()));
}

#[test]
fn threads_and_futures_wake_up_for_what_they_wait_for() {
    let progress = progress(0);
    thread::scope(|scope| {
        let waiting: Vec<_> = (1..=8)
            .map(|seq| {
                let receipt = receipt(&progress, seq);
                scope.spawn(move || match seq % 2 {
                    0 => receipt.wait_durable(LONG),
                    _ => block_on(receipt.durable()),
                })
            })
            .collect();
        for seq in [1, 2, 5] {
            progress.settle(Seq::new(seq));
        }
        progress.reject(Seq::new(6), failure(ErrorKind::Rejected));
        progress.settle(Seq::new(7));
        progress.stop(failure(ErrorKind::Fenced));
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
fn a_future_that_is_dropped_does_no_harm() {
    let progress = progress(0);
    let receipt = receipt(&progress, 1);
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut dropped = pin!(receipt.durable());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
    }
    let mut kept = pin!(receipt.durable());
    assert!(kept.as_mut().poll(&mut context).is_pending());
    progress.settle(Seq::new(1));
    assert!(matches!(kept.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
}

/// What was settled before the stop is durable, also for a receipt that looks just then.
#[test]
fn c10_a_stop_does_not_hide_what_was_written_before_it() {
    const ROUNDS: usize = 20_000;
    let rounds: Vec<_> = (0..ROUNDS).map(|_| progress(0)).collect();
    // The round whose receipt is being looked at.
    let looking = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (round, progress) in rounds.iter().enumerate() {
                while looking.load(Ordering::Acquire) < round {
                    thread::yield_now();
                }
                progress.settle(Seq::new(1));
                progress.stop(failure(ErrorKind::Closed));
            }
        });
        let mut hidden = 0;
        for (round, progress) in rounds.iter().enumerate() {
            looking.store(round, Ordering::Release);
            let receipt = receipt(progress, 1);
            loop {
                match receipt.wait_durable(Duration::ZERO) {
                    Err(NotDurable::TimedOut) => {}
                    outcome => break hidden += u64::from(outcome.is_err()),
                }
            }
        }
        assert_eq!(hidden, 0, "receipts of {ROUNDS} that were told of the stop, though written before it");
    });
}
