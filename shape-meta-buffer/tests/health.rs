//! What health tells, state by state.

use std::{
    thread,
    time::{Duration, Instant},
};

use shape_meta_buffer::BufferOptions;
use shape_meta_core::{
    Degradation, ErrorKind, HealthState, StoreControl,
    conformance::{FailingStore, Fixture, Side},
};

use crate::support::{OverFailing, PATIENT, add, buffered, manual};

#[test]
fn c9_a_write_that_hangs_is_told_although_nothing_has_failed() {
    let options =
        BufferOptions::default().flush_interval(Duration::from_millis(1)).lag_threshold(Duration::ZERO);
    let store = buffered(FailingStore::new(Default::default()), options);
    assert!(matches!(store.health().state, HealthState::Ready), "nothing is pending");
    let gate = store.inner().faults().block_apply(Side::Before);
    let receipt = add(&store, "h", 1);
    gate.wait_until_blocked();
    let health = store.health();
    assert!(matches!(health.state, HealthState::Degraded { why: Degradation::Lagging, .. }), "{health:?}");
    assert!(health.is_ready() && health.is_live(), "mutations are accepted up to the bound");
    assert!(health.durability_window >= Duration::from_millis(1), "{health:?}");
    assert!(health.last_error.is_none(), "{health:?}");
    drop(gate);
    receipt.wait_durable(PATIENT).expect("it goes on");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Ready), "{health:?}");
    assert_eq!(health.durability_window, Duration::ZERO);
    assert!(health.drain_rate > 0.0, "{health:?}");
}

#[test]
fn what_is_held_up_on_purpose_is_not_behind() {
    let options = BufferOptions::default().flush_interval(Duration::ZERO).lag_threshold(Duration::ZERO);
    for store in [
        buffered(FailingStore::new(Default::default()), options.clone().background_flush(false)),
        buffered(FailingStore::new(Default::default()), options),
    ] {
        store.pause();
        add(&store, "h", 1);
        let health = store.health();
        assert!(matches!(health.state, HealthState::Ready), "{health:?}");
        assert!(health.durability_window > Duration::ZERO, "but what a crash would lose is told");
    }
}

#[test]
fn c9_the_latest_failure_is_told_also_after_it_was_got_over() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    faults.fail_applies(1, ErrorKind::StorageFull, Side::Before);
    store.flush_once().expect_err("told to fail");
    let failing = store.health();
    assert!(matches!(
        failing.state,
        HealthState::Degraded { why: Degradation::Failing { failures: 1, .. }, .. }
    ));
    assert!(failing.to_string().starts_with("degraded for "), "{failing}");
    store.flush(PATIENT).expect("the fault is gone");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Ready));
    let told = health.last_error.as_ref().map(|last| last.error.kind());
    assert_eq!(told, Some(ErrorKind::StorageFull));
    assert!(health.to_string().starts_with("ready; a write failed "), "{health}");
}

#[test]
fn c11_who_is_fenced_is_neither_ready_nor_live() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    faults.fail_applies(1, ErrorKind::Fenced, Side::Before);
    store.flush_once().expect_err("told to fail");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Fenced { .. }), "{health:?}");
    assert!(!health.is_ready() && !health.is_live());
    store.close(Duration::ZERO);
    assert!(matches!(store.health().state, HealthState::Closed));
}

#[test]
fn c10_closing_is_told_while_it_writes() {
    let store = OverFailing::threaded().open();
    let gate = store.inner().faults().block_apply(Side::Before);
    add(&store, "h", 1);
    gate.wait_until_blocked();
    thread::scope(|scope| {
        let closing = scope.spawn(|| store.close(PATIENT));
        // Until closing has begun, another attempt to look.
        let patience = Instant::now() + PATIENT;
        while matches!(store.health().state, HealthState::Ready) && Instant::now() < patience {
            thread::yield_now();
        }
        let health = store.health();
        assert!(matches!(health.state, HealthState::Closing), "{health:?}");
        assert!(!health.is_ready() && health.is_live());
        assert!(health.durability_window > Duration::ZERO);
        drop(gate);
        assert!(closing.join().expect("no panic").is_complete());
    });
    let health = store.health();
    assert!(matches!(health.state, HealthState::Closed), "{health:?}");
    assert!(!health.is_ready() && !health.is_live());
}
