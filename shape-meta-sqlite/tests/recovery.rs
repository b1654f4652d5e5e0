//! Recovery at open: incomplete shapes are removed, and handed to the cleaner until it acknowledges them.

use std::{
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
};

use shape_meta_core::{
    Checkin, Counts, ErrorKind, Handle, Observer, ReadShapes, Seq, ShapeStore, ShapeStoreExt, SnapshotState,
    Timestamp, conformance,
};
use shape_meta_sqlite::{CleanupTask, DiskIndexes, Mode, OnCorruption, Recovery, SqliteStore};

use crate::support;

fn handles(numbers: &[u64]) -> Vec<Handle> {
    numbers.iter().copied().map(conformance::handle).collect()
}

fn all_tasks(store: &SqliteStore) -> Vec<CleanupTask> {
    store.cleanup_tasks(None, usize::MAX).expect("reads")
}

fn tasks(store: &SqliteStore) -> Vec<Handle> {
    all_tasks(store).iter().map(|task| task.handle().clone()).collect()
}

#[test]
fn recovery_removes_incomplete_shapes_from_every_table() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = support::directory();
        let options = support::options().disk_indexes(disk_indexes);
        let store = support::open(directory.path(), options.clone());
        let states = [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete];
        let adds = (1..=9).map(|number| support::add(number, states[number as usize % 3]));
        store.apply(&support::batch(9, adds)).expect("the batch applies");
        drop(store);

        let store = support::open(directory.path(), options.clone());
        let recovery = store.recover().expect("the recovery succeeds");
        let removed = handles(&[1, 3, 4, 6, 7, 9]);
        assert_eq!(
            recovery,
            Recovery { valid: 3, removed: removed.clone(), cleanup_tasks: 6, quarantined: None }
        );
        assert_eq!(tasks(&store), removed);
        assert_eq!(support::live(&store), [2, 5, 8]);
        assert_eq!(store.counts().expect("reads").total, 3);
        assert_eq!(store.last_seq().expect("reads").get(), 9, "a recovery has no sequence number");

        let connection = support::raw_connection(directory.path());
        let rows = |table| -> i64 {
            connection
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
                .expect("counts")
        };
        // One block, which has the definitions of the removed shapes, too.
        assert_eq!((rows("shape"), rows("definition"), rows("cleanup")), (3, 1, 6));
        if disk_indexes == DiskIndexes::Maintained {
            assert_eq!((rows("handle_lookup"), rows("key_lookup")), (3, 3));
            for handle in &removed {
                assert_eq!(store.metadata(handle).expect("reads"), None);
            }
        }

        let second = store.recover().expect("the recovery succeeds");
        assert_eq!(
            second,
            Recovery { valid: 3, removed: vec![], cleanup_tasks: 6, quarantined: None },
            "a second recovery changes nothing (I6)"
        );
        assert_eq!(tasks(&store), removed);
    }
}

#[test]
fn handles_are_returned_until_their_cleanup_is_acknowledged() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let adds = [1, 2, 3].map(|number| support::add(number, SnapshotState::Started));
    store.apply(&support::batch(3, adds)).expect("the batch applies");
    store.recover().expect("the recovery succeeds");
    // The process ends before the cleaner has acknowledged.
    drop(store);

    let store = support::open(directory.path(), support::options());
    let recovery = store.recover().expect("the recovery succeeds");
    assert_eq!((recovery.removed, recovery.cleanup_tasks), (vec![], 3));
    assert_eq!(tasks(&store), handles(&[1, 2, 3]));
    let [one, _, three] = &all_tasks(&store)[..] else { panic!("there are three") };
    store.ack_cleanup(&[one.clone(), three.clone()]).expect("the acknowledgement is stored");
    store.ack_cleanup(std::slice::from_ref(one)).expect("acknowledging twice is harmless (I6)");
    drop(store);

    let store = support::open(directory.path(), support::options());
    store.recover().expect("the recovery succeeds");
    assert_eq!(tasks(&store), handles(&[2]));
    store.ack_cleanup(&all_tasks(&store)).expect("the acknowledgement is stored");
    assert_eq!(store.recover().expect("the recovery succeeds"), Recovery::default());
    assert_eq!(store.counts().expect("reads"), Counts::default());
}

