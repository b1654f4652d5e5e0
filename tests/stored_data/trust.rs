//! An older copy that is put back, a storage that is not the right one, and what of it a restart remembers.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use shape_meta::{OnLiveOwner, ReadShapes, ShapeMeta, StoreControl};
use shape_meta_core::conformance::handle;
use shape_meta_harness::{
    compositions::{ALL, Composition, PRODUCT, TIMEOUT, directory, sqlite},
    crash::Crash,
    rows::raw_connection,
};

use super::{
    support::{Storage, add, builder, clean, cleaned, flush, handles, open, remove, settle},
    sweep::assert_reports,
};

const DATABASE: &str = "shape-meta.sqlite3";
const LOCK: &str = "shape-meta.lock";

/// Opens a database that is trusted, with shapes 1 to 3.
fn trusted(composition: Composition, directory: &Path, storage: &Storage) -> ShapeMeta {
    let store = open(composition, directory, storage);
    settle(&store);
    add(&store, storage, 1..=3);
    settle(&store);
    store
}

fn close(store: ShapeMeta) {
    assert!(store.close(TIMEOUT).is_complete());
}

/// `cp` of the database alone, while its store is closed, and put back later.
#[test]
fn c12_a_copy_of_an_earlier_opening_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        close(trusted(composition, directory.path(), &storage));
        let (database, copy) = (directory.path().join(DATABASE), directory.path().join("copy"));
        fs::copy(&database, &copy).expect("it is copied");
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, [4, 5]);
        close(store);
        fs::rename(&copy, &database).expect("it is put back");
        assert_reports(composition, directory.path(), &storage, &[4, 5]);
    }
}

/// A copy of the very opening that is the latest: only its sequence number is behind.
#[test]
fn c12_a_copy_of_the_latest_opening_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = trusted(composition, directory.path(), &storage);
        let (database, copy) = (directory.path().join(DATABASE), directory.path().join("copy"));
        // The writer rests, so that everything is in the one file.
        store.database().expect("it has one").close_idle();
        fs::copy(&database, &copy).expect("it is copied");
        add(&store, &storage, [4, 5]);
        close(store);
        // In place, as `cp copy database` does.
        let bytes = fs::read(&copy).expect("it is read");
        fs::write(&database, bytes).expect("it is put back");
        fs::remove_file(&copy).expect("it is there");
        assert_reports(composition, directory.path(), &storage, &[4, 5]);
    }
}

/// `cp -r` of the whole directory, lock file and all.
#[test]
#[cfg_attr(not(unix), ignore = "without inodes a copied lock file looks like the original")]
fn c12_a_copy_of_the_whole_directory_deletes_nothing() {
    for composition in ALL {
        let (original, storage) = (directory(), Storage::listing());
        close(trusted(composition, original.path(), &storage));
        let copy = directory();
        for name in [DATABASE, LOCK] {
            fs::copy(original.path().join(name), copy.path().join(name)).expect("it is copied");
        }
        let store = open(composition, original.path(), &storage);
        add(&store, &storage, [4, 5]);
        close(store);
        assert_reports(composition, copy.path(), &storage, &[4, 5]);
    }
}

#[test]
fn c12_a_database_without_its_lock_file_deletes_nothing() {
    let (directory, storage) = (directory(), Storage::listing());
    close(trusted(PRODUCT, directory.path(), &storage));
    storage.create(handle(50));
    fs::remove_file(directory.path().join(LOCK)).expect("it is there");
    assert_reports(PRODUCT, directory.path(), &storage, &[50]);
}

/// What was not copied stays trusted: restarts, crashes, take-overs, and a directory that is moved.
#[test]
fn c12_the_original_stays_trusted() {
    for composition in ALL {
        let (root, storage) = (directory(), Storage::listing());
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        let mut store = trusted(composition, &first, &storage);
        let orphaned = |store: &ShapeMeta, number| {
            storage.watch(store);
            settle(store);
            assert!(!storage.has(number), "{composition:?}: {:?}", store.cleanup_status());
            storage.create(handle(number + 1));
        };
        storage.create(handle(50));
        close(store);
        store = open(composition, &first, &storage);
        orphaned(&store, 50);
        let crash = Crash::of(&first);
        drop(store);
        crash.restore();
        store = open(composition, &first, &storage);
        orphaned(&store, 51);
        let options = sqlite().on_live_owner(OnLiveOwner::Fence);
        let owner = builder(composition, &storage).sqlite(options).open(&first).expect("it takes over");
        orphaned(&owner, 52);
        drop(store);
        close(owner);
        fs::rename(&first, &second).expect("it is moved");
        store = open(composition, &second, &storage);
        orphaned(&store, 53);
        assert_eq!(store.counts().expect("it reads").total, 3);
    }
}

