//! Damaged files: quarantined or refused. Busy and empty files are not damaged.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use shape_meta_core::{ErrorKind, ReadShapes};
use shape_meta_sqlite::{IntegrityCheck, Mode, OnCorruption, SqliteOptions};

use crate::support::{self, Recorder};

const NAME: &str = "shape-meta.sqlite3";

/// Creates a database with 200 shapes, and closes it.
fn create(directory: &Path) {
    let store = support::open(directory, support::options().page_size(1024));
    support::fill(&store, 1..=200);
    store.close().expect("closes");
}

fn overwrite(path: &Path, from: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("opens");
    file.seek(SeekFrom::Start(from)).expect("seeks");
    file.write_all(bytes).expect("writes");
}

/// Overwrites every page but the first.
fn corrupt(directory: &Path) {
    let path = directory.join(NAME);
    let length = fs::metadata(&path).expect("the file exists").len();
    overwrite(&path, 1024, &vec![0xa5; length as usize - 1024]);
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("reads");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("reads").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn c11_a_damaged_database_is_quarantined_and_replaced() {
    for check in [IntegrityCheck::Nothing, IntegrityCheck::Metadata, IntegrityCheck::Everything] {
        for mode in [Mode::Wal, Mode::Exclusive] {
            let directory = support::directory();
            create(directory.path());
            corrupt(directory.path());
            fs::write(directory.path().join(format!("{NAME}-wal")), "a log").expect("writes");
            fs::write(directory.path().join(format!("{NAME}-shm")), "its index").expect("writes");
            let damaged = fs::read(directory.path().join(NAME)).expect("reads");

            let recorder = Arc::new(Recorder::default());
            let options = support::options().integrity_check(check).mode(mode);
            let store = support::open_observed(directory.path(), options, recorder.clone());
            assert_eq!(store.counts().expect("reads").total, 0);
            // No row could be read, so sequence numbers that it may have assigned are skipped.
            let last = store.last_seq().expect("reads").get();
            assert!(last > 200);
            support::fill(&store, last + 1..=last + 3);

            let quarantined = store.report().quarantined.clone().expect("the quarantine is reported");
            assert_eq!(quarantined.error.kind(), ErrorKind::Corrupt);
            assert_eq!(
                recorder.quarantined.lock().expect("no thread panicked").as_slice(),
                std::slice::from_ref(&quarantined.path)
            );
            assert!(fs::read(&quarantined.path).expect("the file exists") == damaged, "no byte changes");
            let companion = |suffix| fs::read(format!("{}{suffix}", quarantined.path.display()));
            assert!(
                companion("-wal").is_ok(),
                "the WAL is quarantined with its database: {:?}",
                file_names(directory.path())
            );
            let name =
                quarantined.path.file_name().expect("the path has a file name").to_str().expect("UTF-8");
            let suffix = name.strip_prefix("shape-meta.sqlite3.damaged-").expect("the name has the suffix");
            assert!(suffix.len() == 10 && suffix.parse::<u64>().is_ok(), "{suffix} is not a time in seconds");
            drop(store);
            let store = support::open(directory.path(), support::options());
            assert!(store.report().quarantined.is_none());
            assert_eq!(store.counts().expect("reads").total, 3);
        }
    }
}

#[test]
fn c11_repeated_quarantines_keep_every_file() {
    let directory = support::directory();
    for round in 1..=3 {
        create(directory.path());
        corrupt(directory.path());
        let store = support::open(directory.path(), support::options());
        assert!(store.report().quarantined.is_some());
        store.close().expect("closes");
        let quarantined =
            file_names(directory.path()).into_iter().filter(|name| name.contains("damaged")).count();
        assert!(quarantined >= round, "{:?}", file_names(directory.path()));
        fs::remove_file(directory.path().join(NAME)).expect("removes");
    }
}

#[test]
fn c11_a_wal_without_its_database_is_quarantined() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    let crashed = support::directory();
    let wal = format!("{NAME}-wal");
    fs::copy(directory.path().join(&wal), crashed.path().join(&wal)).expect("copies");
    let bytes = fs::read(crashed.path().join(&wal)).expect("reads");
    drop(store);

    let error = support::open_error(crashed.path(), support::options().on_corruption(OnCorruption::Refuse));
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(fs::read(crashed.path().join(&wal)).expect("the file exists") == bytes);

    let store = support::open(crashed.path(), support::options());
    let path = store.report().quarantined.clone().expect("the quarantine is reported").path;
    assert!(fs::read(format!("{}-wal", path.display())).expect("the file exists") == bytes);
}

