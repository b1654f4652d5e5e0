//! C9: faults of the store below are survived.

use std::{sync::Arc, time::Duration};

use shape_meta_buffer::BufferOptions;
use shape_meta_core::{
    Degradation, ErrorKind, HealthState, MutateError, MutateShapesExt, NotDurable, ReadShapes, ReadShapesExt,
    StoreControl, Wait,
    conformance::{CompositionFixture, FailingStore, Side, key},
};

use crate::support::{LONG_TIMEOUT, OverFailing, add, below, buffered, handles, manual, shape};

#[test]
fn c9_a_failed_batch_stays_pending_and_is_written_later() {
    for kind in
        [ErrorKind::Busy, ErrorKind::StorageFull, ErrorKind::Io, ErrorKind::Interrupted, ErrorKind::ReadOnly]
    {
        let (store, faults) = manual();
        let receipt = add(&store, "h", 1);
        faults.fail_applies(2, kind, Side::Before);
        for failures in 1..=2 {
            assert_eq!(store.flush_once().expect_err("the injected fault").kind(), kind);
            let HealthState::Degraded { why, .. } = store.health().state else { panic!("not degraded") };
            assert!(matches!(why, Degradation::Failing { failures: n, .. } if n == failures), "{why:?}");
            assert!(store.has_handle("h").expect("reads are not affected"));
            assert!(!receipt.is_durable());
        }
        add(&store, "later", 2);
        store.flush(LONG_TIMEOUT).expect("the fault is gone");
        assert!(matches!(store.health().state, HealthState::Ready));
        assert!(receipt.is_durable());
        assert_eq!(handles(below(&store)), ["h", "later"]);
    }
}

#[test]
fn i6_a_commit_whose_answer_was_lost_applies_once() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    faults.fail_applies(1, ErrorKind::Io, Side::After);
    store.flush_once().expect_err("the injected fault");
    store.remove("h", Wait::No).expect("live");
    store.flush(LONG_TIMEOUT).expect("flush");
    assert!(handles(below(&store)).is_empty());
    assert_eq!(below(&store).counts().expect("read").total, 0);
}

#[test]
fn c9_the_flusher_thread_survives_a_panic_of_the_store() {
    let store = OverFailing::threaded().open();
    store.inner().faults().panic_applies(3, Side::Before);
    let receipt = add(&store, "h", 1);
    receipt.wait_durable(LONG_TIMEOUT).expect("the flush is retried");
    assert!(matches!(store.health().state, HealthState::Ready));
}

#[test]
fn c9_a_fatal_error_stops_writing_and_reads_go_on() {
    for kind in [ErrorKind::Corrupt, ErrorKind::Fenced, ErrorKind::NotADatabase] {
        let (store, faults) = manual();
        let receipt = add(&store, "h", 1);
        faults.fail_applies(1, kind, Side::Before);
        assert_eq!(store.flush_once().expect_err("the injected fault").kind(), kind);
        match store.health().state {
            HealthState::Fenced { error } if kind == ErrorKind::Fenced => assert_eq!(error.kind(), kind),
            HealthState::Stopped { error } => assert_eq!(error.kind(), kind),
            other => panic!("{kind:?}: {other:?}"),
        }
        assert!(matches!(receipt.wait_durable(LONG_TIMEOUT), Err(NotDurable::Stopped(_))));
        let refused = store.add(shape("i", 2), Wait::UpTo(LONG_TIMEOUT));
        assert!(matches!(refused, Err(MutateError::Failed(error)) if error.kind() == kind));
        assert!(store.has_handle("h").expect("reads go on"));
        assert_eq!(store.handle_for(&key(1)).expect("reads go on").as_deref(), Some("h"));
        let attempts = faults.attempts();
        store.flush_once().expect_err("stopped");
        assert_eq!(faults.attempts(), attempts, "the store below is not called");
        assert_eq!(store.close(LONG_TIMEOUT).unwritten, 1);
    }
}

#[test]
fn c9_a_read_that_fails_below_has_no_lasting_effect() {
    let (store, faults) = manual();
    faults.fail_reads(1, ErrorKind::Io);
    let failed = store.add(shape("h", 1), Wait::No);
    assert!(matches!(failed, Err(MutateError::Failed(error)) if error.kind() == ErrorKind::Io));
    assert_eq!(store.pending().mutations, 0);
    add(&store, "h", 1);
}

#[test]
fn the_thread_flushes_by_age_by_size_and_on_request() {
    let never = Duration::from_secs(3600);
    let open = |options| buffered(FailingStore::new(Arc::default()), options);

    let by_age = open(BufferOptions::default().flush_interval(Duration::from_millis(1)));
    add(&by_age, "h", 1).passive().wait_durable(LONG_TIMEOUT).expect("by age");

    let by_size = open(BufferOptions::default().flush_interval(never).flush_shapes(2));
    let first = add(&by_size, "h1", 1).passive();
    assert!(matches!(first.wait_durable(Duration::from_millis(1)), Err(NotDurable::TimedOut)));
    add(&by_size, "h2", 2);
    first.wait_durable(LONG_TIMEOUT).expect("by size");

    let by_bytes = open(BufferOptions::default().flush_interval(never).flush_bytes(1));
    add(&by_bytes, "h", 1).passive().wait_durable(LONG_TIMEOUT).expect("by bytes");

    let on_request = open(BufferOptions::default().flush_interval(never));
    let receipt = add(&on_request, "h", 1);
    on_request.flush(LONG_TIMEOUT).expect("on request");
    assert!(receipt.is_durable());
}

#[test]
fn a_pause_holds_up_flushes_of_every_trigger() {
    let store = OverFailing::threaded().open();
    store.pause();
    let receipt = add(&store, "h", 1);
    assert!(matches!(store.flush(Duration::from_millis(5)), Err(NotDurable::TimedOut)));
    assert_eq!(store.inner().faults().attempts(), 0);
    store.resume();
    receipt.wait_durable(LONG_TIMEOUT).expect("flushing resumes");
}

/// A flush that failed on the thread of a caller is retried by the flusher, without a request.
#[test]
fn c9_the_flusher_retries_what_a_caller_failed_to_flush() {
    let options = BufferOptions::default().flush_interval(Duration::from_secs(3600));
    let options = options.backoff(Duration::from_millis(1), Duration::from_millis(1));
    let store = buffered(FailingStore::new(Arc::default()), options);
    let first = add(&store, "h1", 1).passive();
    store.inner().faults().fail_applies(1, ErrorKind::Busy, Side::Before);
    store.flush_once().expect_err("the injected fault");
    let second = add(&store, "h2", 2);
    first.wait_durable(LONG_TIMEOUT).expect("retried by the thread");
    assert!(matches!(second.passive().wait_durable(Duration::ZERO), Ok(()) | Err(NotDurable::TimedOut)));
}

/// Found by the interleavings: the request was served by the retry of older changes, and the rest waited for
/// its age.
#[test]
fn c10_a_request_after_a_failed_flush_covers_later_changes() {
    let hour = Duration::from_secs(3_600);
    let options = BufferOptions::default().flush_interval(hour).backoff(hour, hour);
    let store = buffered(FailingStore::new(Arc::default()), options);
    store.inner().faults().fail_applies(1, ErrorKind::Busy, Side::Before);
    add(&store, "h1", 1);
    store.request_flush();
    while !matches!(store.health().state, HealthState::Degraded { .. }) {
        std::thread::yield_now();
    }
    add(&store, "h2", 2);
    store.flush(LONG_TIMEOUT).expect("no fault is left");
    assert_eq!(handles(below(&store)), ["h1", "h2"]);
}
