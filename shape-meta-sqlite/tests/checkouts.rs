//! Connections: who gets one, what is told of it, and that none is kept for nothing.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{ErrorKind, ReadShapes, Relation, ShapeStore, Timestamp};
use shape_meta_sqlite::{Mode, SqliteStore};

use crate::support::{self, Recorder};

fn touch_everything(store: &SqliteStore) {
    let record = support::record(1);
    let handle = record.handle().as_str();
    support::fill(store, 1..=1);
    store.metadata(handle).expect("reads");
    store.handle_for(record.key()).expect("reads");
    let entry = store.entry(handle).expect("reads").expect("it is live");
    store.record(handle).expect("reads");
    store.handles_for_relations(&[Relation::new(1)]).expect("reads");
    store.counts().expect("reads");
    store.scan().expect("reads").for_each(drop);
    store.touch(handle, Timestamp::now()).expect("reads");
    store.least_recently_used(1, &Default::default()).expect("reads");
    store.last_seq().expect("reads");
    ShapeStore::load(store, &mut |_| {}).expect("reads");
    ShapeStore::record_of(store, &entry).expect("reads");
    store.recover().expect("recovers");
    store.ack_cleanup(&[record.handle().clone()]).expect("notes");
    store.maintain().expect("maintains");
    store.query_plans().expect("explains");
    store.stats().expect("counts");
}

#[test]
fn every_checkout_has_a_label_and_tells_its_queue_time() {
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
        "ack_cleanup",
        "maintain",
        "query_plans",
        "stats",
    ];
    for mode in [Mode::Wal, Mode::Exclusive] {
        let (directory, recorder) = (support::directory(), Arc::new(Recorder::default()));
        let store = support::observed(directory.path(), support::options().mode(mode), recorder.clone());
        touch_everything(&store);

        let checkouts = recorder.checkouts.lock().expect("no panic").clone();
        assert_eq!(checkouts.iter().map(|one| one.label).collect::<Vec<_>>(), labels, "{mode:?}");
        assert!(checkouts.iter().all(|one| one.active == 1 && one.queued < Duration::from_secs(60)));
        let checkins = recorder.checkins.lock().expect("no panic").clone();
        assert_eq!(checkins.iter().map(|one| one.label).collect::<Vec<_>>(), labels, "{mode:?}");
        assert!(checkins.iter().all(|one| one.active == 0 && one.error.is_none()));
    }
}

#[test]
fn an_operation_that_fails_is_told_to_have_failed() {
    let (directory, recorder) = (support::directory(), Arc::new(Recorder::default()));
    let store = support::observed(directory.path(), support::options(), recorder.clone());
    support::stranger(directory.path()).execute_batch("ALTER TABLE meta RENAME TO gone").expect("it renames");
    assert!(store.counts().is_err());
    assert!(store.scan().is_err());
    let checkins = recorder.checkins.lock().expect("no panic");
    for label in ["counts", "scan"] {
        let told = checkins.iter().find(|one| one.label == label).expect("told");
        assert!(told.error.is_some(), "{told:?}");
    }
}

#[test]
fn queue_time_is_how_long_it_queued() {
    let (directory, recorder) = (support::directory(), Arc::new(Recorder::default()));
    let store = support::observed(directory.path(), support::options().max_readers(1), recorder.clone());
    support::fill(&store, 1..=1);
    let scan = store.scan().expect("it scans");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.counts());
        let connections = || ShapeStore::resource_usage(&store).connections.expect("it has some");
        while connections().waiting == 0 {
            std::thread::yield_now();
        }
        // It can only be handed the connection after this, whenever it began to wait.
        std::thread::sleep(Duration::from_millis(20));
        drop(scan);
        waiting.join().expect("no panic").expect("it gets the connection");
    });
    assert_eq!(ShapeStore::resource_usage(&store).connections.expect("it has some").waiting, 0);
    let checkins = recorder.checkins.lock().expect("no panic");
    let checkouts = recorder.checkouts.lock().expect("no panic");
    for label in ["scan", "counts"] {
        let given_back = checkins.iter().find(|one| one.label == label).expect("told");
        let handed_out = checkouts.iter().find(|one| one.label == label).expect("told");
        assert_eq!(given_back.queued, handed_out.queued);
    }
    let queued = |label| checkouts.iter().find(|one| one.label == label).expect("told").queued;
    assert!(queued("scan") < Duration::from_secs(5));
    assert!(queued("counts") > Duration::ZERO);
    assert!(checkouts.iter().all(|one| one.active == 1), "one reader: never two in use");
}

#[test]
fn open_scans_count_as_active_and_a_full_pool_says_busy() {
    let directory = support::directory();
    let options = support::options().max_readers(2).checkout_timeout(Duration::from_millis(500));
    let store = support::open(directory.path(), options);
    support::fill(&store, 1..=3);
    let scans = [store.scan().expect("one"), store.scan().expect("two")];
    assert_eq!(store.stats().expect("counts").active, 2);
    let refused = store.counts().expect_err("both are in use");
    assert_eq!(refused.kind(), ErrorKind::Busy);
    insta::assert_snapshot!(refused);
    support::fill(&store, 4..=4);
    drop(scans);
    assert_eq!(store.counts().expect("one is free again").total, 4);
    assert_eq!(store.stats().expect("counts").active, 0);
}

#[test]
fn the_pool_shrinks_to_nothing_and_the_next_read_just_works() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    assert_eq!(store.stats().expect("counts").connections, 1, "nothing was read yet");
    for _ in 0..3 {
        assert_eq!(support::live(&store), [1, 2, 3]);
        assert!(store.stats().expect("counts").connections > 1);
        store.close_idle_readers();
        assert_eq!(store.stats().expect("counts").connections, 1);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn stores_share_their_threads() {
    let threads = || std::fs::read_dir("/proc/self/task").expect("Linux").count();
    let directories: Vec<_> = (0..50).map(|_| support::directory()).collect();
    let open = || -> Vec<_> {
        directories.iter().map(|directory| support::open(directory.path(), support::options())).collect()
    };
    let stores = open();
    stores.iter().for_each(|store| assert_eq!(store.counts().expect("reads").total, 0));
    // Other tests start and end threads beside this one: far fewer than fifty.
    let with_stores = threads();
    drop(stores);
    assert!(with_stores < threads() + 25, "fifty stores cost {with_stores} threads");
}
