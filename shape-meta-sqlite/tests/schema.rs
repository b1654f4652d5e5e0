//! The schema: its text, and that every released version opens.

use std::{fs, path::PathBuf};

use shape_meta_core::{
    Counts, ErrorKind, ReadShapes, Seq, ShapeStore, ShapeStoreExt, Timestamp, conformance,
};
use shape_meta_sqlite::{DiskIndexes, Mode};

use crate::support;

fn schema(disk_indexes: DiskIndexes) -> String {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().disk_indexes(disk_indexes));
    let connection = support::raw_connection(directory.path());
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY rowid")
        .expect("valid");
    let sql: Vec<String> =
        statement.query_map([], |row| row.get(0)).expect("reads").map(|row| row.expect("UTF-8")).collect();
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("reads");
    let header = format!(
        "application_id {:#x}\nuser_version {}\npage_size {}\n",
        number("application_id"),
        number("user_version"),
        number("page_size"),
    );
    drop(store);
    header + &sql.join("\n")
}

#[test]
fn with_disk_indexes() {
    insta::assert_snapshot!(schema(DiskIndexes::Maintained));
}

#[test]
fn without_disk_indexes() {
    insta::assert_snapshot!(schema(DiskIndexes::Omitted));
}

fn fixture(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}.sqlite3"))
}

/// Writes the content of every fixture: shapes 1 to 20 of the conformance suite, complete, without the 7th.
fn write_fixture_content(store: &shape_meta_sqlite::SqliteStore) {
    support::fill(store, 1..=20);
    let removed = shape_meta_core::Change::Remove { entry: support::record(7).entry.clone() };
    store.apply(&support::batch(21, [removed])).expect("the batch applies");
    let reads = [(Seq::new(3), READ), (Seq::new(19), READ)];
    store.save_reads(&reads).expect("the batch applies");
}

/// Last-read time of two shapes of the fixture. Version 1 stores none.
const READ: Timestamp = Timestamp::from_micros(1_768_476_874_000_000);

/// Writes the fixture of the current version. Run it once, when that version is released.
#[test]
#[ignore = "writes a file that is committed"]
fn write_fixture() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().mode(Mode::Exclusive));
    write_fixture_content(&store);
    store.close().expect("closes");
    support::open(directory.path(), support::options().mode(Mode::Exclusive)).close().expect("closes");
    let version = 5;
    assert!(!fixture(version).exists(), "a released fixture never changes");
    fs::copy(directory.path().join("shape-meta.sqlite3"), fixture(version)).expect("writes");
}

#[test]
fn every_released_version_opens() {
    let expected = support::directory();
    let expected = support::open(expected.path(), support::options());
    write_fixture_content(&expected);
    for (version, mode) in (1..=5).flat_map(|version| [(version, Mode::Wal), (version, Mode::Exclusive)]) {
        let directory = support::directory();
        fs::copy(fixture(version), directory.path().join("shape-meta.sqlite3")).expect("copies");
        let store = support::open(directory.path(), support::options().mode(mode));
        assert!(!store.report().created && store.report().quarantined.is_none());
        assert_eq!(store.report().migrated_from, (version < 5).then_some(version));
        assert_eq!(store.last_seq().expect("reads"), Seq::new(21));
        assert_eq!(store.counts().expect("reads"), expected.counts().expect("reads"));
        assert_ne!(store.counts().expect("reads"), Counts::default());
        for number in 1..=20 {
            let handle = conformance::handle(number);
            let [actual, expected] = [&store, &expected].map(|store| store.record(&handle).expect("reads"));
            // A version that did not store the time of creation leaves it unknown.
            let created_at = actual.as_ref().and_then(|record| record.entry.created_at());
            let known = expected.as_ref().and_then(|record| record.entry.created_at());
            assert_eq!(created_at, known.filter(|_| version >= 4));
            let plain = |record: shape_meta_core::Record| {
                let entry = &record.entry;
                (
                    (entry.handle().clone(), *entry.key(), entry.hash(), entry.created(), entry.state()),
                    (entry.relations().to_vec(), entry.is_indexed(), record.dependencies, record.definition),
                )
            };
            assert_eq!(actual.map(|one| plain((*one).clone())), expected.map(|one| plain((*one).clone())));
        }
        let mut reads = Vec::new();
        store.saved_reads(&mut |id, at| reads.push((id.get(), at))).expect("reads");
        assert_eq!(reads, if version < 2 { vec![] } else { vec![(3, READ), (19, READ)] });
        let last_read = |number| {
            let metadata =
                store.metadata(&conformance::handle(number)).expect("reads").expect("the shape is live");
            metadata.last_read.expect("a shape found at open has a last-read time")
        };
        assert_eq!(last_read(3) == READ, version >= 2);
        assert!(last_read(4) > READ, "a shape without a saved read counts as read at the open");
        assert!(store.changes_since(Seq::new(20)).expect("reads").is_some() == (version >= 2));
        if version >= 3 {
            let tasks = store.cleanup_tasks(None, 9).expect("reads");
            let handles: Vec<_> = tasks.iter().map(|task| task.handle().clone()).collect();
            assert_eq!(handles, [conformance::handle(7)], "the task of the removed shape");
            if mode == Mode::Wal {
                let connection = support::raw_connection(directory.path());
                let openings = "SELECT count(*) FROM lineage";
                let openings: i64 = connection.query_row(openings, [], |row| row.get(0)).expect("reads");
                assert_eq!(openings, 3, "two openings of the fixture, and this one");
            }
        }
        support::fill(&store, 22..=30);
        assert_eq!(support::live(&store).len(), 28);
        let added = store.record(&conformance::handle(22)).expect("reads").expect("it is live");
        assert_eq!(added.entry.created_at(), conformance::shape(22).created_at);
    }
}

#[test]
fn a_newer_version_is_refused_and_stays_unchanged() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    store.close().expect("closes");
    let path = directory.path().join("shape-meta.sqlite3");

    // The version is in the database file, as after a checkpoint.
    support::raw_connection(directory.path()).pragma_update(None, "user_version", 99).expect("writes");
    let before = fs::read(&path).expect("reads");
    let files = || fs::read_dir(directory.path()).expect("reads").count();
    let files_before = files();
    let error = support::open_error(directory.path(), support::options());
    assert_eq!(error.kind(), ErrorKind::UnsupportedSchema);
    assert_eq!(files(), files_before, "no file is created");
    insta::assert_snapshot!(support::text(&error, directory.path()));
    assert!(fs::read(&path).expect("reads") == before, "no byte changes");

    // The version is in the WAL alone, as after a crash.
    support::raw_connection(directory.path()).pragma_update(None, "user_version", 4).expect("writes");
    let connection = support::raw_connection(directory.path());
    connection.pragma_update(None, "user_version", 99).expect("writes");
    let crashed = support::directory();
    for suffix in ["", "-wal"] {
        let name = format!("shape-meta.sqlite3{suffix}");
        fs::copy(directory.path().join(&name), crashed.path().join(&name)).expect("copies");
    }
    let all = || {
        ["", "-wal"].map(|suffix| fs::read(crashed.path().join(format!("shape-meta.sqlite3{suffix}"))).ok())
    };
    let before = all();
    let error = support::open_error(crashed.path(), support::options());
    assert_eq!(error.kind(), ErrorKind::UnsupportedSchema);
    assert!(all() == before, "no byte changes");
}
