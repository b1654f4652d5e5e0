//! Damage that is found while a store is open: the reads until then, and the repair.

use std::time::Duration;

use shape_meta::{
    ErrorKind, HealthState, MutateError, MutateShapesExt, NotDurable, ReadShapes, ReadShapesExt, ShapeMeta,
    SnapshotState, StoreControl, Wait,
};
use shape_meta_core::conformance::{handle, shape};

use shape_meta_harness::{
    compositions::{ALL, Composition, TIMEOUT, WAIT, directory, sqlite},
    rows::raw_connection,
};

const SHAPES: u64 = 20;

fn open(composition: Composition, directory: &std::path::Path) -> ShapeMeta {
    let builder = ShapeMeta::builder(shape_meta::NoopCleaner).sqlite(sqlite());
    composition.apply_to(builder).open(directory).expect("it opens")
}

fn filled(composition: Composition, directory: &std::path::Path) -> ShapeMeta {
    let store = open(composition, directory);
    for number in 1..=SHAPES {
        store.add(shape(number), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
        // A definition of its own row, which the tests damage: those of one batch share rows.
        if number < 4 {
            store.flush(TIMEOUT).expect("nothing fails");
        }
    }
    store.flush(TIMEOUT).expect("nothing fails");
    store
}

/// The shape has an entry, so its definition must be there, in every composition: the read of it is an error,
/// the scan shows an error in its place, everything else continues, and the health says it until a repair.
#[test]
fn c11_a_missing_definition_is_damage_in_every_composition() {
    for composition in ALL {
        let directory = directory();
        let store = filled(composition, directory.path());
        assert!(store.health().damage.is_none());
        raw_connection(directory.path())
            .execute("DELETE FROM definition WHERE id = (SELECT min(id) FROM definition)", [])
            .expect("SQLite executes it");
        let error = store.record(&handle(1)).expect_err("its definition is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{composition:?}");
        assert!(store.has_handle(&handle(1)).expect("reads"));
        assert!(store.record(&handle(2)).expect("reads").is_some(), "{composition:?}");
        let items: Vec<_> = store.scan().expect("scans").collect();
        let errors = items.iter().filter(|item| item.is_err()).count();
        assert_eq!((items.len() as u64, errors), (SHAPES, 1), "{composition:?}");
        let health = store.health();
        let damage = health.damage.as_ref().expect("the health says it");
        assert_eq!(damage.error.kind(), ErrorKind::Corrupt);
        assert!(health.is_ready() && health.to_string().contains("its definition is missing"), "{health}");

        let repaired = store.repair().unwrap_or_else(|error| panic!("{composition:?}: {error:?}"));
        assert_eq!((repaired.saved, repaired.lost.len()), (SHAPES - 1, 1), "{composition:?}");
        assert!(store.health().damage.is_none(), "{composition:?}: {}", store.health());
        store.close(TIMEOUT);
    }
}

#[test]
fn c9_damage_stops_writing_and_a_repair_keeps_pending_changes() {
    for composition in ALL {
        let directory = directory();
        let store = filled(composition, directory.path());
        // Another process changes the row that every commit reads, and two definitions.
        raw_connection(directory.path())
            .execute_batch(
                "UPDATE meta SET total = total + 1;
                 UPDATE definition SET body = zeroblob(length(body)) WHERE id IN (SELECT id FROM definition LIMIT 2);",
            )
            .expect("SQLite executes it");

        let added = store.add(shape(21), Wait::No);
        match &added {
            Ok(receipt) => {
                let NotDurable::Stopped(error) =
                    receipt.wait_durable(TIMEOUT).expect_err("writing has stopped")
                else {
                    panic!("{composition:?}: the reason is missing");
                };
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert!(store.has_handle(&handle(21)).expect("reads go on"), "{composition:?}");
            }
            Err(MutateError::Failed(error)) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{composition:?}")
            }
            Err(other) => panic!("{composition:?}: {other}"),
        }
        assert!(matches!(store.health().state, HealthState::Stopped { .. }), "{composition:?}");

        let repaired = store.repair().unwrap_or_else(|error| panic!("{composition:?}: {error:?}"));
        assert_eq!(repaired.saved, SHAPES - 2, "{composition:?}");
        let lost: Vec<_> = repaired.lost.iter().filter_map(|lost| lost.handle.clone()).collect();
        assert_eq!(lost, [handle(1), handle(2)], "{composition:?}");
        assert!(matches!(store.health().state, HealthState::Ready), "{composition:?}: {:?}", store.health());

        let pending = u64::from(added.is_ok());
        let check = |store: &ShapeMeta| {
            assert_eq!(store.counts().expect("reads").total, SHAPES - 2 + pending, "{composition:?}");
            assert_eq!(store.scan().expect("scans").count() as u64, SHAPES - 2 + pending, "{composition:?}");
            for number in 1..=2 {
                assert!(!store.has_handle(&handle(number)).expect("reads"), "{composition:?}");
                assert!(store.handle_for(&shape(number).key).expect("reads").is_none());
                assert!(store.record(&handle(number)).expect("reads").is_none());
            }
            for number in 3..=SHAPES {
                let record = store.record(&handle(number)).expect("reads").expect("it was salvaged");
                assert_eq!(record.definition, shape(number).definition);
                assert!(
                    store
                        .snapshot_state(&handle(number))
                        .expect("reads")
                        .is_some_and(SnapshotState::is_complete)
                );
            }
        };
        check(&store);
        for number in [1, 22] {
            store.add(shape(number), WAIT).expect("it can be added again");
        }
        store.mark_snapshot_complete(&handle(22), WAIT).expect("it is live");
        store.remove(&handle(1), WAIT).expect("it is live");
        store.remove(&handle(22), WAIT).expect("it is live");
        if pending == 1 {
            store.mark_snapshot_complete(&handle(21), WAIT).expect("it is live");
        }
        store.flush(TIMEOUT).expect("writing resumes");
        check(&store);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        let store = open(composition, directory.path());
        assert!(
            store
                .open_report()
                .expect("it has a database")
                .database
                .sqlite()
                .expect("SQLite")
                .quarantined
                .is_none(),
            "{composition:?}"
        );
        check(&store);
    }
}

