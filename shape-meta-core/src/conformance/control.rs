//! What every composition with [`StoreControl`] must do besides.

use std::time::Duration;

use super::{
    Check, Fixture, View,
    act::{LONG, PATIENT, add, mark, remove},
    sample::{handle, shape},
};
use crate::{
    ErrorKind, HealthState, MutateError, MutateShapesExt, NotDurable, Pending, SnapshotState, StoreControl,
};

/// Runs every check.
///
/// # Panics
///
/// If the composition does not conform. Which check it was is printed to standard error.
pub fn run_all<F: Fixture<Store: StoreControl>>(fixture: &F) {
    for (name, check) in checks() {
        eprintln!("conformance of the way to disk: {name}");
        check(fixture);
    }
}

/// All checks with their names.
pub fn checks<F: Fixture<Store: StoreControl>>() -> Vec<Check<F>> {
    vec![
        ("c6_a_flush_is_durable_when_it_returns", c6_a_flush_is_durable_when_it_returns),
        ("c6_a_requested_flush_can_be_waited_for", c6_a_requested_flush_can_be_waited_for),
        ("c7_what_is_pending_is_told", c7_what_is_pending_is_told),
        ("c10_close_writes_everything_and_tells", c10_close_writes_everything_and_tells),
    ]
}

/// When a flush returns, all that was accepted before is durable and nothing is pending.
pub fn c6_a_flush_is_durable_when_it_returns<F: Fixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    assert!(matches!(store.health().state, HealthState::Ready));
    assert!(store.flush(LONG).is_ok(), "there is nothing to do");
    for round in 0..3 {
        let receipts = [
            add(&store, &shape(round)),
            mark(&store, &handle(round), SnapshotState::Complete),
            add(&store, &shape(99)),
            remove(&store, &handle(99)),
        ];
        let outcome = store.flush(LONG);
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(receipts.iter().all(|receipt| receipt.is_durable()));
        assert_eq!(store.pending(), Pending::default());
        assert!(matches!(store.health().state, HealthState::Ready));
        assert!(store.drain_rate() >= 0.0);
    }
}

/// A flush can be asked for without waiting; its receipt covers all that was accepted before.
pub fn c6_a_requested_flush_can_be_waited_for<F: Fixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    let added = add(&store, &shape(1));
    let requested = store.request_flush();
    assert!(requested.seq() >= added.seq());
    // Where no thread flushes, this does.
    fixture.flush(&store);
    assert!(requested.wait_durable(LONG).is_ok());
    assert!(added.is_durable());
}

/// While flushing is paused, what is pending is told: how much, how old, and what it will come to; a
/// flush does not get through.
pub fn c7_what_is_pending_is_told<F: Fixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    for number in 1..=3 {
        add(&store, &shape(number));
    }
    fixture.flush(&store);
    assert_eq!(store.pending(), Pending::default());
    if !fixture.pause(&store) {
        return;
    }
    remove(&store, &handle(1));
    remove(&store, &handle(2));
    mark(&store, &handle(3), SnapshotState::Started);
    let pending = store.pending();
    assert_eq!((pending.mutations, pending.net), (3, -2), "{pending:?}");
    assert!(pending.shapes > 0 && pending.bytes > 0 && pending.oldest.is_some(), "{pending:?}");
    for number in 4..=7 {
        add(&store, &shape(number));
    }
    let more = store.pending();
    assert_eq!((more.mutations, more.net), (7, 2), "{more:?}");
    assert!(more.shapes > pending.shapes && more.bytes > pending.bytes, "{more:?} after {pending:?}");
    let outcome = store.flush(Duration::from_millis(1));
    assert!(matches!(outcome, Err(NotDurable::TimedOut)), "{outcome:?}");

    fixture.resume(&store);
    fixture.flush(&store);
    assert_eq!(store.pending(), Pending::default());
}

/// Closing writes all that is pending, also while paused, and says so; then mutations fail, and reads go
/// on. Closing again tells the same.
pub fn c10_close_writes_everything_and_tells<F: Fixture<Store: StoreControl>>(fixture: &F) {
    for paused in [false, true] {
        let store = fixture.open();
        add(&store, &shape(1));
        fixture.flush(&store);
        if paused && !fixture.pause(&store) {
            return;
        }
        let receipts = [add(&store, &shape(2)), add(&store, &shape(3)), remove(&store, &handle(1))];
        let view = View::of(&store);
        let report = store.close(LONG);
        assert!(report.is_complete() && report.lost.is_empty() && report.error.is_none(), "{report:?}");
        assert!(receipts.iter().all(|receipt| receipt.is_durable()));
        if paused {
            assert_eq!(report.flushed, 3, "{report:?}");
        }

        assert!(matches!(store.health().state, HealthState::Closed));
        assert_eq!(store.pending(), Pending::default());
        for outcome in [
            store.add(shape(4), PATIENT).map(|_| ()),
            store.get_or_add(&shape(5), PATIENT).map(|_| ()),
            store.remove(&handle(2), PATIENT).map(|_| ()),
            store.reset(PATIENT).map(|_| ()),
        ] {
            match outcome {
                Err(MutateError::Failed(error)) => assert_eq!(error.kind(), ErrorKind::Closed),
                other => panic!("C10: a closed store accepts nothing: {other:?}"),
            }
        }
        assert_eq!(View::of(&store), view, "reads go on");
        let again = store.close(LONG);
        assert_eq!((again.flushed, again.unwritten), (report.flushed, report.unwritten));
    }
}