#[test]
fn c11_a_damaged_database_can_be_refused_and_stays_unchanged() {
    let directory = support::directory();
    create(directory.path());
    corrupt(directory.path());
    let before = fs::read(directory.path().join(NAME)).expect("reads");
    let error = support::open_error(directory.path(), support::options().on_corruption(OnCorruption::Refuse));
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    insta::assert_snapshot!(error.to_string().replace(&directory.path().display().to_string(), "DIRECTORY"));
    assert!(fs::read(directory.path().join(NAME)).expect("reads") == before, "no byte changes");
}

#[test]
fn a_truncated_database_is_quarantined() {
    let directory = support::directory();
    create(directory.path());
    let file = fs::OpenOptions::new().write(true).open(directory.path().join(NAME)).expect("opens");
    file.set_len(3 * 1024).expect("truncates");
    drop(file);
    let store = support::open(directory.path(), support::options());
    assert!(store.report().quarantined.is_some());
}

#[test]
fn a_full_integrity_check_finds_damage_in_a_definition() {
    let directory = support::directory();
    create(directory.path());
    let path = directory.path().join(NAME);
    let leaf: i64 = support::raw_connection(directory.path())
        .query_row(
            "SELECT max(pageno) FROM dbstat WHERE name = 'definition' AND pagetype = 'leaf'",
            [],
            |row| row.get(0),
        )
        .expect("reads");
    overwrite(&path, (leaf.cast_unsigned() - 1) * 1024, &[0xa5; 1024]);
    let open = |check| support::open(directory.path(), support::options().integrity_check(check));
    let quarantined = open(IntegrityCheck::Metadata).report().quarantined.clone();
    assert!(quarantined.is_none(), "the open does not read definitions: {quarantined:?}");
    assert!(open(IntegrityCheck::Everything).report().quarantined.is_some());
}

/// The default check covers every table that the recovery reads. Otherwise each open would fail in the
/// recovery, and the file would never be quarantined.
#[test]
fn c11_the_default_check_covers_tables_that_the_recovery_reads() {
    for table in ["meta", "shape", "cleanup", "trusted_storage", "lineage"] {
        let directory = support::directory();
        create(directory.path());
        let page: i64 = support::raw_connection(directory.path())
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
            .expect("reads");
        let path = directory.path().join(NAME);
        overwrite(&path, (page.cast_unsigned() - 1) * 1024, &[0xa5; 1024]);
        let store = support::open(directory.path(), support::options());
        assert!(store.report().quarantined.is_some(), "{table}");
        store.recover().expect("a new database is sound");
    }
}

#[test]
fn a_busy_database_is_not_quarantined() {
    let directory = support::directory();
    create(directory.path());
    let connection = support::raw_connection(directory.path());
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").expect("the lock is taken");
    for mode in [Mode::Wal, Mode::Exclusive] {
        let options: SqliteOptions = support::options().mode(mode).busy_timeout(Duration::from_millis(5));
        let error = support::open_error(directory.path(), options);
        assert_eq!(error.kind(), ErrorKind::Busy, "{mode:?}: {error:?}");
    }
    connection.execute_batch("ROLLBACK").expect("the lock is released");
    drop(connection);
    let store = support::open(directory.path(), support::options());
    assert_eq!(store.counts().expect("reads").total, 200);
}

#[test]
fn an_interrupted_creation_is_restarted() {
    let directory = support::directory();
    fs::write(directory.path().join(NAME), "").expect("writes");
    drop(support::open(directory.path(), support::options()));

    // An empty SQLite database, as after a rollback of the first transaction.
    let directory = support::directory();
    let connection = support::raw_connection(directory.path());
    connection.execute_batch("CREATE TABLE dropped (x); DROP TABLE dropped").expect("writes");
    connection.pragma_update(None, "application_id", i32::from_be_bytes(*b"shap")).expect("writes");
    drop(connection);
    let store = support::open(directory.path(), support::options());
    assert!(store.report().created && store.report().quarantined.is_none());
}
