//! Damaged first bytes: the rest of the file says whose it is.

use std::{fs, path::Path, sync::Arc};

use shape_meta_core::{Change, ErrorKind, NoopObserver, ShapeStore};
use shape_meta_sqlite::{IntegrityCheck, SqliteOptions, SqliteStore};

use crate::support;

const NAME: &str = "shape-meta.sqlite3";
const PAGE: usize = 1024;

/// Returns the bytes of a database with the shapes 1 to 40 without 11 to 20, with free pages.
fn create() -> Vec<u8> {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().page_size(PAGE as u32));
    support::fill(&store, 1..=80);
    let removed = (11..=20).chain(41..=80);
    let removed = removed.map(|number| Change::Remove { entry: support::record(number).entry.clone() });
    store.apply(&support::batch(100, removed)).expect("the batch applies");
    store.close().expect("closes");
    let bytes = fs::read(directory.path().join(NAME)).expect("reads");
    assert_ne!(bytes[32..40], [0; 8], "there are free pages");
    bytes
}

fn expected() -> Vec<u64> {
    (1..=10).chain(21..=40).collect()
}

fn open(directory: &Path, options: SqliteOptions) -> shape_meta_core::Result<SqliteStore> {
    SqliteStore::open(directory, options, Arc::new(NoopObserver))
}

