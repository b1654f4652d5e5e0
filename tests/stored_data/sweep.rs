//! The sweep, and the databases that must not trust it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use shape_meta::{
    BoxError, Handle, MutateShapesExt, ReadShapes, ReadShapesExt, ShapeCleaner, ShapeMeta, StoreControl,
    StoredHandles,
};
use shape_meta_core::conformance::handle;
use shape_meta_harness::{
    compositions::{ALL, Composition, PRODUCT, TIMEOUT, WAIT, directory, sqlite},
    crash::Crash,
};
use shape_meta_sqlite::Inspector;

use super::support::{Storage, add, builder, clean, cleaned, flush, handles, open, remove, settle};

const DATABASE: &str = "shape-meta.sqlite3";

/// Makes a trusted database with shapes 1 to 3, and closes it.
fn written(composition: Composition, directory: &Path, storage: &Storage) {
    let store = open(composition, directory, storage);
    settle(&store);
    add(&store, storage, 1..=3);
    settle(&store);
    assert!(store.close(TIMEOUT).is_complete());
}

/// Opens and restarts the database: it reports these orphans, and deletes none of them. Then they are
/// confirmed.
pub(super) fn assert_reports(composition: Composition, directory: &Path, storage: &Storage, orphans: &[u64]) {
    for restart in 0..2 {
        let store = open(composition, directory, storage);
        add(&store, storage, [100 + restart, 200 + restart]);
        remove(&store, [200 + restart]);
        settle(&store);
        assert_eq!(cleaned(storage), handles([200 + restart]), "only its own: {composition:?}");
        let sweep = store.cleanup_status().sweep.expect("it has ended");
        assert_eq!(sweep.orphans, orphans.len() as u64, "restart {restart}: {sweep:?}");
        assert!(sweep.waits_for_confirmation);
        assert_eq!(store.usage().waiting_orphans, Some(sweep.orphans));
        assert!(!Inspector::open(directory).expect("opens").summary(0).expect("reads").is_storage_trusted);
        assert_eq!(sweep.sample, handles(orphans.iter().copied()));
        assert!(store.close(TIMEOUT).is_complete());
    }
    let store = open(composition, directory, storage);
    clean(&store);
    store.confirm_orphans().expect("it is written");
    settle(&store);
    assert_eq!(cleaned(storage), handles(orphans.iter().copied()), "{composition:?}");
    let live = store.counts().expect("it reads").total;
    assert_eq!(storage.stored().len() as u64, live);
    assert_eq!(store.usage().waiting_orphans, Some(0));
    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    assert!(Inspector::open(directory).expect("opens").summary(0).expect("reads").is_storage_trusted);
    // From now on the database is trusted, also after a restart.
    storage.create(handle(999));
    let store = open(composition, directory, storage);
    settle(&store);
    assert_eq!(cleaned(storage), handles([999]));
}

#[test]
fn c12_a_created_database_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        written(composition, directory.path(), &storage);
        // Another path: the volume of the database is not mounted.
        let wrong = shape_meta_harness::compositions::directory();
        assert_reports(composition, wrong.path(), &storage, &[1, 2, 3]);
    }
}

#[test]
fn c12_an_emptied_file_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        written(composition, directory.path(), &storage);
        fs::write(directory.path().join(DATABASE), b"").expect("it is written");
        assert_reports(composition, directory.path(), &storage, &[1, 2, 3]);
    }
}

#[test]
fn c12_a_removed_file_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        written(composition, directory.path(), &storage);
        fs::remove_file(directory.path().join(DATABASE)).expect("it is there");
        assert_reports(composition, directory.path(), &storage, &[1, 2, 3]);
    }
}

#[test]
fn c12_a_restored_backup_deletes_nothing() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        written(composition, directory.path(), &storage);
        let backup = shape_meta_harness::compositions::directory();
        let inspector = Inspector::open(directory.path()).expect("it opens");
        inspector.backup(backup.path(), |_, _| ()).expect("it is copied");
        inspector.finish().expect("nothing has changed");
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, [4, 5]);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        assert_reports(composition, backup.path(), &storage, &[4, 5]);
    }
}

