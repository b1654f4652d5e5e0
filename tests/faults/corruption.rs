//! Files that another process corrupts while they are open. Reads are served from memory, nothing panics,
//! writes succeed or report the reason, and no file is lost.

use std::{fs, path::Path, process::Command};

use shape_meta::{
    ErrorKind, HealthState, MutateShapesExt, ReadShapes, ReadShapesExt, ShapeMeta, StoreControl,
};
use shape_meta_core::conformance::{handle, key, shape};

use shape_meta_harness::compositions::{FlushSchedule, PRODUCT, TIMEOUT, WAIT, directory};

const NAME: &str = "shape-meta.sqlite3";
const SHAPES: u64 = 200;

/// Runs a command in another process, because a process that closes a file releases all its locks on it.
fn shell(directory: &Path, command: &str) {
    let done = Command::new("sh").args(["-c", command]).current_dir(directory).status();
    assert!(done.expect("there is a shell").success(), "{command}");
}

fn sizes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it reads"));
    let databases = files.filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME));
    databases.map(|entry| entry.metadata().expect("it is there").len()).sum()
}

/// Checks every read that is served from memory.
fn reads_go_on(store: &ShapeMeta, shapes: u64) {
    for number in 1..=shapes {
        assert!(store.has_handle(&handle(number)).expect("it is in memory"));
        assert_eq!(store.handle_for(&key(number)).expect("it is in memory"), Some(handle(number)));
    }
    assert_eq!(store.counts().expect("it is in memory").total, shapes);
}

fn assert_survives(corruption: &str) {
    let directory = directory();
    let composition = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
    let store = composition.open(directory.path());
    for number in 1..=SHAPES {
        store.add(shape(number), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
        if number % 50 == 0 {
            store.flush(TIMEOUT).expect("nothing fails");
        }
    }
    if !corruption.contains("-wal") {
        store.database().expect("it has one").maintain().expect("nothing fails");
    }
    shell(directory.path(), &corruption.replace("DB", NAME));
    let before = sizes(directory.path());
    reads_go_on(&store, SHAPES);
    // Adds enough that SQLite has to read pages that are not in its cache.
    let mut added = SHAPES;
    for _ in 0..5 {
        for _ in 0..20 {
            if store.add(shape(added + 1), WAIT).is_ok() {
                added += 1;
            }
        }
        let _ = store.flush(TIMEOUT);
        reads_go_on(&store, added);
    }
    match store.health().state {
        HealthState::Ready | HealthState::Degraded { .. } => {}
        HealthState::Stopped { error } => {
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotADatabase), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    store.close(TIMEOUT);
    drop(store);
    match composition.builder().open(directory.path()) {
        Ok(store) => {
            let report =
                store.open_report().expect("it has a database").database.sqlite().expect("SQLite").clone();
            if let Some(quarantined) = report.quarantined {
                // If the database was moved away, only its WAL could be quarantined.
                let path = quarantined.path.display();
                let exists = ["", "-wal"].iter().any(|suffix| Path::new(&format!("{path}{suffix}")).exists());
                assert!(exists, "C11: {corruption}");
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotADatabase, "{corruption}: {error:?}"),
    }
    assert!(sizes(directory.path()) >= before.min(4_096), "C11: {corruption}: data was deleted");
}

#[test]
fn c9_c11_a_database_is_overwritten_while_open() {
    assert_survives("dd if=/dev/urandom of=DB bs=4096 seek=1 count=8 conv=notrunc 2>/dev/null");
    assert_survives("dd if=/dev/urandom of=DB bs=100 count=1 conv=notrunc 2>/dev/null");
    assert_survives("dd if=/dev/zero of=DB bs=16384 seek=1 count=2 conv=notrunc 2>/dev/null");
}

#[test]
fn c9_c11_a_database_is_truncated_while_open() {
    assert_survives("truncate -s 16384 DB");
    assert_survives("truncate -s 1000 DB");
    assert_survives("truncate -s 0 DB");
}

#[test]
fn c9_c11_a_wal_is_damaged_while_open() {
    assert_survives("truncate -s 0 DB-wal");
    assert_survives("truncate -s 20000 DB-wal");
    assert_survives("dd if=/dev/urandom of=DB-wal bs=1 seek=5000 count=1 conv=notrunc 2>/dev/null");
    assert_survives("dd if=/dev/urandom of=DB-wal bs=32 count=1 conv=notrunc 2>/dev/null");
}

#[test]
fn c9_c11_files_are_moved_away_while_open() {
    assert_survives("mv DB aside");
    assert_survives("mv DB-wal aside");
    assert_survives("cp DB copy && mv copy DB");
}
