use std::time::{Duration, Instant};

use shape_meta_core::{Degradation, Error, ErrorKind, HealthState};

use crate::write_state::{AfterFailure, NextAttempt, WriteState};

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(35);

fn fail(state: &mut WriteState, kind: ErrorKind) -> AfterFailure {
    state.flush_failed(&Error::new(kind, "the test lets this fail"), (FIRST, LONGEST), Instant::now())
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
        assert!(state.next_attempt() == NextAttempt::Never && state.stop_error().is_some());
    }
}

#[test]
fn i8_health_and_gate_agree_while_the_store_is_repaired() {
    let mut state = WriteState::default();
    fail(&mut state, ErrorKind::Corrupt);
    state.begin_repair().expect("open");
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Corrupt)));
    state.repair_failed();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Corrupt)));

    state.begin_repair().expect("open");
    state.repaired();
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::Busy)));
    fail(&mut state, ErrorKind::StorageFull);
    assert_eq!(observe(&state), ("stopped", Some(ErrorKind::StorageFull)));
    state.begin_repair().expect("open");
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
    state.begin_repair().expect("open");
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
        let NextAttempt::At(at) = state.next_attempt() else { panic!("no retry") };
        assert!(at >= before + delay && at <= Instant::now() + delay);
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

/// Plays five seconds on a full disk, on a clock of the test, and returns the number of attempts.
fn attempts(backoff: (Duration, Duration), requests: usize) -> usize {
    let (mut state, start) = (WriteState::default(), Instant::now());
    let (mut now, mut attempts) = (start, 0);
    while now < start + Duration::from_secs(5) {
        attempts += 1;
        state.flush_failed(&Error::new(ErrorKind::StorageFull, "the test lets this fail"), backoff, now);
        (0..requests).for_each(|_| state.shorten_backoff());
        let NextAttempt::At(at) = state.next_attempt() else { break };
        now = at;
    }
    attempts
}

#[test]
fn c7_requests_merge_and_do_not_undo_the_back_off() {
    let default = (FIRST, Duration::from_secs(5));
    assert_eq!([attempts(default, 0), attempts(default, 1), attempts(default, 10_000)], [9, 11, 11]);
    let never = (Duration::MAX, Duration::MAX);
    assert_eq!([attempts(never, 0), attempts(never, 1), attempts(never, 10_000)], [1, 5, 5]);
    assert_eq!(attempts((LONGEST, LONGEST), 0), attempts((LONGEST, LONGEST), 10_000), "not shortened");
}

/// Close ends a back-off at once, and only one.
#[test]
fn c10_close_ends_one_back_off_at_once() {
    let hour = Duration::from_secs(3_600);
    let mut state = WriteState::default();
    let error = Error::new(ErrorKind::Io, "the test lets this fail");
    state.flush_failed(&error, (hour, hour), Instant::now());
    state.begin_close();
    assert!(matches!(state.next_attempt(), NextAttempt::At(at) if at <= Instant::now()));
    state.flush_failed(&error, (hour, hour), Instant::now());
    state.begin_close();
    assert!(matches!(state.next_attempt(), NextAttempt::At(at) if at > Instant::now() + hour / 2));
}

/// Close outranks a repair: whichever way the repair ends, the store stays closed.
#[test]
fn i8_close_during_a_repair_outranks_it() {
    for succeeds in [true, false] {
        let mut state = WriteState::default();
        state.begin_repair().expect("open");
        state.begin_close();
        assert_eq!(observe(&state), ("closing", Some(ErrorKind::Closed)));
        if succeeds {
            state.repaired();
            assert!(state.is_recovering(), "pending changes are still to be written");
            state.recovered();
        } else {
            state.repair_failed();
        }
        assert_eq!(observe(&state), ("closing", Some(ErrorKind::Closed)));
        assert_eq!(state.begin_repair().expect_err("closing").kind(), ErrorKind::Closed);
        state.closed();
        assert_eq!(observe(&state), ("closed", Some(ErrorKind::Closed)));
    }
}
