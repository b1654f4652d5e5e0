use std::time::{Duration, Instant};

use shape_meta_core::{Degradation, Error, ErrorKind, HealthState};

use crate::write_state::{AfterFailure, WriteState};

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(35);

fn fail(state: &mut WriteState, kind: ErrorKind) -> AfterFailure {
    state.flush_failed(&Error::new(kind, "the test lets this fail"), (FIRST, LONGEST))
}

/// Returns the name of the health and the reason for which mutations are refused. The two must agree (I8).
fn observe(state: &WriteState) -> (&'static str, Option<ErrorKind>) {
    let (health, refusal) = (state.health(None), state.refusal());
    assert_eq!(health.is_ready(), refusal.is_none(), "{state:?}");
    (health.name(), refusal.map(|error| error.kind()))
}

#[test]
fn i8_health_and_gate_agree_while_flushes_fail_and_recover() {
    let mut state = WriteState::default();
    assert_eq!(observe(&state), ("ready", None));
    fail(&mut state, ErrorKind::Io);
    assert_eq!(observe(&state), ("degraded", None));
    state.flush_succeeded();
    assert_eq!(observe(&state), ("ready", None));
    assert_eq!(state.last_failure().map(|(error, _)| error.kind()), Some(ErrorKind::Io));
    for (kind, name) in [(ErrorKind::Corrupt, "stopped"), (ErrorKind::Fenced, "fenced")] {
        let mut state = WriteState::default();
        assert_eq!(fail(&mut state, kind), AfterFailure::Stop);
        assert_eq!(observe(&state), (name, Some(kind)));
        assert!(state.retry_at().is_none() && state.stop_error().is_some());
    }
}

#[test]
fn i8_health_and_gate_agree_while_the_store_is_repaired() {
    let mut state = WriteState::default();
    fail(&mut state, ErrorKind::Corrupt);
    state.begin_repair();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Corrupt)));
    state.repair_failed();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Corrupt)));

    state.begin_repair();
    state.repaired();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Busy)));
    fail(&mut state, ErrorKind::StorageFull);
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::StorageFull)));
    state.begin_repair();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Busy)));
    state.repair_failed();
    assert!(state.is_recovering(), "pending changes are still to be written");

    state.flush_succeeded();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Busy)));
    state.recovered();
    assert_eq!(observe(&state), ("ready", None));
}

#[test]
fn i8_a_flush_that_stops_during_a_repair_outlasts_the_repair() {
    let mut state = WriteState::default();
    state.begin_repair();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Busy)));
    fail(&mut state, ErrorKind::Corrupt);
    state.repair_failed();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Corrupt)));
}

#[test]
fn i8_health_and_gate_agree_while_the_store_is_closed() {
    for (kind, refusal) in [(ErrorKind::Io, ErrorKind::Closed), (ErrorKind::Corrupt, ErrorKind::Corrupt)] {
        let mut state = WriteState::default();
        fail(&mut state, kind);
        state.begin_close();
        assert_eq!(observe(&state), ("closing", Some(refusal)));
        assert_eq!(state.flush_error().map(Error::kind), Some(kind));
        state.closed();
        assert_eq!(observe(&state), ("closed", Some(refusal)));
    }
}

#[test]
fn the_back_off_doubles_up_to_the_longest() {
    let mut state = WriteState::default();
    for (failures, millis) in [(1, 10), (2, 20), (3, 35), (4, 35)] {
        let before = Instant::now();
        let delay = Duration::from_millis(millis);
        assert_eq!(fail(&mut state, ErrorKind::Busy), AfterFailure::Retry { failures, delay });
        assert!(state.retry_at().is_some_and(|at| at >= before + delay && at <= Instant::now() + delay));
        let HealthState::Degraded { why, .. } = state.health(Some(FIRST)) else { panic!("not degraded") };
        assert!(matches!(why, Degradation::Failing { failures: n, .. } if n == failures), "{why:?}");
    }
    state.flush_succeeded();
    let lagging = state.health(Some(FIRST));
    assert!(
        matches!(lagging, HealthState::Degraded { why: Degradation::Lagging, since } if since == FIRST),
        "{lagging:?}"
    );
    let first_again = AfterFailure::Retry { failures: 1, delay: FIRST };
    assert_eq!(fail(&mut state, ErrorKind::Busy), first_again);
}