/// A repair takes what the file has lost from memory, where a cache has it.
#[test]
fn c9_a_repair_takes_lost_rows_from_memory() {
    for composition in ALL {
        let directory = directory();
        let store = filled(composition, directory.path());
        let damage = "UPDATE shape SET handle = 'x' || handle, key = zeroblob(32) WHERE state = 3";
        raw_connection(directory.path()).execute_batch(damage).expect("SQLite executes it");
        let repaired = store.repair().expect("it repairs");
        let cached = composition.cache.is_some();
        assert_eq!(repaired.saved, if cached { SHAPES } else { 0 }, "{composition:?}: {repaired:?}");
        assert_eq!(store.counts().expect("reads").total, repaired.saved);
        if cached {
            assert!(store.record(&handle(7)).expect("reads").is_some());
        }
    }
}

#[test]
fn a_closed_store_and_one_without_a_file_cannot_be_repaired() {
    for composition in ALL {
        let memory = ShapeMeta::builder(shape_meta::NoopCleaner);
        let memory = composition.apply_to(memory).open_in_memory().expect("it opens");
        assert_eq!(memory.repair().expect_err("it has no file").kind(), ErrorKind::Unsupported);
        memory.add(shape(1), WAIT).expect("it still works");
        let directory = directory();
        let store = filled(composition, directory.path());
        store.close(Duration::from_secs(10));
        assert_eq!(store.repair().expect_err("it is closed").kind(), ErrorKind::Closed, "{composition:?}");
    }
}

#[test]
fn orphans_are_exact_and_include_pending_changes() {
    for composition in ALL {
        let directory = directory();
        let store = filled(composition, directory.path());
        store.pause();
        store.add(shape(21), WAIT).expect("it is new");
        store.remove(&handle(5), WAIT).expect("it is live");
        let stored = (3..=25).chain([7, 7]).map(handle);
        let mut orphans = Vec::new();
        let missing = store.orphans(stored, |one| orphans.push(one)).expect("reads");
        assert_eq!(missing, [handle(1), handle(2)], "{composition:?}");
        assert_eq!(orphans, [5, 22, 23, 24, 25].map(handle), "{composition:?}");
        store.resume();
    }
}
