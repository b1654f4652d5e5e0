//! What an operator's SQLite may do to the file: nothing of it is damage.

use std::{fs, path::Path};

use shape_meta_core::{Change, ReadShapes, ShapeStoreExt, TrustedState};
use shape_meta_sqlite::{IntegrityCheck, Mode, SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::support;

const NAME: &str = "shape-meta.sqlite3";
const PAGE: usize = 1024;

fn options() -> SqliteOptions {
    support::options().page_size(PAGE as u32)
}

fn expected() -> Vec<u64> {
    (1..=10).chain(291..=300).collect()
}

/// Returns an open store with the shapes 1 to 10 and 291 to 300, whose file has many free pages and no WAL to
/// speak of.
fn create(directory: &Path, options: &SqliteOptions) -> SqliteStore {
    let store = support::open(directory, options.clone());
    support::fill(&store, 1..=300);
    let removed = (11..=290).map(|number| Change::Remove { entry: support::record(number).entry.clone() });
    support::apply(&store, 400, removed);
    store.close().expect("closes");
    support::open(directory, options.clone())
}

/// Returns a copy of the files, as a kill leaves them.
fn killed(directory: &Path) -> TempDir {
    let copy = support::directory();
    for suffix in ["", "-wal", "-journal"] {
        let name = format!("{NAME}{suffix}");
        if directory.join(&name).exists() {
            fs::copy(directory.join(&name), copy.path().join(&name)).expect("copies");
        }
    }
    copy
}

/// The database opens as it is, has all shapes, takes more, and can be rebuilt.
fn assert_sound(directory: &Path, context: &str) {
    let store = support::open(directory, options());
    assert!(store.report().quarantined.is_none(), "{context}: {:?}", store.report().quarantined);
    let recovery = store.recover().expect("recovers");
    assert!(recovery.quarantined.is_none(), "{context}: {:?}", recovery.quarantined);
    assert_eq!(support::live(&store), expected(), "{context}");
    support::fill(&store, 401..=440);
    store.close().expect("closes");
    let store = support::open(directory, options().integrity_check(IntegrityCheck::Everything));
    assert!(store.report().quarantined.is_none(), "{context}");
    let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!(repaired.missing(), 0, "{context}: {repaired:?}");
    assert_eq!(
        support::live(&store),
        expected().into_iter().chain(401..=440).collect::<Vec<_>>(),
        "{context}"
    );
}

const STATEMENTS: [&str; 9] = [
    "VACUUM",
    "PRAGMA auto_vacuum = FULL; VACUUM",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "REINDEX",
    "ANALYZE",
    "CREATE INDEX of_an_operator ON shape (handle)",
    "CREATE TABLE of_an_operator AS SELECT * FROM shape",
    "CREATE VIEW of_an_operator AS SELECT handle FROM shape",
    "PRAGMA journal_mode = DELETE",
];

#[test]
fn c11_what_an_operator_does_is_no_damage() {
    for sql in STATEMENTS {
        let directory = support::directory();
        let store = create(directory.path(), &options());
        // Another mode is possible only while no connection is open.
        let is_mode = sql.contains("journal_mode");
        if is_mode {
            store.close().expect("closes");
        }
        support::raw_connection(directory.path()).execute_batch(sql).expect("the statement runs");
        if !is_mode {
            assert_eq!(support::live(&store), expected(), "{sql}: the owner goes on");
        }
        assert_sound(killed(directory.path()).path(), &format!("{sql}, then a kill"));
        store.close().expect("closes");
        assert_sound(directory.path(), sql);
    }
}

/// A `VACUUM` that is only in the WAL makes the database shorter than its file, until a checkpoint cuts it.
#[test]
fn c11_a_vacuum_and_a_kill_are_no_damage() {
    let directory = support::directory();
    let store = create(directory.path(), &options());
    let connection = support::raw_connection(directory.path());
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; VACUUM").expect("vacuums");
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("reads");
    let killed = killed(directory.path());
    let in_file = fs::metadata(killed.path().join(NAME)).expect("exists").len() as i64 / PAGE as i64;
    assert!(pages < in_file, "{pages} pages, and {in_file} in the file");
    drop((connection, store));
    assert_sound(killed.path(), "in the WAL");
}

/// With a rollback journal, SQLite cuts the file after the transaction has ended.
#[test]
fn c11_a_vacuum_whose_file_is_not_cut_yet_is_no_damage() {
    let directory = support::directory();
    let store = create(directory.path(), &options().mode(Mode::Exclusive));
    store.close().expect("closes");
    let before = fs::read(directory.path().join(NAME)).expect("reads");
    support::raw_connection(directory.path()).execute_batch("VACUUM").expect("vacuums");
    let mut bytes = fs::read(directory.path().join(NAME)).expect("reads");
    assert!(bytes.len() < before.len());
    bytes.extend_from_slice(&before[bytes.len()..]);
    fs::write(directory.path().join(NAME), bytes).expect("writes");
    assert_sound(directory.path(), "not cut yet");
}

#[test]
fn c11_the_result_of_vacuum_into_can_be_put_in_place() {
    let [directory, restored] = [(); 2].map(|()| support::directory());
    let store = create(directory.path(), &options());
    let to = restored.path().join(NAME);
    let connection = support::raw_connection(directory.path());
    connection.execute("VACUUM INTO ?1", [to.to_str().expect("UTF-8")]).expect("vacuums");
    drop((connection, store));
    assert_sound(restored.path(), "VACUUM INTO");
}

/// An operator has copied the table before shapes were removed. A repair does not take the copy for ours.
#[test]
fn c11_a_copy_of_a_table_does_not_bring_shapes_back() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=300);
    let connection = support::raw_connection(directory.path());
    for table in ["shape", "definition"] {
        let sql: String = connection
            .query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
            .expect("reads");
        let copy = sql.replacen(table, &format!("{table}_of_an_operator"), 1);
        connection
            .execute_batch(&format!("{copy}; INSERT INTO {table}_of_an_operator SELECT * FROM {table}"))
            .expect("copies");
    }
    drop(connection);
    let removed = (11..=290).map(|number| Change::Remove { entry: support::record(number).entry.clone() });
    support::apply(&store, 400, removed);
    let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!(support::live(&store), expected());
    assert_eq!((repaired.saved, repaired.missing()), (20, 0), "{:?}", repaired.lost);
    assert_eq!(store.counts().expect("reads").total, 20);
}

