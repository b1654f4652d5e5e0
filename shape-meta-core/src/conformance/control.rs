//! The checks of a composition with [`StoreControl`].

use std::time::Duration;

use super::{
    CompositionFixture, View,
    assertions::{TIMEOUT, WAIT, add, mark, remove},
    sample::{handle, shape},
};
use crate::{
    AwaitShapes, AwaitShapesExt, ErrorKind, HealthState, Milestone, MutateError, MutateShapesExt, NotDurable,
    NotReached, Pending, SnapshotState, StoreControl,
};

/// When a flush returns, every mutation that was accepted before is durable, and nothing is pending.
pub fn c6_a_flush_is_durable_when_it_returns<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    assert!(matches!(store.health().state, HealthState::Ready));
    assert!(store.flush(TIMEOUT).is_ok(), "a flush of an empty store succeeds");
    for round in 0..3 {
        let receipts = [
            add(&store, &shape(round)),
            mark(&store, &handle(round), SnapshotState::Complete),
            add(&store, &shape(99)),
            remove(&store, &handle(99)),
        ];
        let outcome = store.flush(TIMEOUT);
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(receipts.iter().all(|receipt| receipt.is_durable()));
        assert_eq!(store.pending(), Pending::default());
        assert!(matches!(store.health().state, HealthState::Ready));
        assert!(store.drain_rate() >= 0.0);
    }
}

/// A flush can be requested without waiting. Its receipt covers every mutation that was accepted before.
pub fn c6_a_requested_flush_completes_its_receipt<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    let added = add(&store, &shape(1));
    let requested = store.request_flush();
    assert!(requested.seq() >= added.seq());
    // A composition without a flusher thread flushes here.
    fixture.flush(&store);
    assert!(requested.wait_durable(TIMEOUT).is_ok());
    assert!(added.is_durable());
}

/// A close ends the waits for what no shape reaches any more, and later ones.
pub fn c10_close_ends_every_wait<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    std::thread::scope(|scope| {
        let waits = [Milestone::Snapshot(SnapshotState::Started), Milestone::Removed].map(|milestone| {
            let store = &store;
            scope.spawn(move || store.wait_for_timeout(&handle(1), milestone, TIMEOUT))
        });
        while store.shape_waits().len() < waits.len() {
            std::thread::yield_now();
        }
        assert!(store.close(TIMEOUT).is_complete());
        for wait in waits {
            let ended = wait.join().expect("a wait panicked");
            assert!(matches!(ended, Err(NotReached::Closed)), "{ended:?}");
        }
    });
    let later = store.wait_for_timeout(&handle(1), SnapshotState::Started, TIMEOUT);
    assert!(matches!(later, Err(NotReached::Closed)), "{later:?}");
    assert!(store.wait_for_timeout(&handle(1), Milestone::Durable, TIMEOUT).is_ok());
}

/// While flushing is paused, `pending` reports the number, size, age and net effect of pending changes, and a
/// flush times out.
pub fn c7_pending_changes_are_reported<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
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

/// Closing writes every pending change, also while paused, and reports it. Later mutations fail, and reads go
/// on. Closing again returns the same report.
pub fn c10_close_writes_everything_and_reports<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    for paused in [false, true] {
        let store = fixture.open();
        add(&store, &shape(1));
        fixture.flush(&store);
        if paused && !fixture.pause(&store) {
            return;
        }
        let receipts = [add(&store, &shape(2)), add(&store, &shape(3)), remove(&store, &handle(1))];
        let view = View::of(&store);
        let report = store.close(TIMEOUT);
        assert!(report.is_complete() && report.lost.is_empty() && report.error.is_none(), "{report:?}");
        assert!(receipts.iter().all(|receipt| receipt.is_durable()));
        if paused {
            assert_eq!(report.flushed, 3, "{report:?}");
        }

        assert!(matches!(store.health().state, HealthState::Closed));
        assert_eq!(store.pending(), Pending::default());
        for outcome in [
            store.add(shape(4), WAIT).map(|_| ()),
            store.get_or_add(&shape(5), WAIT).map(|_| ()),
            store.remove(&handle(2), WAIT).map(|_| ()),
            store.reset(WAIT).map(|_| ()),
        ] {
            match outcome {
                Err(MutateError::Failed(error)) => assert_eq!(error.kind(), ErrorKind::Closed),
                other => panic!("C10: a closed store accepts no mutation: {other:?}"),
            }
        }
        assert_eq!(View::of(&store), view, "C10: reads go on");
        let again = store.close(TIMEOUT);
        assert_eq!((again.flushed, again.unwritten), (report.flushed, report.unwritten));
    }
}
