//! Damaged files: moved aside whole, or refused; and what is no damage.

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

/// A database with shapes, closed.
fn written(directory: &Path) {
    let store = support::open(directory, support::options().page_size(1024));
    support::fill(&store, 1..=200);
    store.close().expect("closes");
}

fn overwrite(path: &Path, from: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("opens");
    file.seek(SeekFrom::Start(from)).expect("seeks");
    file.write_all(bytes).expect("writes");
}

/// Damages every page but the first, and leaves a log and a journal beside it.
fn damage(directory: &Path) {
    let path = directory.join(NAME);
    let length = fs::metadata(&path).expect("is there").len();
    overwrite(&path, 1024, &vec![0xa5; length as usize - 1024]);
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("reads");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("reads").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn c11_a_damaged_database_is_moved_aside_whole_and_a_new_one_begun() {
    for check in [IntegrityCheck::Nothing, IntegrityCheck::Metadata, IntegrityCheck::Everything] {
        for mode in [Mode::Wal, Mode::Exclusive] {
            let directory = support::directory();
            written(directory.path());
            damage(directory.path());
            fs::write(directory.path().join(format!("{NAME}-wal")), "a log").expect("writes");
            fs::write(directory.path().join(format!("{NAME}-shm")), "its index").expect("writes");
            let damaged = fs::read(directory.path().join(NAME)).expect("reads");

            let recorder = Arc::new(Recorder::default());
            let options = support::options().integrity_check(check).mode(mode);
            let store = support::observed(directory.path(), options, recorder.clone());
            assert_eq!(store.counts().expect("reads").total, 0);
            // Nothing of it could be read, so the places that it may have given are left out.
            let last = store.last_seq().expect("reads").get();
            assert!(last > 200);
            support::fill(&store, last + 1..=last + 3);

            let quarantined = store.report().quarantined.clone().expect("it says so");
            assert_eq!(quarantined.error.kind(), ErrorKind::Corrupt);
            assert_eq!(
                recorder.quarantined.lock().expect("no panic").as_slice(),
                std::slice::from_ref(&quarantined.path)
            );
            assert!(fs::read(&quarantined.path).expect("it is there") == damaged, "not a byte was touched");
            let beside = |suffix| fs::read(format!("{}{suffix}", quarantined.path.display()));
            assert!(beside("-wal").is_ok(), "the log goes with its database: {:?}", names(directory.path()));
            let name = quarantined.path.file_name().expect("a name").to_str().expect("text");
            assert!(name.starts_with("shape-meta.sqlite3.damaged-2"), "{name}");
            drop(store);
            let store = support::open(directory.path(), support::options());
            assert!(store.report().quarantined.is_none());
            assert_eq!(store.counts().expect("reads").total, 3);
        }
    }
}

#[test]
fn c11_damage_upon_damage_loses_nothing() {
    let directory = support::directory();
    for round in 1..=3 {
        written(directory.path());
        damage(directory.path());
        let store = support::open(directory.path(), support::options());
        assert!(store.report().quarantined.is_some());
        store.close().expect("closes");
        let kept = names(directory.path()).into_iter().filter(|name| name.contains("damaged")).count();
        assert!(kept >= round, "{:?}", names(directory.path()));
        fs::remove_file(directory.path().join(NAME)).expect("removes");
    }
}

#[test]
fn c11_a_log_without_its_database_is_kept() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    let crashed = support::directory();
    let log = format!("{NAME}-wal");
    fs::copy(directory.path().join(&log), crashed.path().join(&log)).expect("copies");
    let bytes = fs::read(crashed.path().join(&log)).expect("reads");
    drop(store);

    let error = support::refused(crashed.path(), support::options().on_corruption(OnCorruption::Refuse));
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(fs::read(crashed.path().join(&log)).expect("it is there") == bytes);

    let store = support::open(crashed.path(), support::options());
    let path = store.report().quarantined.clone().expect("it says so").path;
    assert!(fs::read(format!("{}-wal", path.display())).expect("it is there") == bytes);
}

#[test]
fn c11_damage_can_be_refused_and_stays_where_it_is() {
    let directory = support::directory();
    written(directory.path());
    damage(directory.path());
    let before = fs::read(directory.path().join(NAME)).expect("reads");
    let error = support::refused(directory.path(), support::options().on_corruption(OnCorruption::Refuse));
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    insta::assert_snapshot!(error.to_string().replace(&directory.path().display().to_string(), "DIRECTORY"));
    assert!(fs::read(directory.path().join(NAME)).expect("reads") == before, "not a byte was touched");
}

#[test]
fn a_truncated_database_is_damaged() {
    let directory = support::directory();
    written(directory.path());
    let file = fs::OpenOptions::new().write(true).open(directory.path().join(NAME)).expect("opens");
    file.set_len(3 * 1024).expect("truncates");
    drop(file);
    let store = support::open(directory.path(), support::options());
    assert!(store.report().quarantined.is_some());
}

#[test]
fn damage_in_a_definition_is_found_by_a_check_of_everything() {
    let directory = support::directory();
    written(directory.path());
    let path = directory.path().join(NAME);
    let leaf: i64 = support::stranger(directory.path())
        .query_row(
            "SELECT max(pageno) FROM dbstat WHERE name = 'definition' AND pagetype = 'leaf'",
            [],
            |row| row.get(0),
        )
        .expect("reads");
    overwrite(&path, (leaf.cast_unsigned() - 1) * 1024, &[0xa5; 1024]);
    let open = |check| support::open(directory.path(), support::options().integrity_check(check));
    let quarantined = open(IntegrityCheck::Metadata).report().quarantined.clone();
    assert!(quarantined.is_none(), "the boot does not read it: {quarantined:?}");
    assert!(open(IntegrityCheck::Everything).report().quarantined.is_some());
}

/// Whatever the recovery reads has been checked before: or else opening would fail at it again and again,
/// and nothing be moved aside.
#[test]
fn c11_damage_in_any_table_that_a_boot_reads_is_found_by_the_usual_check() {
    for table in ["meta", "shape", "to_clean"] {
        let directory = support::directory();
        written(directory.path());
        let page: i64 = support::stranger(directory.path())
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
fn busy_is_never_damage() {
    let directory = support::directory();
    written(directory.path());
    let stranger = support::stranger(directory.path());
    stranger.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").expect("it locks");
    for mode in [Mode::Wal, Mode::Exclusive] {
        let options: SqliteOptions = support::options().mode(mode).busy_timeout(Duration::from_millis(5));
        let error = support::refused(directory.path(), options);
        assert_eq!(error.kind(), ErrorKind::Busy, "{mode:?}: {error:?}");
    }
    stranger.execute_batch("ROLLBACK").expect("it unlocks");
    drop(stranger);
    let store = support::open(directory.path(), support::options());
    assert_eq!(store.counts().expect("reads").total, 200);
}

#[test]
fn a_creation_that_was_cut_off_is_begun_again() {
    let directory = support::directory();
    fs::write(directory.path().join(NAME), "").expect("writes");
    drop(support::open(directory.path(), support::options()));

    // A SQLite database without anything in it: what is left if the first transaction was rolled back.
    let directory = support::directory();
    let stranger = support::stranger(directory.path());
    stranger.execute_batch("CREATE TABLE gone (x); DROP TABLE gone").expect("writes");
    stranger.pragma_update(None, "application_id", i32::from_be_bytes(*b"shap")).expect("writes");
    drop(stranger);
    let store = support::open(directory.path(), support::options());
    assert!(store.report().created && store.report().quarantined.is_none());
}
