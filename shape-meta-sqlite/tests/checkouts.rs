//! Connections of the pool: checkouts, their instrumentation, and idle connections.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{ErrorKind, ReadShapes, Relation, ShapeStore, Timestamp};
use shape_meta_sqlite::{Mode, SqliteStore};

use crate::support::{self, Recorder};

fn call_every_operation(store: &SqliteStore) {
    let record = support::record(1);
    let handle = record.handle().as_str();
    support::fill(store, 1..=1);
    store.metadata(handle).expect("reads");
    store.handle_for(record.key()).expect("reads");
    let entry = store.entry(handle).expect("reads").expect("the shape is live");
    store.record(handle).expect("reads");
    store.handles_for_relations(&[Relation::new(1)]).expect("reads");
    store.counts().expect("reads");
    store.scan().expect("reads").for_each(drop);
    store.touch(handle, Timestamp::now()).expect("reads");
    store.least_recently_used(1, &Default::default()).expect("reads");
    store.last_seq().expect("reads");
    ShapeStore::load(store, &mut |_| {}).expect("reads");
    ShapeStore::record_of(store, &entry).expect("reads");
    store.recover().expect("the recovery succeeds");
    store.add_orphans(&[record.handle().clone()]).expect("the task is stored");
    let tasks = store.cleanup_tasks(None, 1).expect("reads");
    store.ack_cleanup(&tasks).expect("the acknowledgement is stored");
    store.trust_storage().expect("stored");
    store.maintain().expect("maintains");
    let copy = support::directory();
    store.backup(copy.path(), |_| std::ops::ControlFlow::Continue(())).expect("copies");
    store.query_plans().expect("explains");
    store.stats().expect("counts");
}

#[test]
fn every_checkout_has_a_label_and_a_queue_time() {
    let labels = [
        "apply",
        "metadata",
        "handle_for",
        "entry",
        "record",
        "handles_for_relations",
        "counts",
        "scan",
        "touch",
        "least_recently_used",
        "last_seq",
        "load",
        "record_of",
        "recover",
        "add_orphans",
        "cleanup_tasks",
        "ack_cleanup",
        "trust_storage",
        "maintain",
        "backup",
        "query_plans",
        "stats",
    ];
    for mode in [Mode::Wal, Mode::Exclusive] {
        let (directory, recorder) = (support::directory(), Arc::new(Recorder::default()));
        let store = support::open_observed(directory.path(), support::options().mode(mode), recorder.clone());
        call_every_operation(&store);

        let checkouts = recorder.checkouts.lock().expect("no thread panicked").clone();
        assert_eq!(checkouts.iter().map(|one| one.label).collect::<Vec<_>>(), labels, "{mode:?}");
        assert!(checkouts.iter().all(|one| one.active == 1 && one.queued < Duration::from_secs(60)));
        let checkins = recorder.checkins.lock().expect("no thread panicked").clone();
        assert_eq!(checkins.iter().map(|one| one.label).collect::<Vec<_>>(), labels, "{mode:?}");
        assert!(checkins.iter().all(|one| one.active == 0 && one.error.is_none()));
    }
}

#[test]
fn a_failed_operation_checks_in_with_its_error() {
    let (directory, recorder) = (support::directory(), Arc::new(Recorder::default()));
    let store = support::open_observed(directory.path(), support::options(), recorder.clone());
    support::raw_connection(directory.path())
        .execute_batch("ALTER TABLE meta RENAME TO gone")
        .expect("the table is renamed");
    assert!(store.counts().is_err());
    assert!(store.scan().is_err());
    let checkins = recorder.checkins.lock().expect("no thread panicked");
    for label in ["counts", "scan"] {
        let checkin = checkins.iter().find(|one| one.label == label).expect("the observer was called");
        assert!(checkin.error.is_some(), "{checkin:?}");
    }
}

#[test]
fn queue_time_is_the_time_spent_waiting() {
    let (directory, recorder) = (support::directory(), Arc::new(Recorder::default()));
    let store = support::open_observed(directory.path(), support::options().max_readers(1), recorder.clone());
    support::fill(&store, 1..=1);
    let scan = store.scan().expect("the scan opens");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.counts());
        let connections =
            || ShapeStore::resource_usage(&store).connections.expect("the store has connections");
        while connections().waiting == 0 {
            std::thread::yield_now();
        }
        // The waiter cannot get the connection before this point, whenever it began to wait.
        std::thread::sleep(Duration::from_millis(20));
        drop(scan);
        waiting.join().expect("no thread panicked").expect("the waiting read gets the connection");
    });
    assert_eq!(ShapeStore::resource_usage(&store).connections.expect("the store has connections").waiting, 0);
    let checkins = recorder.checkins.lock().expect("no thread panicked");
    let checkouts = recorder.checkouts.lock().expect("no thread panicked");
    for label in ["scan", "counts"] {
        let checkin = checkins.iter().find(|one| one.label == label).expect("the observer was called");
        let checkout = checkouts.iter().find(|one| one.label == label).expect("the observer was called");
        assert_eq!(checkin.queued, checkout.queued);
    }
    let queued =
        |label| checkouts.iter().find(|one| one.label == label).expect("the observer was called").queued;
    assert!(queued("scan") < Duration::from_secs(5));
    assert!(queued("counts") > Duration::ZERO);
    assert!(checkouts.iter().all(|one| one.active == 1), "with one reader, at most one is active");
}

#[test]
fn open_scans_count_as_active_and_a_full_pool_is_busy() {
    let directory = support::directory();
    let options = support::options().max_readers(2).checkout_timeout(Duration::from_millis(500));
    let store = support::open(directory.path(), options);
    support::fill(&store, 1..=3);
    let scans = [store.scan().expect("the first scan opens"), store.scan().expect("the second scan opens")];
    assert_eq!(store.stats().expect("counts").active, 2);
    let error = store.counts().expect_err("both connections are in use");
    assert_eq!(error.kind(), ErrorKind::Busy);
    insta::assert_snapshot!(error);
    support::fill(&store, 4..=4);
    drop(scans);
    assert_eq!(store.counts().expect("a connection is free again").total, 4);
    assert_eq!(store.stats().expect("counts").active, 0);
}

#[test]
fn the_pool_shrinks_to_zero_and_the_next_read_reopens_it() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    assert_eq!(store.stats().expect("counts").connections, 1, "no reader is opened before the first read");
    for _ in 0..3 {
        assert_eq!(support::live(&store), [1, 2, 3]);
        assert!(store.stats().expect("counts").connections > 1);
        store.close_idle_readers();
        assert_eq!(store.stats().expect("counts").connections, 1);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_store_has_no_thread_of_its_own() {
    let threads = || std::fs::read_dir("/proc/self/task").expect("/proc is readable").count();
    let directories: Vec<_> = (0..50).map(|_| support::directory()).collect();
    let open = || -> Vec<_> {
        directories.iter().map(|directory| support::open(directory.path(), support::options())).collect()
    };
    let stores = open();
    stores.iter().for_each(|store| assert_eq!(store.counts().expect("reads").total, 0));
    // Other tests in this process start and end threads meanwhile: far fewer than fifty.
    let with_stores = threads();
    drop(stores);
    assert!(with_stores < threads() + 25, "fifty stores cost {with_stores} threads");
}
