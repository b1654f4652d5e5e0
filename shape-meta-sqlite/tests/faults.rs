//! Faults below: what they are called, and that nothing half-done stays.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    Change, ErrorKind, NewShape, ReadShapes, Remedy, Seq, ShapeStore, SnapshotState, conformance,
};
use shape_meta_sqlite::SqliteStore;

use crate::support;

#[test]
fn c9_a_database_that_somebody_else_holds_is_busy_and_then_works() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().busy_timeout(Duration::from_millis(500)));
    support::fill(&store, 1..=2);
    let stranger = support::stranger(directory.path());
    stranger.execute_batch("BEGIN IMMEDIATE").expect("it locks");
    let batch = support::batch(3, [support::add(3, SnapshotState::Complete)]);
    let error = store.apply(&batch).expect_err("it is locked");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(error.kind().remedy(), Remedy::Retry);
    assert_eq!(support::live(&store), [1, 2], "reads do not notice");
    stranger.execute_batch("ROLLBACK").expect("it unlocks");
    store.apply(&batch).expect("it is free");
    assert_eq!(support::live(&store), [1, 2, 3]);
}

#[test]
fn c8_what_the_database_refuses_for_good_is_named_and_the_batch_undone() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().max_row_bytes(10_000));
    support::fill(&store, 1..=2);
    let definition: Arc<[u8]> = vec![0; 20_000].into();
    let large = NewShape { definition, ..conformance::shape(4) };
    let poison = Change::Add { record: Arc::new(large.record(Seq::new(4))), state: SnapshotState::Pending };
    let good = [3, 5].map(|number| support::add(number, SnapshotState::Complete));
    let error = store
        .apply(&support::batch(5, [good[0].clone(), poison, good[1].clone()]))
        .expect_err("it is too large");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(4))));
    assert_eq!(support::live(&store), [1, 2], "all of it or nothing");
    store.apply(&support::batch(5, good)).expect("the others are fine");
    assert_eq!(support::live(&store), [1, 2, 3, 5]);
}

#[test]
fn c8_a_place_beyond_row_ids_is_named() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let beyond = Seq::new(u64::MAX);
    let record = Arc::new(conformance::shape(1).record(beyond));
    let add = Change::Add { record: record.clone(), state: SnapshotState::Pending };
    let error = store.apply(&support::batch(1, [add])).expect_err("no row id is so large");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(beyond)));
    assert!(store.record_of(&record.entry).expect("reads").is_none());
}

/// Breaks the tables under the store, as a stranger could.
fn breaking(store: &SqliteStore, sql: &str) -> rusqlite::Connection {
    let stranger = support::stranger(store.directory().expect("it is on disk"));
    stranger.execute_batch(sql).expect("the stranger may");
    stranger
}

#[test]
fn c9_after_a_failure_the_connection_is_opened_again_and_a_retry_goes_through() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=2);
    let stranger = breaking(&store, "ALTER TABLE definition RENAME TO hidden");
    let batch = support::batch(3, [support::add(3, SnapshotState::Complete)]);
    for _ in 0..3 {
        let error = store.apply(&batch).expect_err("a table is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    assert_eq!(store.scan().map(|_| ()).and_then(|()| store.counts()).expect("reads go on").total, 2);
    let error = store.record_of(&support::record(1).entry).expect_err("its table is missing");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    stranger.execute_batch("ALTER TABLE hidden RENAME TO definition").expect("the stranger may");
    store.apply(&batch).expect("all is well again");
    assert_eq!(support::live(&store), [1, 2, 3]);
    assert!(store.record_of(&support::record(1).entry).expect("reads").is_some());
}

#[test]
fn c9_a_retry_waits_for_readers_rather_than_believe_an_unsynced_log() {
    let directory = support::directory();
    let options = support::options().busy_timeout(Duration::from_millis(500));
    let store = support::open(directory.path(), options);
    support::fill(&store, 1..=2);
    let scan = store.scan().expect("it scans");
    support::fill(&store, 3..=3);
    let stranger = breaking(&store, "ALTER TABLE definition RENAME TO hidden");
    let batch = support::batch(4, [support::add(4, SnapshotState::Complete)]);
    assert_eq!(store.apply(&batch).expect_err("a table is missing").kind(), ErrorKind::Corrupt);
    stranger.execute_batch("ALTER TABLE hidden RENAME TO definition").expect("the stranger may");
    drop(stranger);

    assert_eq!(store.apply(&batch).expect_err("the scan uses the log").kind(), ErrorKind::Busy);
    drop(scan);
    store.apply(&batch).expect("nobody uses it");
    assert_eq!(support::live(&store), [1, 2, 3, 4]);
}

#[test]
fn c9_a_panic_in_an_observer_harms_nobody_else() {
    struct Panics(std::sync::atomic::AtomicBool);
    impl shape_meta_core::Observer for Panics {
        fn checkout(&self, checkout: &shape_meta_core::Checkout) {
            let panics =
                checkout.label == "apply" && self.0.swap(false, std::sync::atomic::Ordering::Relaxed);
            assert!(!panics, "on purpose");
        }
    }
    let (directory, observer) = (support::directory(), Arc::new(Panics(false.into())));
    let store = support::observed(directory.path(), support::options(), observer.clone());
    support::fill(&store, 1..=2);
    observer.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| support::fill(&store, 3..=3)));
    assert!(panicked.is_err());
    support::fill(&store, 3..=4);
    assert_eq!(support::live(&store), [1, 2, 3, 4]);
}

#[test]
fn a_damaged_row_is_said_to_be_damaged() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    let stranger = support::stranger(directory.path());
    for damage in
        ["key = x'00' WHERE id = 1", "handle = 'a' || char(10) WHERE id = 2", "handle = '' WHERE id = 2"]
    {
        stranger.execute(&format!("UPDATE shape SET {damage}"), []).expect("the stranger may");
        let error = store.load(&mut |_| {}).expect_err("a row is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

/// A copy of the files as they lie there, without the process that wrote them, is what a crash leaves.
#[test]
fn c6_a_crash_leaves_a_prefix() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().wal_autocheckpoint_bytes(50_000));
    for through in 1..=60 {
        support::fill(&store, through..=through);
        if through % 7 != 0 {
            continue;
        }
        let crashed = support::directory();
        for suffix in ["", "-wal"] {
            let name = format!("shape-meta.sqlite3{suffix}");
            std::fs::copy(directory.path().join(&name), crashed.path().join(&name)).expect("copies");
        }
        let reopened = support::open(crashed.path(), support::options());
        assert_eq!(reopened.report().last_seq, Seq::new(through));
        assert_eq!(support::live(&reopened), (1..=through).collect::<Vec<_>>());
    }
}
