//! C10: the deadline of a close holds whatever else goes on.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    CloseReport, ErrorKind, HealthState, MemoryStore, MutateShapesExt, StoreControl, Wait,
    conformance::{CompositionFixture, FailingStore, Faults, Side},
};

use crate::support::{
    Failing, LONG_TIMEOUT, OverFailing, add, below, buffered, handles, manual, shape, until,
};

const TIMEOUT: Duration = Duration::from_millis(20);

/// A store with a background flusher, and one without.
fn both() -> [(Buffered<Failing>, Faults); 2] {
    let options = BufferOptions::default().flush_interval(Duration::ZERO);
    let threaded = buffered(FailingStore::new(Arc::default()), options);
    let faults = threaded.inner().faults().clone();
    [(threaded, faults), manual()]
}

/// Closes, and checks that the deadline held and that the report has the true duration.
fn close_in_time(store: &Buffered<Failing>) -> CloseReport {
    let started_at = Instant::now();
    let report = store.close(TIMEOUT);
    let took = started_at.elapsed();
    assert!(took < LONG_TIMEOUT, "the gate was never opened: the close did not wait for it");
    assert!(report.took >= TIMEOUT && report.took <= took, "{:?} of {took:?}", report.took);
    report
}

#[test]
fn c10_a_save_of_last_reads_that_hangs_is_left_behind() {
    for (store, faults) in both() {
        add(&store, "h", 1);
        store.flush(LONG_TIMEOUT).expect("no fault");
        let gate = faults.block_save(Side::Before);
        let report = close_in_time(&store);
        assert!(report.is_complete() && gate.is_blocked(), "{report:?}");
        assert!(matches!(store.health().state, HealthState::Closed));
    }
}

#[test]
fn c10_a_flush_that_hangs_on_another_thread_is_left_behind() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    let gate = faults.block_apply(Side::Before);
    thread::scope(|scope| {
        scope.spawn(|| store.flush_once());
        gate.wait_until_blocked();
        assert_eq!(close_in_time(&store).unwritten, 1);
        gate.release();
    });
}

#[test]
fn c10_a_write_that_hangs_is_left_behind_without_a_flusher() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    let gate = faults.block_apply(Side::Before);
    assert_eq!(close_in_time(&store).unwritten, 1);
    gate.release();
}

/// Once, close waited for the repair, and reported the time after that alone.
#[test]
fn c10_close_does_not_wait_for_a_repair_that_hangs() {
    for (store, faults) in both() {
        store.pause();
        let receipt = add(&store, "h", 1);
        let gate = faults.block_read(Side::Before);
        thread::scope(|scope| {
            let repairing = scope.spawn(|| store.repair());
            gate.wait_until_blocked();
            let report = close_in_time(&store);
            assert_eq!(report.unwritten, 1, "{report:?}");
            assert!(matches!(store.health().state, HealthState::Closed));
            gate.release();
            let _ = repairing.join().expect("no panic");
        });
        // The end of the repair does not open the store again.
        assert!(matches!(store.health().state, HealthState::Closed));
        let refused = store.add(shape("i", 2), Wait::No).expect_err("closed");
        assert!(refused.to_string().contains("closed"), "{refused}");
        assert!(receipt.is_durable() || receipt.wait_durable(LONG_TIMEOUT).is_err(), "it is resolved");
        assert_eq!(store.repair().expect_err("closed").kind(), ErrorKind::Closed);
    }
}

/// A repair that ends in time saves what is pending.
#[test]
fn c10_close_during_a_repair_writes_what_the_repair_makes_writable() {
    for (store, faults) in both() {
        store.pause();
        faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
        add(&store, "h", 1);
        store.flush_once().expect_err("damaged");
        let gate = faults.block_read(Side::Before);
        thread::scope(|scope| {
            scope.spawn(|| store.repair());
            gate.wait_until_blocked();
            let closing = scope.spawn(|| store.close(LONG_TIMEOUT));
            until(|| matches!(store.health().state, HealthState::Closing));
            gate.release();
            let report = closing.join().expect("no panic");
            assert!(report.is_complete() && report.error.is_none(), "{report:?}");
        });
        assert_eq!(handles(below(&store)), ["h"]);
    }
}

#[test]
fn c10_a_second_close_has_a_deadline_of_its_own() {
    for (store, faults) in both() {
        let gate = faults.block_apply(Side::Before);
        add(&store, "h", 1);
        thread::scope(|scope| {
            let first = scope.spawn(|| store.close(LONG_TIMEOUT));
            gate.wait_until_blocked();
            until(|| matches!(store.health().state, HealthState::Closing));
            assert_eq!(close_in_time(&store).unwritten, 1);
            let third = scope.spawn(|| store.close(LONG_TIMEOUT));
            gate.release();
            let (first, third) = (first.join().expect("no panic"), third.join().expect("no panic"));
            assert!(first.is_complete(), "{first:?}");
            assert_eq!((third.unwritten, third.took), (0, first.took), "the report of the first close");
        });
    }
}

/// Once, the pause held up the close until its deadline.
#[test]
fn c10_a_pause_after_close_has_no_effect() {
    let [(store, faults), _] = both();
    let gate = faults.block_apply(Side::Before);
    add(&store, "h", 1);
    gate.wait_until_blocked();
    add(&store, "i", 2);
    thread::scope(|scope| {
        let closing = scope.spawn(|| store.close(LONG_TIMEOUT));
        until(|| matches!(store.health().state, HealthState::Closing));
        store.pause();
        assert!(!store.is_paused());
        gate.release();
        let report = closing.join().expect("no panic");
        assert!(report.is_complete() && report.took < LONG_TIMEOUT, "{report:?}");
    });
    store.pause();
    assert!(!store.is_paused());
}

#[test]
fn c10_a_drop_leaves_what_hangs_to_its_thread() {
    let memory = Arc::new(MemoryStore::new());
    let options = OverFailing::stepped().options.drop_timeout(TIMEOUT);
    let store = buffered(FailingStore::new(Arc::clone(&memory)), options);
    add(&store, "h", 1);
    let gate = store.inner().faults().block_apply(Side::Before);
    drop(store);
    gate.release();
    until(|| Arc::strong_count(&memory) == 1);
    assert_eq!(handles(&memory), ["h"]);
    drop(OverFailing::threaded().open());
}