/// Opens the damaged database; twice, with writes in between, if it stays in its place. No shape is lost, and
/// the damaged file is kept byte for byte if another one takes its place. Returns whether it was quarantined.
fn assert_saved(damaged: &[u8], check: IntegrityCheck, context: &str) -> bool {
    let directory = support::directory();
    fs::write(directory.path().join(NAME), damaged).expect("writes");
    let options = || support::options().page_size(PAGE as u32).integrity_check(check);
    let store = open(directory.path(), options()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let quarantined = store.report().quarantined.clone();
    if let Some(repaired) = &quarantined {
        assert!(fs::read(&repaired.path).expect("exists") == damaged, "{context}: no byte changes");
        assert_eq!(repaired.missing(), 0, "{context}: {repaired:?}");
    }
    let recovery = store.recover().unwrap_or_else(|error| panic!("{context}: {error:?}"));
    assert_eq!(recovery.cleanup_tasks, 50, "{context}: the tasks of the removed shapes are saved, too (C12)");
    assert_eq!(support::live(&store), expected(), "{context}");
    if quarantined.is_some() {
        return true;
    }
    // A wrong list of free pages would overwrite shapes now.
    let next = store.report().last_seq.get().max(1_000) + 1;
    support::fill(&store, next..=next + 40);
    store.close().expect("closes");
    let store = open(directory.path(), options().integrity_check(IntegrityCheck::Everything))
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    assert!(store.report().quarantined.is_none(), "{context}: {:?}", store.report().quarantined);
    let expected: Vec<_> = expected().into_iter().chain(next..=next + 40).collect();
    assert_eq!(support::live(&store), expected, "{context}");
    false
}

/// Each bit of the first 100 bytes: no shape is lost, and nothing is refused.
#[test]
fn c11_a_flipped_byte_of_the_header_loses_no_shape() {
    let bytes = create();
    let checks = [IntegrityCheck::Nothing, IntegrityCheck::Metadata];
    for at in 0..100 {
        for flip in (0..8).map(|bit| 1 << bit) {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let context = format!("byte {at} ^ {flip:#x}");
            assert_saved(&damaged, checks[at % 2], &context);
        }
    }
}

#[test]
fn c11_a_lost_first_page_loses_no_shape() {
    let bytes = create();
    for check in [IntegrityCheck::Nothing, IntegrityCheck::Everything] {
        for fill in [0, 0xa5] {
            let mut damaged = bytes.clone();
            damaged[..PAGE].fill(fill);
            assert!(assert_saved(&damaged, check, &format!("filled with {fill:#x}")));
            let mut damaged = bytes.clone();
            damaged[..100].fill(fill);
            assert!(assert_saved(&damaged, check, &format!("header filled with {fill:#x}")));
        }
    }
}

/// The first page is that of a database of ours with another page size.
#[test]
fn c11_a_first_page_of_another_page_size_loses_no_shape() {
    let bytes = create();
    for size in [512, 2_048, 4_096, 16_384] {
        let directory = support::directory();
        let store = open(directory.path(), support::options().page_size(size)).expect("opens");
        store.close().expect("closes");
        let other = fs::read(directory.path().join(NAME)).expect("reads");
        let mut damaged = bytes.clone();
        damaged[..PAGE.min(size as usize)].copy_from_slice(&other[..PAGE.min(size as usize)]);
        assert!(assert_saved(&damaged, IntegrityCheck::Metadata, &format!("page size {size}")));
    }
}

/// A file that was cut is salvaged as far as it goes. It is never the database of another application.
#[test]
fn c11_a_truncated_file_is_salvaged() {
    let bytes = create();
    for length in [bytes.len() - 1, bytes.len() - PAGE, bytes.len() / 2, 3 * PAGE + 17, PAGE, 99, 50, 16, 12]
    {
        let directory = support::directory();
        fs::write(directory.path().join(NAME), &bytes[..length]).expect("writes");
        let store = open(directory.path(), support::options().page_size(PAGE as u32))
            .unwrap_or_else(|error| panic!("{length} bytes: {error:?}"));
        store.recover().expect("the salvaged database is sound");
        match store.report().quarantined.clone() {
            Some(repaired) => {
                assert!(fs::read(&repaired.path).expect("exists") == bytes[..length], "no byte changes");
            }
            // Only a free page was cut.
            None => assert_eq!(support::live(&store), expected(), "{length} bytes"),
        }
    }
}

/// A database that a later version has written is refused, and not taken for a damaged one: its tables are
/// others, or there are more of them.
#[test]
fn c11_a_later_version_is_not_taken_for_damage() {
    for sql in ["CREATE TABLE later (x)", "ALTER TABLE shape ADD COLUMN later INTEGER"] {
        let directory = support::directory();
        fs::write(directory.path().join(NAME), create()).expect("writes");
        let connection = support::raw_connection(directory.path());
        connection.execute_batch(&format!("{sql}; PRAGMA user_version = 7")).expect("writes");
        drop(connection);
        let before = fs::read(directory.path().join(NAME)).expect("reads");
        let error = support::open_error(directory.path(), support::options());
        assert_eq!(error.kind(), ErrorKind::UnsupportedSchema, "{error}");
        assert!(fs::read(directory.path().join(NAME)).expect("reads") == before, "the file stays unchanged");
    }
}

/// Foreign files with a damaged header, or in the form of a database, stay as they are.
#[test]
fn c11_a_foreign_file_stays_unchanged() {
    let foreign = || {
        let directory = support::directory();
        let connection = support::raw_connection(directory.path());
        connection
            .execute_batch(
                "CREATE TABLE shape (id INTEGER PRIMARY KEY, name TEXT, points BLOB);
                 INSERT INTO shape VALUES (1, 'a circle', x'00010203'), (2, 'a square', x'00');
                 CREATE TABLE meta (id INTEGER PRIMARY KEY, a INT, b INT, c INT, d INT, e INT);
                 INSERT INTO meta VALUES (1, 1, 2, 3, 4, 5);
                 CREATE INDEX names ON shape (name)",
            )
            .expect("writes");
        drop(connection);
        fs::read(directory.path().join(NAME)).expect("reads")
    };
    let mut without_magic = foreign();
    without_magic[3] ^= 1;
    let text = b"SQLite is not what this file is, although it begins like one. ".repeat(100);
    for content in [foreign(), without_magic, text, vec![0; 8_192], vec![13; 8_192]] {
        let directory = support::directory();
        fs::write(directory.path().join(NAME), &content).expect("writes");
        let error = support::open_error(directory.path(), support::options());
        assert_eq!(error.kind(), ErrorKind::NotADatabase, "{error}");
        assert!(fs::read(directory.path().join(NAME)).expect("reads") == content, "the file stays unchanged");
        let names = fs::read_dir(directory.path()).expect("reads").count();
        assert_eq!(names, 2, "the file and the lock");
    }
}

/// Once, a journal next to the file was enough to take it for a damaged database of ours.
#[test]
fn c11_a_foreign_file_with_a_journal_stays_unchanged() {
    let text = b"not a database ".repeat(1_000);
    let sqlite = {
        let directory = support::directory();
        let connection = support::raw_connection(directory.path());
        connection.execute_batch("CREATE TABLE other (x); INSERT INTO other VALUES (1)").expect("writes");
        drop(connection);
        fs::read(directory.path().join(NAME)).expect("reads")
    };
    let mut header = b"SQLite format 3\0".to_vec();
    header.resize(PAGE, 0x5a);
    // A journal that would be rolled back: it has the page that the transaction has changed.
    let hot = {
        let directory = support::directory();
        fs::write(directory.path().join(NAME), &sqlite).expect("writes");
        let connection = support::raw_connection(directory.path());
        connection
            .execute_batch("PRAGMA cache_size = 1; PRAGMA synchronous = FULL; BEGIN; INSERT INTO other SELECT randomblob(9000)")
            .expect("writes");
        fs::read(directory.path().join(format!("{NAME}-journal"))).expect("reads")
    };
    assert!(hot.len() > 512);
    for content in [&text, &sqlite, &header] {
        for journal in [b"x".to_vec(), b"a note".repeat(100), hot.clone()] {
            let directory = support::directory();
            fs::write(directory.path().join(NAME), content).expect("writes");
            fs::write(directory.path().join(format!("{NAME}-journal")), &journal).expect("writes");
            let error = support::open_error(directory.path(), support::options());
            assert_eq!(error.kind(), ErrorKind::NotADatabase, "{error}");
            assert!(fs::read(directory.path().join(NAME)).expect("reads") == *content, "it stays unchanged");
            let kept = fs::read(directory.path().join(format!("{NAME}-journal"))).expect("reads");
            assert!(kept == journal, "its journal stays unchanged");
            assert_eq!(fs::read_dir(directory.path()).expect("reads").count(), 3, "and the lock");
        }
    }
}

/// What a kill leaves of a creation: no file of ours yet, or an empty database without an application id.
#[test]
fn c11_a_killed_creation_is_no_foreign_database() {
    let directory = support::directory();
    let connection = support::raw_connection(directory.path());
    connection.execute_batch("PRAGMA journal_mode = WAL").expect("writes");
    drop(connection);
    assert!(fs::metadata(directory.path().join(NAME)).expect("exists").len() > 0);
    let store = support::open(directory.path(), support::options());
    assert!(store.report().created && store.report().quarantined.is_none());
}