/// The volume of the stored data is another one.
#[test]
fn c12_a_storage_without_the_data_of_its_shapes_is_kept() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        close(trusted(composition, directory.path(), &storage));
        let right = storage.swap(handles(60..=70));
        for _ in 0..2 {
            let store = open(composition, directory.path(), &storage);
            add(&store, &storage, [80]);
            settle(&store);
            let sweep = store.cleanup_status().sweep.expect("it has ended");
            assert!(sweep.waits_for_confirmation && sweep.orphans == 11, "{composition:?}: {sweep:?}");
            assert_eq!(cleaned(&storage), handles([]));
            remove(&store, [80]);
            settle(&store);
            assert_eq!(cleaned(&storage), handles([80]), "only its own");
            close(store);
        }
        assert_eq!(storage.swap(right), handles(60..=70));
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert!(store.cleanup_status().sweep.is_some_and(|sweep| sweep.orphans == 0));
        storage.create(handle(90));
        close(store);
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert_eq!(cleaned(&storage), handles([90]), "the right storage is trusted again");
    }
}

/// The volume of the stored data is not mounted: nothing is lost, and nothing is forgotten.
#[test]
fn c12_a_storage_that_is_not_mounted_loses_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = trusted(composition, directory.path(), &storage);
        let mounted = storage.swap([]);
        remove(&store, [1]);
        settle(&store);
        assert_eq!(cleaned(&storage), handles([1]), "deleting nothing succeeds");
        close(store);
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        close(store);
        storage.swap(mounted);
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert_eq!(storage.stored(), handles([2, 3]), "the sweep finds it: {composition:?}");
    }
}

/// The word counts also for a storage that has the data of no shape.
#[test]
fn c12_confirmed_orphans_are_deleted_from_any_storage() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        close(trusted(composition, directory.path(), &storage));
        storage.swap(handles(60..=62));
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert_eq!(cleaned(&storage), handles([]));
        store.confirm_orphans().expect("it is written");
        clean(&store);
        assert_eq!(cleaned(&storage), handles(60..=62), "{composition:?}");
        flush(&store);
        close(store);
    }
}

/// A repair that is killed after it has moved the damaged file.
#[test]
fn c12_a_killed_repair_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = trusted(composition, directory.path(), &storage);
        store.repair().expect("the repair succeeds");
        close(store);
        let database = directory.path().join(DATABASE);
        let complete = directory.path().join(format!("{DATABASE}-salvaged"));
        fs::rename(&database, &complete).expect("it was not yet in its place");
        storage.create(handle(50));
        assert_reports(composition, directory.path(), &storage, &[50]);
    }
}

/// A restored database, and the volume of the stored data is not mounted. Its directory is empty.
#[test]
fn c12_an_empty_storage_makes_no_restored_database_trusted() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        close(trusted(composition, directory.path(), &storage));
        storage.create(handle(50));
        fs::remove_file(directory.path().join(LOCK)).expect("it is there");
        let mounted = storage.swap([]);
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert!(store.cleanup_status().sweep.is_some_and(|sweep| sweep.orphans == 0));
        close(store);
        storage.swap(mounted);
        assert_reports(composition, directory.path(), &storage, &[50]);
    }
}

/// The sweep that began before it ends the trust.
#[test]
fn c12_a_confirmation_during_a_sweep_is_remembered() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        close(trusted(composition, directory.path(), &storage));
        storage.swap(handles(60..=62));
        let store = open(composition, directory.path(), &storage);
        let (weak, is_confirmed) = (store.downgrade(), AtomicBool::new(false));
        storage.on_list(move |_| {
            if !is_confirmed.swap(true, Ordering::Relaxed) {
                weak.upgrade().expect("it is open").confirm_orphans().expect("it is written");
            }
        });
        settle(&store);
        assert_eq!(cleaned(&storage), handles(60..=62), "{composition:?}");
        close(store);
        storage.swap(handles([1, 2, 3, 90]));
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert_eq!(cleaned(&storage), handles([90]), "{composition:?}: {:?}", store.cleanup_status());
    }
}

/// A busy store has a pending removal at every moment.
#[test]
fn c12_a_sweep_ends_while_removals_are_pending() {
    for composition in ALL.into_iter().filter(|one| one.buffer.is_some()) {
        let (directory, storage) = (directory(), Storage::listing());
        close(trusted(composition, directory.path(), &storage));
        fs::remove_file(directory.path().join(LOCK)).expect("it is there");
        let store = open(composition, directory.path(), &storage);
        remove(&store, [1]);
        clean(&store);
        let sweep = store.cleanup_status().sweep.expect("it has ended");
        assert_eq!((sweep.stored, sweep.orphans), (3, 0), "{composition:?}");
        settle(&store);
        assert_eq!(cleaned(&storage), handles([1]), "only its own");
        storage.create(handle(90));
        close(store);
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        assert_eq!(cleaned(&storage), handles([90]), "it is trusted: {composition:?}");
    }
}

#[test]
fn c12_a_damaged_definition_does_not_stop_the_sweep() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        close(trusted(composition, directory.path(), &storage));
        storage.swap(handles([60]));
        let store = open(composition, directory.path(), &storage);
        let sql =
            "UPDATE definition SET body = zeroblob(length(body)) WHERE id = (SELECT min(id) FROM definition)";
        assert_eq!(raw_connection(directory.path()).execute(sql, []).expect("it is written"), 1);
        clean(&store);
        let sweep = store.cleanup_status().sweep.expect("it has ended");
        assert!(sweep.waits_for_confirmation && sweep.orphans == 1, "{composition:?}: {sweep:?}");
        assert!(storage.has(60));
    }
}
