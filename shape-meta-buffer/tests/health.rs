//! The reported health, state by state.

use std::{
    thread,
    time::{Duration, Instant},
};

use shape_meta_buffer::BufferOptions;
use shape_meta_core::{
    Degradation, ErrorKind, HealthState, StoreControl,
    conformance::{CompositionFixture, FailingStore, Side},
};

use crate::support::{LONG_TIMEOUT, OverFailing, add, buffered, manual};

#[test]
fn c9_a_write_that_hangs_is_lagging_although_nothing_failed() {
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
    receipt.wait_durable(LONG_TIMEOUT).expect("the write ends");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Ready), "{health:?}");
    assert_eq!(health.durability_window, Duration::ZERO);
    assert!(health.drain_rate > 0.0, "{health:?}");
}

#[test]
fn a_paused_or_manual_store_is_not_lagging() {
    let options = BufferOptions::default().flush_interval(Duration::ZERO).lag_threshold(Duration::ZERO);
    for store in [
        buffered(FailingStore::new(Default::default()), options.clone().background_flush(false)),
        buffered(FailingStore::new(Default::default()), options),
    ] {
        store.pause();
        add(&store, "h", 1);
        let health = store.health();
        assert!(matches!(health.state, HealthState::Ready), "{health:?}");
        assert!(health.durability_window > Duration::ZERO, "what a crash would lose is reported");
    }
}

#[test]
fn c9_the_latest_failure_is_reported_after_recovery_too() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    faults.fail_applies(1, ErrorKind::StorageFull, Side::Before);
    store.flush_once().expect_err("the injected fault");
    let failing = store.health();
    assert!(matches!(
        failing.state,
        HealthState::Degraded { why: Degradation::Failing { failures: 1, .. }, .. }
    ));
    assert!(failing.to_string().starts_with("degraded for "), "{failing}");
    store.flush(LONG_TIMEOUT).expect("the fault is gone");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Ready));
    let last = health.last_error.as_ref().map(|last| last.error.kind());
    assert_eq!(last, Some(ErrorKind::StorageFull));
    assert!(health.to_string().starts_with("ready; a write failed "), "{health}");
}

#[test]
fn c11_a_fenced_store_is_neither_ready_nor_live() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    faults.fail_applies(1, ErrorKind::Fenced, Side::Before);
    store.flush_once().expect_err("the injected fault");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Fenced { .. }), "{health:?}");
    assert!(!health.is_ready() && !health.is_live());
    store.close(Duration::ZERO);
    assert!(matches!(store.health().state, HealthState::Closed));
}

#[test]
fn c10_health_is_closing_while_close_writes() {
    let store = OverFailing::threaded().open();
    let gate = store.inner().faults().block_apply(Side::Before);
    add(&store, "h", 1);
    gate.wait_until_blocked();
    thread::scope(|scope| {
        let closing = scope.spawn(|| store.close(LONG_TIMEOUT));
        let deadline = Instant::now() + LONG_TIMEOUT;
        while matches!(store.health().state, HealthState::Ready) && Instant::now() < deadline {
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