#[test]
fn a_recovery_is_reported_to_the_observer() {
    #[derive(Default)]
    struct RecoveryLog(Mutex<Vec<(u64, usize)>>);
    impl Observer for RecoveryLog {
        fn recovered(&self, recovered: &shape_meta_core::RecoveryStats) {
            self.0.lock().expect("no thread panicked").push((recovered.valid, recovered.removed));
        }
    }
    let (directory, log) = (support::directory(), Arc::new(RecoveryLog::default()));
    let store = support::open_observed(directory.path(), support::options(), log.clone());
    support::fill(&store, 1..=2);
    store.apply(&support::batch(3, [support::add(3, SnapshotState::Pending)])).expect("the batch applies");
    store.recover().expect("the recovery succeeds");
    assert_eq!(*log.0.lock().expect("no thread panicked"), [(2, 1)]);
}

/// Returns what a cache loads: sequence numbers, states and last reads, and the last sequence number.
fn load(store: &SqliteStore) -> (Vec<(u64, SnapshotState, Option<Timestamp>)>, Seq) {
    let mut entries = Vec::new();
    let last_seq =
        store.load(&mut |entry| entries.push((entry.created().get(), entry.state(), entry.last_read())));
    (entries, last_seq.expect("loads"))
}

#[test]
fn a_load_after_a_recovery_equals_a_load_from_disk() {
    let directory = support::directory();
    let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
    let store = support::open(directory.path(), options.clone());
    support::fill(&store, 1..=20);
    store.apply(&support::batch(21, [support::add(21, SnapshotState::Started)])).expect("the batch applies");
    store.save_reads(&[(Seq::new(7), Timestamp::from_micros(70))]).expect("the last reads are saved");
    drop(store);

    let store = support::open(directory.path(), options.clone());
    store.recover().expect("the recovery succeeds");
    let (preloaded, from_disk) = (load(&store), load(&store));
    assert_eq!(preloaded, from_disk, "the first load takes what the recovery has read");
    assert_eq!(preloaded.0.len(), 20);
    assert_eq!(preloaded.0[6], (7, SnapshotState::Complete, Some(Timestamp::from_micros(70))));
    assert!(
        preloaded.0.iter().all(|(.., last_read)| last_read.is_some()),
        "shapes found at open count as read"
    );
}

#[test]
fn c1_a_preload_is_dropped_once_the_database_has_changed() {
    let directory = support::directory();
    let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
    let store = support::open(directory.path(), options);
    support::fill(&store, 1..=3);
    store.recover().expect("the recovery succeeds");
    support::fill(&store, 4..=4);
    assert_eq!(load(&store).0.len(), 4, "a batch was applied after the recovery");

    store.recover().expect("the recovery succeeds");
    let connection = support::raw_connection(directory.path());
    connection
        .execute_batch("DELETE FROM shape WHERE id = 2; DELETE FROM definition WHERE id = 2")
        .expect("writes");
    assert_eq!(load(&store).0.len(), 4, "the load takes what the recovery has read");
    let kind = store.load(&mut |_| {}).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::Corrupt), "the next one misses a row on disk");
    drop(store);
    let count = "UPDATE meta SET total = (SELECT count(*) FROM shape), checksum = NULL,
        indexed = (SELECT sum(indexed) FROM shape)";
    connection.execute_batch(count).expect("writes");

    let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
    let store = support::open(directory.path(), options);
    store.recover().expect("the recovery succeeds");
    connection.execute_batch("DELETE FROM shape WHERE id = 3").expect("writes");
    connection.execute_batch(count).expect("writes");
    assert_eq!(load(&store).0.len(), 2, "the database differs from the one that the recovery has read");
}

