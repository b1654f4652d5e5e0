//! Everything that is gone for good is handed over, after its removal is durable.

use shape_meta::{ErrorKind, MutateShapesExt, NewShape, ReadShapes, ShapeMeta, StoreControl};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::{
    compositions::{ALL, BUFFERED, PRODUCT, TIMEOUT, WAIT, directory, sqlite},
    rows::{corrupt_file, raw_connection},
};

use super::support::{Storage, add, builder, clean, cleaned, flush, handles, open, remove, settle};

#[test]
fn c12_a_removal_is_handed_over_once_it_is_durable() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=3);
        settle(&store);
        remove(&store, [2]);
        if composition.buffer.is_some() {
            clean(&store);
            assert_eq!(cleaned(&storage), handles([]), "the removal is not durable: {composition:?}");
        }
        settle(&store);
        assert_eq!(cleaned(&storage), handles([2]), "{composition:?}");
        assert_eq!(storage.stored(), handles([1, 3]));
        assert_eq!((store.cleanup_status().tasks, store.usage().cleanup_tasks), (0, Some(0)));
        clean(&store);
        assert_eq!(cleaned(&storage), handles([]), "there is nothing left to clean");
    }
}

#[test]
fn c12_an_incomplete_shape_is_handed_over_after_the_open() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, [3, 6]);
        for number in [1, 2, 4, 5] {
            store.add(shape(number), WAIT).expect("it is new");
            storage.create(handle(number));
        }
        store.mark_snapshot_started(&handle(5), WAIT).expect("it is live");
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        let store = open(composition, directory.path(), &storage);
        let report = store.open_report().expect("it has a database");
        assert_eq!((report.valid, report.cleanup_tasks, report.removed.len()), (2, 4, 4));
        assert_eq!(cleaned(&storage), handles([]), "an open does not wait for the cleaner");
        clean(&store);
        assert_eq!(cleaned(&storage), handles([1, 2, 4, 5]), "{composition:?}");
        assert_eq!(storage.stored(), handles([3, 6]));
    }
}

#[test]
fn c12_a_reset_hands_over_every_shape() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=5);
        settle(&store);
        add(&store, &storage, 6..=8);
        remove(&store, [2, 7]);
        store.reset(WAIT).expect("it is accepted");
        add(&store, &storage, [9]);
        settle(&store);
        assert_eq!(cleaned(&storage), handles(1..=8), "{composition:?}");
        assert_eq!(storage.stored(), handles([9]));
    }
}

#[test]
fn c12_a_shape_that_was_never_committed_is_handed_over() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, [1, 2]);
        remove(&store, [1]);
        settle(&store);
        assert_eq!(cleaned(&storage), handles([1]), "{composition:?}");
        assert_eq!(storage.stored(), handles([2]));
    }
}

#[test]
fn c12_a_rejected_shape_is_handed_over() {
    for composition in [BUFFERED, PRODUCT] {
        let (directory, storage) = (directory(), Storage::default());
        let store = builder(composition, &storage)
            .sqlite(sqlite().max_row_bytes(4096))
            .open(directory.path())
            .expect("it opens");
        // Too large to be compressed with others.
        let too_large = NewShape { definition: vec![7; 10_000].into(), ..shape(1) };
        let receipt = store.add(too_large, WAIT).expect("memory accepts it");
        storage.create(handle(1));
        add(&store, &storage, [2]);
        settle(&store);
        assert!(receipt.wait_durable(TIMEOUT).is_err(), "the database rejects it");
        assert_eq!(cleaned(&storage), handles([1]), "{composition:?}");
        assert_eq!(storage.stored(), handles([2]));
    }
}

#[test]
fn c12_shapes_lost_in_salvage_are_handed_over() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=9);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        let connection = raw_connection(directory.path());
        connection.execute("UPDATE shape SET hash = hash + 1 WHERE id = 1", []).expect("it is written");
        drop(connection);
        let store = open(composition, directory.path(), &storage);
        let quarantined =
            store.open_report().and_then(|report| report.database.sqlite()?.quarantined.clone());
        let lost = quarantined.expect("the row is damaged").lost;
        assert_eq!(lost.len(), 1);
        settle(&store);
        let known: Vec<_> = lost.iter().filter_map(|one| one.handle.clone()).collect();
        assert_eq!(cleaned(&storage), known, "only what is known to be lost: {composition:?}");
        assert_eq!(store.counts().expect("it reads").total, 8);
    }
}

#[test]
fn c12_shapes_lost_in_a_repair_are_handed_over() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::default());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=8);
        flush(&store);
        add(&store, &storage, [9]);
        flush(&store);
        let sql =
            "UPDATE definition SET body = zeroblob(length(body)) WHERE id = (SELECT max(id) FROM definition)";
        raw_connection(directory.path()).execute(sql, []).expect("it is written");
        let repaired = store.repair().expect("the repair succeeds");
        let lost: Vec<_> = repaired.lost.iter().filter_map(|one| one.handle.clone()).collect();
        assert_eq!(lost, handles([9]));
        settle(&store);
        assert_eq!(cleaned(&storage), lost, "{composition:?}");
        assert_eq!(storage.stored(), handles(1..=8));
    }
}

#[test]
fn c12_a_cleaner_without_data_leaves_no_tasks() {
    let directory = directory();
    let store = PRODUCT.open(directory.path());
    store.add(shape(1), WAIT).expect("it is new");
    flush(&store);
    store.remove(&handle(1), WAIT).expect("it is live");
    flush(&store);
    assert_eq!(store.usage().cleanup_tasks, Some(0));
}

/// The files of a damaged database are kept, and so is all stored data.
#[test]
fn c12_a_quarantine_that_saves_nothing_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, 1..=3);
        settle(&store);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        corrupt_file(directory.path());
        for _ in 0..2 {
            let store = open(composition, directory.path(), &storage);
            assert_eq!(store.counts().expect("it reads").total, 0);
            settle(&store);
            assert_eq!(cleaned(&storage), handles([]), "{composition:?}");
            let sweep = store.cleanup_status().sweep.expect("it has ended");
            assert_eq!((sweep.orphans, sweep.waits_for_confirmation), (3, true));
        }
        assert_eq!(storage.stored(), handles(1..=3));
    }
}

/// A cleaner of a store in memory works like any other.
#[test]
fn c12_a_database_in_memory_hands_over_too() {
    let storage = Storage::listing();
    let store: ShapeMeta = builder(PRODUCT, &storage).open_in_memory().expect("it opens");
    add(&store, &storage, 1..=2);
    remove(&store, [1]);
    settle(&store);
    assert_eq!(storage.stored(), handles([2]));
    assert!(store.close(TIMEOUT).is_complete());
    assert!(!store.clean_once().expect("a closed store cleans nothing"));
    let refused = store.add(shape(9), WAIT).expect_err("it is closed").to_string();
    assert!(!refused.is_empty() && ErrorKind::Closed.name() == "closed");
}