/// Copies of files keep the identity of the database. Only the files themselves are trusted.
#[test]
fn c12_a_restored_copy_of_the_files_deletes_nothing() {
    for composition in ALL {
        let (top, storage) = (directory(), Storage::listing());
        let live = top.path().join("live");
        written(composition, &live, &storage);
        let copy = top.path().join("copy");
        let copied = |from: &Path, to: &Path| {
            fs::create_dir(to).expect("it is new");
            fs::copy(from.join(DATABASE), to.join(DATABASE)).expect("it is copied");
        };
        copied(&live, &copy);
        let store = open(composition, &live, &storage);
        add(&store, &storage, [4, 5]);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        fs::remove_dir_all(&live).expect("it is closed");
        copied(&copy, &live);
        assert_reports(composition, &live, &storage, &[4, 5]);
    }
}

#[test]
fn c12_a_renamed_database_stays_trusted() {
    for composition in ALL {
        let (top, storage) = (directory(), Storage::listing());
        let (live, renamed) = (top.path().join("live"), top.path().join("renamed"));
        written(composition, &live, &storage);
        storage.create(handle(50));
        fs::rename(&live, &renamed).expect("it is closed");
        let store = open(composition, &renamed, &storage);
        settle(&store);
        assert_eq!(cleaned(&storage), handles([50]), "{composition:?}");
    }
}

#[test]
fn c12_a_salvaged_database_deletes_nothing_that_it_does_not_know() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        written(composition, directory.path(), &storage);
        storage.create(handle(50));
        let store = open(composition, directory.path(), &storage);
        store.repair().expect("the repair succeeds");
        settle(&store);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        assert!(storage.has(50), "{composition:?}");
        assert_reports(composition, directory.path(), &storage, &[50]);
    }
}

/// Found by the torture tool: a reset that is pending makes every handle undecided, and the sweep took that
/// for a storage without orphans, and the database for one that knows its storage.
#[test]
fn c12_a_sweep_during_a_pending_reset_decides_nothing() {
    for composition in ALL.into_iter().filter(|one| one.buffer.is_some()) {
        let (directory, storage) = (directory(), Storage::listing());
        (1..=3).for_each(|number| storage.create(handle(number)));
        let store = open(composition, directory.path(), &storage);
        add(&store, &storage, [7]);
        flush(&store);
        store.reset(WAIT).expect("it is accepted");
        clean(&store);
        assert_eq!(store.cleanup_status().sweep, None, "{composition:?}: nothing is decided");
        settle(&store);
        assert_eq!(cleaned(&storage), handles([7]));
        assert_eq!(store.cleanup_status().sweep.map(|sweep| sweep.orphans), Some(3));
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        assert_reports(composition, directory.path(), &storage, &[1, 2, 3]);

        // A trusted database finds its orphans after the flush.
        let store = open(composition, directory.path(), &storage);
        storage.create(handle(50));
        store.reset(WAIT).expect("it is accepted");
        clean(&store);
        assert!(storage.has(50));
        settle(&store);
        assert!(!storage.has(50), "{composition:?}");
    }
}

#[test]
fn c12_an_option_confirms_orphans_at_the_open() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        storage.create(handle(1));
        let store = builder(composition, &storage).confirm_orphans(true);
        let store = store.open(directory.path()).expect("it opens");
        settle(&store);
        assert_eq!(cleaned(&storage), handles([1]), "{composition:?}");
    }
}

#[test]
fn c12_a_sweep_without_orphans_makes_a_database_trusted() {
    let (directory, storage) = (directory(), Storage::listing());
    let store = open(PRODUCT, directory.path(), &storage);
    settle(&store);
    assert_eq!(store.cleanup_status().sweep.map(|sweep| sweep.orphans), Some(0));
    add(&store, &storage, [1]);
    flush(&store);
    add(&store, &storage, [2]);
    let crash = Crash::of(directory.path());
    drop(store);
    crash.restore();
    let store = open(PRODUCT, directory.path(), &storage);
    settle(&store);
    assert_eq!(storage.stored(), handles([1]));
}