/// The store is at rest, without a connection, so that SQLite lets an operator change the journal mode.
#[test]
fn c11_a_store_goes_on_after_an_operator_changed_the_journal_mode() {
    for journal_mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY"] {
        let directory = support::directory();
        let store = support::open(directory.path(), options());
        support::fill(&store, 1..=3);
        for round in 4..=6 {
            store.close_idle();
            let connection = support::raw_connection(directory.path());
            let set: String = connection
                .query_row(&format!("PRAGMA journal_mode = {journal_mode}"), [], |row| row.get(0))
                .expect("nothing has it open");
            assert_eq!(set, journal_mode.to_lowercase());
            drop(connection);
            if round == 5 {
                assert_eq!(support::live(&store).len(), 4, "a read comes before the next write");
            }
            support::fill(&store, round..=round);
            assert_eq!(support::live(&store), (1..=round).collect::<Vec<_>>());
            let connection = support::raw_connection(directory.path());
            let found: String =
                connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("reads");
            assert_eq!(found, "wal", "the writer has set its own mode again");
        }
        drop(store);
        let store = support::open(directory.path(), options().integrity_check(IntegrityCheck::Everything));
        assert!(store.report().quarantined.is_none());
        assert_eq!(support::live(&store).len(), 6);
    }
}
