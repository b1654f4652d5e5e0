//! The sizes of the files, as gauges show them.

use std::{fs, path::Path, sync::Arc};

use shape_meta_core::{NoopObserver, ReadShapes, ShapeStore, SnapshotState};
use shape_meta_sqlite::{Mode, SqliteStore};

use crate::support::{add, apply, directory, fill, open, options};

fn sizes(store: &SqliteStore) -> (Option<u64>, Option<u64>) {
    let usage = store.resource_usage();
    (usage.database_bytes, usage.wal_bytes)
}

fn on_disk(directory: &Path) -> (Option<u64>, Option<u64>) {
    let size = |name| fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
    (Some(size("shape-meta.sqlite3")), Some(size("shape-meta.sqlite3-wal")))
}

#[test]
fn c7_usage_has_the_sizes_of_database_and_wal() {
    let directory = directory();
    let store = open(directory.path(), options().wal_autocheckpoint_bytes(1 << 20));
    assert_eq!(sizes(&store), on_disk(directory.path()), "after the open");
    fill(&store, 1..=100);
    assert_eq!(sizes(&store), on_disk(directory.path()));
    assert!(sizes(&store).1 > Some(0));

    // While a scan is open, the WAL is not reset and grows.
    let scan = store.scan().expect("it reads");
    for number in 101..=400 {
        apply(&store, number, [add(number, SnapshotState::Complete)]);
    }
    assert_eq!(sizes(&store), on_disk(directory.path()));
    assert!(sizes(&store).1 > Some(2 << 20), "{:?}", sizes(&store));
    drop(scan);

    store.close_idle();
    assert_eq!(sizes(&store), on_disk(directory.path()), "the writer is closed");
    assert_eq!(sizes(&store).1, Some(0));
    apply(&store, 401, [add(401, SnapshotState::Complete)]);
    assert_eq!(sizes(&store), on_disk(directory.path()), "it is open again");
}

#[test]
fn c7_usage_has_no_size_where_there_is_no_file() {
    let directory = directory();
    let store = open(directory.path(), options().mode(Mode::Exclusive));
    fill(&store, 1..=10);
    assert_eq!(sizes(&store), on_disk(directory.path()));
    assert_eq!(sizes(&store).1, Some(0), "there is no WAL in this mode");
    let memory = SqliteStore::open_in_memory(options(), Arc::new(NoopObserver)).expect("it opens");
    assert_eq!(sizes(&memory), (None, None));
}
