//! Waits for durability hasten the flush that they wait for.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use shape_meta_core::{
    ErrorKind, MutateShapesExt, NoopObserver, NotDurable, Receipt, Wait,
    conformance::{DeferredPublishStore, FailingStore, Faults, Side, shape},
};

use super::steps::{AN_HOUR, Store, stepped, stepped_with};
use crate::{BufferOptions, Buffered, flusher_pool::Step};

const TIMEOUT: Duration = Duration::from_secs(60);

fn add(store: &Store, number: u64) -> Receipt {
    store.add(shape(number), Wait::No).expect("below the bound")
}

/// Begins to wait, as a thread or as a future, and gives up at once.
fn begin_to_wait(receipt: &Receipt, is_future: bool) {
    if is_future {
        let mut future = pin!(receipt.durable());
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    } else {
        assert!(matches!(receipt.wait_durable(Duration::ZERO), Err(NotDurable::TimedOut)));
    }
}

/// Once, a wait took until the flush interval was over.
#[test]
fn c6_a_wait_makes_the_flush_due_that_it_waits_for() {
    for is_future in [false, true] {
        let (store, faults) = stepped();
        let receipt = add(&store, 1);
        begin_to_wait(&receipt.clone().passive(), is_future);
        drop(receipt.durable());
        store.flusher.step();
        assert_eq!(faults.attempts(), 0, "a passive wait, and a future that was never polled, ask nothing");
        begin_to_wait(&receipt, is_future);
        store.flusher.step();
        assert!(receipt.is_durable());
    }
}

#[test]
fn c6_a_wait_for_what_is_durable_requests_nothing() {
    let (store, _) = stepped();
    let receipt = add(&store, 1);
    store.flush_once().expect("flush");
    add(&store, 2);
    receipt.wait_durable(Duration::ZERO).expect("durable");
    assert!(matches!(
        pin!(receipt.durable()).poll(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(Ok(()))
    ));
    assert!(!store.shared.requests.take_shortens_backoff());
}

/// Once, only `request_flush` and `flush` kept to this.
#[test]
fn c7_waits_on_a_full_disk_make_no_attempt_of_their_own() {
    for delay in [AN_HOUR, Duration::MAX] {
        let (store, faults) = stepped_with(|options| options.backoff(delay, delay));
        faults.fail_applies(2_000, ErrorKind::StorageFull, Side::Before);
        let receipts = [add(&store, 1), add(&store, 2)];
        let started_at = Instant::now();
        for number in 0..1_000 {
            begin_to_wait(&receipts[number % 2], number % 3 == 0);
            store.flusher.step();
        }
        let allowed = 2 + started_at.elapsed().as_secs();
        assert!((1..=allowed).contains(&faults.attempts()), "{}", faults.attempts());
    }
}

/// The flush that is requested during a commit begins when that ends, and takes all that wait by then.
#[test]
fn c6_all_that_wait_during_a_commit_share_the_next_one() {
    let faults = Faults::default();
    let inner = FailingStore::with(Arc::new(DeferredPublishStore::default()), faults.clone());
    let options = BufferOptions::default().flush_interval(AN_HOUR).lag_threshold(AN_HOUR);
    let store = Buffered::new(inner, options, Arc::new(NoopObserver)).expect("nothing fails yet");
    let gate = faults.block_apply(Side::Before);
    let first = add(&store, 0);
    begin_to_wait(&first, false);
    gate.wait_until_blocked();
    let rest: Vec<_> = (1..=32).map(|number| add(&store, number)).collect();
    thread::scope(|scope| {
        for receipt in rest.iter().chain([&first]) {
            begin_to_wait(receipt, false);
            scope.spawn(|| receipt.wait_durable(TIMEOUT).expect("durable"));
        }
        gate.release();
    });
    assert_eq!(faults.attempts(), 2);
}
