//! Failures of SQLite: their error kinds, and that no partial batch stays.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    Change, ErrorKind, NewShape, ReadShapes, Remedy, Seq, ShapeStore, SnapshotState, conformance,
};
use shape_meta_sqlite::SqliteStore;

use crate::support;

#[test]
fn c9_a_commit_to_a_locked_database_is_busy_and_can_be_retried() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().busy_timeout(Duration::from_millis(500)));
    support::fill(&store, 1..=2);
    let connection = support::raw_connection(directory.path());
    connection.execute_batch("BEGIN IMMEDIATE").expect("the lock is taken");
    let batch = support::batch(3, [support::add(3, SnapshotState::Complete)]);
    let error = store.apply(&batch).expect_err("the database is locked");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(error.kind().remedy(), Remedy::Retry);
    assert_eq!(support::live(&store), [1, 2], "reads go on");
    connection.execute_batch("ROLLBACK").expect("the lock is released");
    store.apply(&batch).expect("the lock is released");
    assert_eq!(support::live(&store), [1, 2, 3]);
}

#[test]
fn c8_a_rejected_change_is_named_and_the_batch_rolled_back() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().max_row_bytes(10_000));
    support::fill(&store, 1..=2);
    let definition: Arc<[u8]> = vec![0; 20_000].into();
    let large = NewShape { definition, ..conformance::shape(4) };
    let rejected = Change::Add { record: Arc::new(large.record(Seq::new(4))), state: SnapshotState::Pending };
    let good = [3, 5].map(|number| support::add(number, SnapshotState::Complete));
    let error = store
        .apply(&support::batch(5, [good[0].clone(), rejected, good[1].clone()]))
        .expect_err("the row is too large");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(4))));
    assert_eq!(support::live(&store), [1, 2], "a batch is atomic");
    store.apply(&support::batch(5, good)).expect("the other changes apply");
    assert_eq!(support::live(&store), [1, 2, 3, 5]);
}

#[test]
fn c8_a_sequence_number_beyond_row_ids_is_rejected_by_name() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let beyond = Seq::new(u64::MAX);
    let record = Arc::new(conformance::shape(1).record(beyond));
    let add = Change::Add { record: record.clone(), state: SnapshotState::Pending };
    let error = store.apply(&support::batch(1, [add])).expect_err("row ids are signed 64-bit integers");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(beyond)));
    assert!(store.record_of(&record.entry).expect("reads").is_none());
}

/// Runs a statement on the database of an open store, from outside of the store.
fn run_externally(store: &SqliteStore, sql: &str) -> rusqlite::Connection {
    let connection = support::raw_connection(store.directory().expect("the store has a directory"));
    connection.execute_batch(sql).expect("the statement runs");
    connection
}

#[test]
fn c9_a_retry_after_a_failure_opens_a_new_connection() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=2);
    let connection = run_externally(&store, "ALTER TABLE definition RENAME TO hidden");
    let batch = support::batch(3, [support::add(3, SnapshotState::Complete)]);
    for _ in 0..3 {
        let error = store.apply(&batch).expect_err("a table is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    assert_eq!(store.scan().map(|_| ()).and_then(|()| store.counts()).expect("reads go on").total, 2);
    let error = store.record_of(&support::record(1).entry).expect_err("the table is missing");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    connection.execute_batch("ALTER TABLE hidden RENAME TO definition").expect("the statement runs");
    store.apply(&batch).expect("the table is back");
    assert_eq!(support::live(&store), [1, 2, 3]);
    assert!(store.record_of(&support::record(1).entry).expect("reads").is_some());
}

#[test]
fn c9_a_retry_waits_for_readers_before_it_trusts_the_wal() {
    let directory = support::directory();
    let options = support::options().busy_timeout(Duration::from_millis(500));
    let store = support::open(directory.path(), options);
    support::fill(&store, 1..=2);
    let scan = store.scan().expect("the scan opens");
    support::fill(&store, 3..=3);
    let connection = run_externally(&store, "ALTER TABLE definition RENAME TO hidden");
    let batch = support::batch(4, [support::add(4, SnapshotState::Complete)]);
    assert_eq!(store.apply(&batch).expect_err("a table is missing").kind(), ErrorKind::Corrupt);
    connection.execute_batch("ALTER TABLE hidden RENAME TO definition").expect("the statement runs");
    drop(connection);

    assert_eq!(store.apply(&batch).expect_err("the scan blocks the checkpoint").kind(), ErrorKind::Busy);
    drop(scan);
    store.apply(&batch).expect("no reader blocks the checkpoint");
    assert_eq!(support::live(&store), [1, 2, 3, 4]);
}

#[test]
fn c9_a_panic_in_an_observer_does_not_break_the_store() {
    struct Panics(std::sync::atomic::AtomicBool);
    impl shape_meta_core::Observer for Panics {
        fn checkout(&self, checkout: &shape_meta_core::Checkout) {
            let panics =
                checkout.label == "apply" && self.0.swap(false, std::sync::atomic::Ordering::Relaxed);
            assert!(!panics, "on purpose");
        }
    }
    let (directory, observer) = (support::directory(), Arc::new(Panics(false.into())));
    let store = support::open_observed(directory.path(), support::options(), observer.clone());
    support::fill(&store, 1..=2);
    observer.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| support::fill(&store, 3..=3)));
    assert!(panicked.is_err());
    support::fill(&store, 3..=4);
    assert_eq!(support::live(&store), [1, 2, 3, 4]);
}

#[test]
fn a_damaged_row_is_reported_as_corrupt() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    let connection = support::raw_connection(directory.path());
    for assignment in
        ["key = x'00' WHERE id = 1", "handle = 'a' || char(10) WHERE id = 2", "handle = '' WHERE id = 2"]
    {
        connection.execute(&format!("UPDATE shape SET {assignment}"), []).expect("the statement runs");
        let error = store.load(&mut |_| {}).expect_err("a row is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

/// A copy of the files of an open store is what a crash of its process leaves.
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
