//! Recovery at open: what is not complete goes, and is handed to the cleaner until it says that it is done.

use shape_meta_core::{
    Counts, Handle, ReadShapes, Seq, ShapeStore, ShapeStoreExt, SnapshotState, Timestamp, conformance,
};
use shape_meta_sqlite::{DiskIndexes, Recovery, SqliteStore};

use crate::support;

fn handles(numbers: &[u64]) -> Vec<Handle> {
    numbers.iter().copied().map(conformance::handle).collect()
}

#[test]
fn removes_what_is_not_complete_from_every_table() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = support::directory();
        let options = support::options().disk_indexes(disk_indexes);
        let store = support::open(directory.path(), options.clone());
        let states = [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete];
        let adds = (1..=9).map(|number| support::add(number, states[number as usize % 3]));
        store.apply(&support::batch(9, adds)).expect("nothing fails");
        drop(store);

        let store = support::open(directory.path(), options.clone());
        let recovery = store.recover().expect("it recovers");
        let gone = handles(&[1, 3, 4, 6, 7, 9]);
        assert_eq!(
            recovery,
            Recovery { valid: 3, removed: gone.clone(), to_clean: gone.clone(), quarantined: None }
        );
        assert_eq!(support::live(&store), [2, 5, 8]);
        assert_eq!(store.counts().expect("reads").total, 3);
        assert_eq!(store.last_seq().expect("reads").get(), 9, "a recovery is no mutation");

        let stranger = support::stranger(directory.path());
        let rows = |table| -> i64 {
            stranger
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
                .expect("counts")
        };
        assert_eq!((rows("shape"), rows("definition"), rows("to_clean")), (3, 3, 6));
        if disk_indexes == DiskIndexes::Maintained {
            assert_eq!((rows("handle_lookup"), rows("key_lookup")), (3, 3));
            for handle in &gone {
                assert_eq!(store.metadata(handle).expect("reads"), None);
            }
        }

        let again = store.recover().expect("it recovers");
        assert_eq!(
            again,
            Recovery { valid: 3, removed: vec![], to_clean: gone, quarantined: None },
            "twice is once (I6)"
        );
    }
}

#[test]
fn hands_out_what_was_not_cleaned_until_it_is() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let adds = [1, 2, 3].map(|number| support::add(number, SnapshotState::Started));
    store.apply(&support::batch(3, adds)).expect("nothing fails");
    store.recover().expect("it recovers");
    // The process ends before the cleaner is done.
    drop(store);

    let store = support::open(directory.path(), support::options());
    let recovery = store.recover().expect("it recovers");
    assert_eq!((recovery.removed, recovery.to_clean), (vec![], handles(&[1, 2, 3])));
    store.ack_cleanup(&handles(&[1, 3])).expect("it notes");
    store.ack_cleanup(&handles(&[1, 99])).expect("it notes, again and for nothing (I6)");
    drop(store);

    let store = support::open(directory.path(), support::options());
    assert_eq!(store.recover().expect("it recovers").to_clean, handles(&[2]));
    store.ack_cleanup(&handles(&[2])).expect("it notes");
    assert_eq!(store.recover().expect("it recovers"), Recovery::default());
    assert_eq!(store.counts().expect("reads"), Counts::default());
}

#[test]
fn tells_the_observer() {
    #[derive(Default)]
    struct Told(std::sync::Mutex<Vec<(u64, usize)>>);
    impl shape_meta_core::Observer for Told {
        fn recovered(&self, recovered: &shape_meta_core::RecoveryStats) {
            self.0.lock().expect("no panic").push((recovered.valid, recovered.removed));
        }
    }
    let (directory, told) = (support::directory(), std::sync::Arc::new(Told::default()));
    let store = support::observed(directory.path(), support::options(), told.clone());
    support::fill(&store, 1..=2);
    store.apply(&support::batch(3, [support::add(3, SnapshotState::Pending)])).expect("nothing fails");
    store.recover().expect("it recovers");
    assert_eq!(*told.0.lock().expect("no panic"), [(2, 1)]);
}

/// What a cache above gets of the store: places in the order, states and times.
fn loaded(store: &SqliteStore) -> (Vec<(u64, SnapshotState, Option<Timestamp>)>, Seq) {
    let mut entries = Vec::new();
    let last_seq =
        store.load(&mut |entry| entries.push((entry.created().get(), entry.state(), entry.last_read())));
    (entries, last_seq.expect("it loads"))
}

#[test]
fn a_cache_loads_after_a_recovery_what_it_loads_without_one() {
    let directory = support::directory();
    let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
    let store = support::open(directory.path(), options.clone());
    support::fill(&store, 1..=20);
    store.apply(&support::batch(21, [support::add(21, SnapshotState::Started)])).expect("nothing fails");
    store.save_reads(&[(Seq::new(7), Timestamp::from_micros(70))]).expect("it saves");
    drop(store);

    let store = support::open(directory.path(), options.clone());
    store.recover().expect("it recovers");
    let (ahead, from_disk) = (loaded(&store), loaded(&store));
    assert_eq!(ahead, from_disk, "the first is what the recovery has read");
    assert_eq!(ahead.0.len(), 20);
    assert_eq!(ahead.0[6], (7, SnapshotState::Complete, Some(Timestamp::from_micros(70))));
    assert!(ahead.0.iter().all(|(.., last_read)| last_read.is_some()), "what was found counts as read");
}

#[test]
fn c1_what_a_recovery_has_read_is_not_loaded_once_it_has_changed() {
    let directory = support::directory();
    let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
    let store = support::open(directory.path(), options);
    support::fill(&store, 1..=3);
    store.recover().expect("it recovers");
    support::fill(&store, 4..=4);
    assert_eq!(loaded(&store).0.len(), 4, "a batch came in between");

    store.recover().expect("it recovers");
    let stranger = support::stranger(directory.path());
    stranger
        .execute_batch("DELETE FROM shape WHERE id = 2; DELETE FROM definition WHERE id = 2")
        .expect("SQLite writes");
    assert_eq!(loaded(&store).0.len(), 4, "this is what the recovery has read");
    assert_eq!(loaded(&store).0.len(), 3);
    drop(store);

    let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
    let store = support::open(directory.path(), options);
    store.recover().expect("it recovers");
    stranger.execute_batch("UPDATE meta SET total = total + 1, checksum = NULL").expect("SQLite writes");
    stranger.execute_batch("DELETE FROM shape WHERE id = 3").expect("SQLite writes");
    assert_eq!(loaded(&store).0.len(), 2, "the database is not in the state of the recovery");
}