#[test]
fn c12_a_sweep_that_is_not_supported_finds_nothing() {
    let (directory, storage) = (directory(), Storage::default());
    storage.create(handle(1));
    let store = open(PRODUCT, directory.path(), &storage);
    settle(&store);
    assert_eq!(store.cleanup_status().sweep, None);
    assert_eq!(storage.stored(), handles([1]));
}

#[test]
fn c12_a_sweep_passes_over_more_than_a_page() {
    let (directory, storage) = (directory(), Storage::listing());
    written(PRODUCT, directory.path(), &storage);
    (1_000..3_500).for_each(|number| storage.create(handle(number)));
    let store = open(PRODUCT, directory.path(), &storage);
    add(&store, &storage, 4_000..=5_200);
    settle(&store);
    let sweep = store.cleanup_status().sweep.expect("it has ended");
    assert_eq!((sweep.stored, sweep.orphans, sweep.sample.len()), (2_500 + 1_201 + 3, 2_500, 10));
    assert_eq!(storage.stored().len(), 1_204);
}

/// While the stored handles are listed, shapes are added and their data is created, and others are removed.
#[test]
fn c12_a_sweep_during_mutations_spares_live_data() {
    for composition in ALL {
        let (directory, storage) = (directory(), Storage::listing());
        let store = open(composition, directory.path(), &storage);
        settle(&store);
        add(&store, &storage, 1..=50);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        (100..2_600).for_each(|number| storage.create(handle(number)));
        let store = open(composition, directory.path(), &storage);
        let (weak, created, listed) = (store.downgrade(), storage.clone(), AtomicU64::new(0));
        storage.on_list(move |_| {
            let (store, number) =
                (weak.upgrade().expect("it is open"), listed.fetch_add(1, Ordering::Relaxed));
            match number % 50 {
                // An orphan's handle is taken, and its data belongs to the new shape.
                0 if number < 2_500 => add(&store, &created, [100 + number]),
                10 if number < 2_500 => add(&store, &created, [10_000 + number]),
                20 if number < 2_500 => remove(&store, [1 + number / 50]),
                30 => flush(&store),
                _ => {}
            }
        });
        clean(&store);
        settle(&store);
        settle(&store);
        let live: BTreeSet<_> =
            store.list().expect("it reads").iter().map(|item| item.record.handle().clone()).collect();
        assert_eq!(storage.stored().into_iter().collect::<BTreeSet<_>>(), live, "{composition:?}");
        assert_eq!((live.len(), store.cleanup_status().tasks), (100, 0));
    }
}

/// New removals do not keep a sweep from running.
#[test]
fn c12_a_sweep_runs_during_a_stream_of_removals() {
    let (directory, storage) = (directory(), Storage::listing());
    written(PRODUCT, directory.path(), &storage);
    storage.create(handle(50));
    let store = open(PRODUCT, directory.path(), &storage);
    for round in 0..10 {
        add(&store, &storage, [100 + round]);
        flush(&store);
        remove(&store, [100 + round]);
        flush(&store);
        assert!(store.clean_once().expect("the cleaner works"));
    }
    assert!(!storage.has(50), "{:?}", store.cleanup_status());
}

/// A storage whose list goes on after its end.
struct GoesOn;

impl ShapeCleaner for GoesOn {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        Ok(())
    }

    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        let mut calls = 0;
        Ok(Some(Box::new(std::iter::from_fn(move || {
            calls += 1;
            (calls % 2 == 1 && calls < 10).then(|| Ok(handle(900 + calls)))
        }))))
    }
}

#[test]
fn c12_a_list_of_stored_data_ends_at_its_first_end() {
    let directory = directory();
    let builder = ShapeMeta::builder(GoesOn).sqlite(sqlite()).background_cleanup(false);
    let store = PRODUCT.apply_to(builder).open(directory.path()).expect("opens");
    clean(&store);
    assert_eq!(store.cleanup_status().sweep.expect("it has ended").orphans, 1);
}