/// Many shapes are read in two halves, by two connections at the same time.
#[test]
fn c6_a_recovery_of_many_shapes_reads_each_once() {
    const SHAPES: u64 = 60_000;
    let incomplete = [1, 2, SHAPES / 2, SHAPES / 2 + 1, SHAPES - 1, SHAPES];
    for (mode, last_reads) in [(Mode::Wal, false), (Mode::Wal, true), (Mode::Exclusive, false)] {
        let directory = support::directory();
        let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(last_reads).mode(mode);
        let store = support::open(directory.path(), options.clone());
        let state = |number| match incomplete.contains(&number) {
            true => SnapshotState::Started,
            false => SnapshotState::Complete,
        };
        let adds = (1..=SHAPES).map(|number| support::add(number, state(number)));
        store.apply(&support::batch(SHAPES, adds)).expect("the batch applies");
        store.close().expect("closes");

        let store = support::open(directory.path(), options.clone());
        let recovery = store.recover().expect("recovers");
        assert_eq!((recovery.valid, &*recovery.removed), (SHAPES - 6, &*handles(&incomplete)));
        let loaded = load(&store).0;
        let live = (1..=SHAPES).filter(|number| !incomplete.contains(number));
        assert!(loaded.iter().map(|(id, ..)| *id).eq(live), "in the order of creation");
        store.close().expect("closes");

        for damaged in [3, SHAPES - 2] {
            let connection = support::raw_connection(directory.path());
            let change = |by: i64| {
                let sql = format!("UPDATE shape SET hash = hash + {by} WHERE id = {damaged}");
                assert_eq!(connection.execute(&sql, []).expect("writes"), 1);
            };
            change(1);
            let refuse = options.clone().on_corruption(OnCorruption::Refuse);
            let store = support::open(directory.path(), refuse);
            let error = store.recover().expect_err("a row is damaged");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(&format!("shape {damaged} ")), "{error}");
            store.close().expect("closes");
            change(-1);
        }
    }
}

/// An observer may call the store. A write within an operation of its thread is refused; from another thread
/// it would wait for the recovery, which waits for it.
#[test]
fn c6_a_recovery_calls_the_observer_on_its_own_thread() {
    #[derive(Default)]
    struct Threads(Mutex<Vec<ThreadId>>);

    impl Observer for Threads {
        fn checkin(&self, _: &Checkin) {
            self.0.lock().expect("no thread panicked").push(thread::current().id());
        }
    }

    let directory = support::directory();
    let options = support::options().disk_indexes(DiskIndexes::Omitted);
    let observer = Arc::new(Threads::default());
    let store = support::open_observed(directory.path(), options, Arc::clone(&observer) as _);
    support::fill(&store, 1..=50_000);
    observer.0.lock().expect("no thread panicked").clear();
    store.recover().expect("recovers");
    let threads = observer.0.lock().expect("no thread panicked").clone();
    assert_eq!(threads, [thread::current().id(); 2], "of a reader and of the writer");
}

/// A row with the largest row id is damage, as the count shows.
#[test]
fn c11_a_recovery_of_any_row_ids_is_no_panic() {
    for kept in ["id = 1", "false"] {
        let directory = support::directory();
        let refuse = support::options().on_corruption(OnCorruption::Refuse);
        let store = support::open(directory.path(), refuse.disk_indexes(DiskIndexes::Omitted));
        support::fill(&store, 1..=50_000);
        let damage = format!(
            "DELETE FROM shape WHERE NOT ({kept}); UPDATE shape SET id = {}, checksum = NULL",
            i64::MAX
        );
        support::raw_connection(directory.path()).execute_batch(&damage).expect("damages");
        assert_eq!(store.recover().expect_err("damaged").kind(), ErrorKind::Corrupt);
    }
}
