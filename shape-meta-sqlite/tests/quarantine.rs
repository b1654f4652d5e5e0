//! Names of quarantined files: any directory, and never the name of another file.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use shape_meta_core::{ErrorKind, ReadShapes};
use shape_meta_sqlite::SqliteStore;

use crate::support;

const NAME: &str = "shape-meta.sqlite3";

/// Writes what a crash left of a store with the shapes 1 to 20, of which the database has the first ten and
/// the WAL the rest. The header of the database is damaged. Returns the bytes of database and WAL.
fn write_damaged(directory: &Path) -> [Vec<u8>; 2] {
    let origin = support::directory();
    let store = support::open(origin.path(), support::options());
    support::fill(&store, 1..=10);
    store.close().expect("closes");
    let store = support::open(origin.path(), support::options());
    support::fill(&store, 11..=20);
    let [mut database, wal] =
        ["", "-wal"].map(|suffix| fs::read(origin.path().join(format!("{NAME}{suffix}"))).expect("reads"));
    assert!(!wal.is_empty());
    database[18..20].fill(0xa5);
    fs::write(directory.join(NAME), &database).expect("writes");
    fs::write(directory.join(format!("{NAME}-wal")), &wal).expect("writes");
    drop(store);
    [database, wal]
}

fn contents(directory: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("reads").map(|entry| entry.expect("reads"));
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).expect("reads"))).collect()
}

fn assert_whole(store: &SqliteStore) {
    assert_eq!(support::live(store), (1..=20).collect::<Vec<_>>());
}

#[cfg(unix)]
#[test]
fn c11_a_directory_whose_name_is_not_utf_8_is_repaired() {
    use std::os::unix::ffi::OsStrExt;

    let parent = support::directory();
    let directory = parent.path().join(std::ffi::OsStr::from_bytes(b"tenant-\xff\xfe"));
    fs::create_dir(&directory).expect("creates");
    let [database, wal] = write_damaged(&directory);

    let store = support::open(&directory, support::options());
    let repaired = store.report().quarantined.clone().expect("a quarantine is reported");
    assert_whole(&store);
    assert_eq!(repaired.path.parent(), Some(directory.as_path()), "the path has the bytes of the directory");
    assert!(fs::read(&repaired.path).expect("the file exists") == database, "no byte changes");
    let mut kept_wal = repaired.path.clone().into_os_string();
    kept_wal.push("-wal");
    assert!(fs::read(&kept_wal).expect("the file exists") == wal, "no byte changes");
    assert_eq!(fs::read_dir(parent.path()).expect("reads").count(), 1, "no other directory is made");

    // The old WAL belongs to the damaged database, and is not replayed over the new one.
    store.close().expect("closes");
    assert!(!directory.join(format!("{NAME}-wal")).exists());
    let store = support::open(&directory, support::options());
    assert!(store.report().quarantined.is_none());
    assert_whole(&store);
}

#[test]
fn c11_a_quarantine_replaces_no_file() {
    let directory = support::directory();
    write_damaged(directory.path());
    // Names of the next minutes are taken: those of databases, or only those of a companion.
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    for second in now..now + 300 {
        let suffix = if second % 2 == 0 { "" } else { "-wal" };
        let name = format!("{NAME}.damaged-{second:010}{suffix}");
        fs::write(directory.path().join(name), second.to_string()).expect("writes");
    }
    let before = contents(directory.path());
    let store = support::open(directory.path(), support::options());
    assert!(store.report().quarantined.is_some());
    assert_whole(&store);
    store.close().expect("closes");
    let after = contents(directory.path());
    for (name, bytes) in before.iter().filter(|(name, _)| name.to_string_lossy().contains("damaged")) {
        assert_eq!(after.get(name), Some(bytes), "{name:?}");
    }
}

/// The name of the finished rebuild is taken by something that an operator put there. It is in the way, and
/// stays.
#[test]
fn c11_a_rebuild_replaces_no_file() {
    let directory = support::directory();
    let [database, wal] = write_damaged(directory.path());
    let taken = directory.path().join(format!("{NAME}-salvaged"));
    fs::create_dir(&taken).expect("creates");
    fs::write(taken.join("file"), "of an operator").expect("writes");
    let error = support::open_error(directory.path(), support::options());
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(taken.join("file").exists());
    assert!(fs::read(directory.path().join(NAME)).expect("reads") == database);
    assert!(fs::read(directory.path().join(format!("{NAME}-wal"))).expect("reads") == wal);
    fs::remove_dir_all(&taken).expect("removes");
    assert_whole(&support::open(directory.path(), support::options()));
}

/// An empty file under the name of the database, made while the repair was interrupted, is moved aside and
/// not overwritten.
#[test]
fn c11_the_repaired_database_replaces_no_file() {
    let directory = support::directory();
    let origin = support::directory();
    let store = support::open(origin.path(), support::options());
    support::fill(&store, 1..=20);
    store.close().expect("closes");
    fs::copy(origin.path().join(NAME), directory.path().join(format!("{NAME}-salvaged"))).expect("copies");
    fs::write(directory.path().join(NAME), "").expect("writes");
    let store = support::open(directory.path(), support::options());
    assert_whole(&store);
    assert_eq!(store.counts().expect("reads").total, 20);
    let moved = contents(directory.path())
        .into_iter()
        .filter(|(name, bytes)| name.to_string_lossy().contains(".damaged-") && bytes.is_empty());
    assert_eq!(moved.count(), 1);
}
