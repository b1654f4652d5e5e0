//! C11: nothing is destroyed without ownership.

use shape_meta_core::{ErrorKind, ReadShapes, ShapeStore, SnapshotState};
use shape_meta_sqlite::{Inspector, Mode, OnLiveOwner};

use crate::support;

#[test]
fn c11_a_second_owner_is_refused_until_the_first_has_closed() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let options = support::options().mode(mode);
        let store = support::open(directory.path(), options.clone());
        support::fill(&store, 1..=3);
        let error = support::open_error(directory.path(), options.clone());
        assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{mode:?}");
        support::fill(&store, 4..=5);
        drop(store);
        let store = support::open(directory.path(), options.clone());
        assert_eq!(store.counts().expect("reads").total, 5);
        assert_eq!(store.report().epoch, 2);

        store.close().expect("closes");
        let next = support::open(directory.path(), options);
        assert_eq!(next.report().epoch, 3, "close releases ownership before the store is dropped");
    }
}

#[test]
fn c11_a_fenced_owner_writes_nothing() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    store
        .apply(&support::batch(1, [support::add(1, SnapshotState::Pending)]))
        .expect("the store is the owner");
    // A new owner on a system where the lock does not keep it out.
    support::raw_connection(directory.path())
        .execute("UPDATE meta SET epoch = epoch + 1, checksum = NULL", [])
        .expect("writes");

    let remove = shape_meta_core::Change::Remove { entry: support::record(1).entry.clone() };
    for batch in [
        support::batch(2, [remove, support::add(2, SnapshotState::Complete)]),
        support::batch(2, [shape_meta_core::Change::Reset]),
        support::batch(2, []),
    ] {
        let error = store.apply(&batch).expect_err("the store is fenced");
        assert_eq!(error.kind(), ErrorKind::Fenced);
    }
    assert_eq!(store.recover().expect_err("every write is fenced").kind(), ErrorKind::Fenced);
    let cleaned = store.add_orphans(&[support::record(1).handle().clone()]);
    assert_eq!(cleaned.expect_err("every write is fenced").kind(), ErrorKind::Fenced);
    assert_eq!(support::live(&store), [1], "reads go on, and nothing is written");
    assert_eq!(store.last_seq().expect("reads").get(), 1);
}

#[test]
fn c11_exclusive_mode_locks_the_database() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().mode(Mode::Exclusive));
    let connection = support::raw_connection(directory.path());
    let error =
        connection.query_row("SELECT * FROM meta", [], |_| Ok(())).expect_err("the database is locked");
    assert!(error.to_string().contains("locked"), "{error}");
    drop(store);
    connection.query_row("SELECT * FROM meta", [], |_| Ok(())).expect("the lock is released");
}

#[test]
fn a_closed_store_reports_that_it_is_closed() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options().mode(mode));
        support::fill(&store, 1..=3);
        let scan = store.scan().expect("the scan opens");
        store.close().expect("closes");
        store.close().expect("a second close succeeds");
        assert_eq!(scan.count(), 3, "an open scan goes on");
        assert_eq!(store.counts().expect_err("the store is closed").kind(), ErrorKind::Closed);
        assert_eq!(
            store.apply(&support::batch(4, [])).expect_err("the store is closed").kind(),
            ErrorKind::Closed
        );
    }
}

#[test]
fn c11_a_takeover_of_a_stopped_owner_says_what_to_end() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    // As an owner that was stopped inside a commit: its write lock stays.
    let stopped = support::raw_connection(directory.path());
    stopped.execute_batch("BEGIN IMMEDIATE").expect("the write lock is free");
    let fence = support::options()
        .on_live_owner(OnLiveOwner::Fence)
        .busy_timeout(std::time::Duration::from_millis(50));
    let error = support::open_error(directory.path(), fence.clone());
    assert_eq!(error.kind(), ErrorKind::Busy);
    let text = error.to_string();
    assert!(text.contains("End that process") && text.contains("stopped or hangs inside a commit"), "{text}");
    stopped.execute_batch("ROLLBACK").expect("rolls back");
    support::open(directory.path(), fence);
}

#[test]
fn c11_the_liveness_of_an_owner_is_unknown_where_locks_may_not_reach() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let is_live = || Inspector::open(directory.path()).expect("opens").owner().expect("reads").is_live;
    assert_eq!(is_live(), Some(true));
    store.close().expect("closes");
    assert_eq!(is_live(), Some(false));
    // The latest owner was on another host, where the lock may be held.
    support::raw_connection(directory.path())
        .execute("UPDATE owner SET host = 'elsewhere'", [])
        .expect("writes");
    assert_eq!(is_live(), None);
    let store = support::open(directory.path(), support::options());
    support::raw_connection(directory.path())
        .execute("UPDATE owner SET host = 'elsewhere'", [])
        .expect("writes");
    assert_eq!(is_live(), Some(true), "a lock that is held says enough");
    drop(store);
}
