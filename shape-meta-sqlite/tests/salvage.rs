//! Salvage: the sound rows of a damaged database are kept, and no damaged row is served.

use std::{fs, path::Path, sync::Arc};

use shape_meta_core::{
    Change, ErrorKind, Handle, Key, NoopObserver, ReadShapes, Record, Repaired, Seq, ShapeStore,
    ShapeStoreExt, SnapshotState, TrustedState, conformance,
};
use shape_meta_sqlite::{DiskIndexes, Inspector, IntegrityCheck, Mode, OnCorruption, SqliteStore};

use crate::support;

const NAME: &str = "shape-meta.sqlite3";
const PAGE: usize = 1024;

fn options() -> shape_meta_sqlite::SqliteOptions {
    support::options().page_size(PAGE as u32)
}

/// Creates a database with the shapes 1 to 200 without 51 to 100, closes it, and returns the bytes of the
/// file.
fn create(directory: &Path) -> Vec<u8> {
    let store = support::open(directory, options());
    support::fill(&store, 1..=200);
    let removed = (51..=100).map(|number| Change::Remove { entry: support::record(number).entry.clone() });
    store.apply(&support::batch(250, removed)).expect("the batch applies");
    store.close().expect("closes");
    fs::read(directory.join(NAME)).expect("reads")
}

fn expected() -> Vec<u64> {
    (1..=50).chain(101..=200).collect()
}

/// Returns the numbers, from 0, of the pages of a table that have this kind.
fn pages(directory: &Path, table: &str, kind: &str) -> Vec<usize> {
    let connection = support::raw_connection(directory);
    let mut statement = connection
        .prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = ?2 ORDER BY path")
        .expect("valid");
    let pages = statement.query_map([table, kind], |row| row.get::<_, i64>(0)).expect("reads");
    pages.map(|page| page.expect("reads") as usize - 1).collect()
}

/// Checks that every live shape is correct, and that every look-up finds it.
fn assert_consistent(store: &SqliteStore) {
    for created in support::live(store) {
        let expected = support::record(created);
        let found = store.record(expected.handle()).expect("reads").expect("the scan lists the shape");
        assert_eq!((found.key(), &found.definition), (expected.key(), &expected.definition));
        assert_eq!(found.entry.state(), SnapshotState::Complete);
        assert_eq!(store.handle_for(expected.key()).expect("reads").as_ref(), Some(expected.handle()));
    }
}

fn open_repaired(directory: &Path) -> (SqliteStore, Repaired) {
    let store = support::open(directory, options());
    let recovery = store.recover().expect("the salvaged database is sound");
    let repaired =
        store.report().quarantined.clone().or(recovery.quarantined).expect("a quarantine is reported");
    assert_consistent(&store);
    (store, repaired)
}

#[test]
fn c11_rows_on_undamaged_pages_are_salvaged() {
    let directory = support::directory();
    let mut bytes = create(directory.path());
    let page = pages(directory.path(), "shape", "leaf")[2] * PAGE;
    bytes[page..page + PAGE].fill(0xa5);
    fs::write(directory.path().join(NAME), &bytes).expect("writes");

    let (store, repaired) = open_repaired(directory.path());
    let live = support::live(&store);
    assert!(repaired.saved == live.len() as u64 && (130..150).contains(&live.len()), "{}", live.len());
    assert_eq!(repaired.saved + repaired.missing(), 150);
    assert!(
        repaired.lost.iter().all(|lost| lost.handle.is_none() && lost.why.contains("only its definition"))
    );
    assert!(fs::read(&repaired.path).expect("the file exists") == bytes, "no byte changes");
    assert_eq!(store.last_seq().expect("reads"), Seq::new(250));
    assert_eq!(store.counts().expect("reads").total, repaired.saved);
    support::fill(&store, 251..=260);
    drop(store);
    let store = support::open(directory.path(), options().integrity_check(IntegrityCheck::Everything));
    assert!(store.report().quarantined.is_none());
    assert_eq!(store.counts().expect("reads").total, repaired.saved + 10);
}

#[test]
fn c11_a_table_with_a_damaged_root_page_is_salvaged_in_full() {
    for table in ["shape", "definition", "meta", "sqlite_schema", "handle_lookup"] {
        let directory = support::directory();
        let mut bytes = create(directory.path());
        let root = ["internal", "leaf"].map(|kind| pages(directory.path(), table, kind)).concat()[0];
        let start = root * PAGE + if root == 0 { 100 } else { 0 };
        bytes[start] ^= 0xff;
        fs::write(directory.path().join(NAME), &bytes).expect("writes");
        let store = support::open(directory.path(), options().integrity_check(IntegrityCheck::Everything));
        let repaired = store.report().quarantined.clone().expect("a quarantine is reported");
        assert_eq!(support::live(&store), expected(), "{table}: {repaired:?}");
        assert_eq!((repaired.lost.len(), repaired.missing()), (0, 0), "{table}");
        assert!(
            store.last_seq().expect("reads") >= Seq::new(250),
            "{table}: no sequence number is assigned twice"
        );
        assert_consistent(&store);
    }
}

#[test]
fn c11_removed_shapes_stay_removed_with_a_damaged_free_list() {
    let directory = support::directory();
    let mut bytes = create(directory.path());
    assert_ne!(bytes[32..40], [0; 8], "there are free pages");
    bytes[39] ^= 1;
    fs::write(directory.path().join(NAME), &bytes).expect("writes");
    let store = support::open(directory.path(), options().integrity_check(IntegrityCheck::Everything));
    assert!(store.report().quarantined.is_some());
    assert_eq!(support::live(&store), expected());
}

#[test]
fn c11_rows_that_are_only_in_the_wal_are_salvaged() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=100);
    let crashed = support::directory();
    for suffix in ["", "-wal"] {
        let name = format!("{NAME}{suffix}");
        fs::copy(directory.path().join(&name), crashed.path().join(&name)).expect("copies");
    }
    drop(store);
    assert!(
        fs::metadata(crashed.path().join(NAME)).expect("the file exists").len() < 60_000,
        "the rows are in the WAL"
    );
    // Header and schema in the database file are damaged. The WAL has newer copies.
    let mut bytes = fs::read(crashed.path().join(NAME)).expect("reads");
    bytes[18..100].fill(0xa5);
    bytes[68..72].copy_from_slice(b"shap");
    bytes[60..64].fill(0);
    fs::write(crashed.path().join(NAME), &bytes).expect("writes");
    let store = support::open(crashed.path(), options());
    assert_eq!(support::live(&store).len(), 100, "{:?}", store.report());
    assert_consistent(&store);
}

#[test]
fn a_wal_without_its_database_is_salvaged() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=100);
    let crashed = support::directory();
    let wal = format!("{NAME}-wal");
    fs::copy(directory.path().join(&wal), crashed.path().join(&wal)).expect("copies");
    drop(store);
    let store = support::open(crashed.path(), options());
    assert!(store.report().quarantined.is_some());
    assert_eq!(support::live(&store).len(), 100);
    assert_consistent(&store);
}

/// The damage leaves every page well-formed, so no check of SQLite finds it. It is never served.
#[test]
fn c11_the_recovery_finds_a_damaged_value() {
    for (column, check) in [
        ("handle", IntegrityCheck::Nothing),
        ("key", IntegrityCheck::Metadata),
        ("relations", IntegrityCheck::Everything),
    ] {
        let directory = support::directory();
        create(directory.path());
        let sql = match column {
            "handle" => "UPDATE shape SET handle = 'x' || handle WHERE id = 120".to_owned(),
            column => format!("UPDATE shape SET {column} = zeroblob(length({column})) WHERE id = 120"),
        };
        support::raw_connection(directory.path()).execute(&sql, []).expect("the statement runs");
        let store = support::open(directory.path(), options().integrity_check(check));
        let repaired =
            store.recover().expect("the repair succeeds").quarantined.expect("a quarantine is reported");
        assert_eq!(repaired.saved, 149, "{column}");
        assert_eq!(repaired.lost.len(), 1);
        assert_eq!(repaired.lost[0].created, Seq::new(120));
        assert_eq!(store.recover().expect("a second recovery succeeds").quarantined, None);
        assert_consistent(&store);

        let refused = support::directory();
        create(refused.path());
        support::raw_connection(refused.path()).execute(&sql, []).expect("the statement runs");
        let store = support::open(refused.path(), options().on_corruption(OnCorruption::Refuse));
        assert_eq!(store.recover().expect_err("corruption is refused").kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn c11_a_damaged_definition_is_not_served_and_its_shape_is_cleaned() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = support::directory();
        let store = support::open(directory.path(), options().disk_indexes(disk_indexes));
        support::fill(&store, 1..=6);
        support::fill(&store, 7..=7);
        support::fill(&store, 8..=100);
        let sql = "UPDATE definition SET body = zeroblob(length(body)) WHERE id = 7";
        support::raw_connection(directory.path()).execute(sql, []).expect("the statement runs");
        let record = support::record(7);
        let error = store.record_of(&record.entry).expect_err("the definition is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);

        let repaired = store.rebuild_from(TrustedState::default()).expect("the repair succeeds");
        assert_eq!((repaired.saved, repaired.lost.len()), (99, 1));
        assert_eq!(repaired.lost[0].handle.as_ref(), Some(record.handle()));
        assert!(store.record_of(&record.entry).expect("reads").is_none());
        support::fill(&store, 101..=110);
        store.close().expect("closes");
        let store = support::open(directory.path(), options().disk_indexes(disk_indexes));
        assert_eq!(store.recover().expect("the recovery succeeds").cleanup_tasks, 1);
        assert_eq!(store.cleanup_tasks(None, 10).expect("reads")[0].handle(), record.handle());
        assert_eq!(store.counts().expect("reads").total, 109);
    }
}

/// A repair of an open store: reads go on, memory supplies entries that the file has lost, and rows unknown
/// to memory are not copied.
#[test]
fn c11_a_repair_takes_entries_from_memory() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let store = support::open(directory.path(), options().mode(mode));
        support::fill(&store, 1..=50);
        let entries: Vec<_> = (1..=48).map(|number| support::record(number).entry.clone()).collect();
        entries.iter().for_each(|entry| entry.advance(SnapshotState::Complete));
        let before = store.scan().expect("the scan opens");
        let trusted = TrustedState { entries: Some(&entries), last_seq: Some(Seq::new(48)) };
        let repaired = store.rebuild_from(trusted).expect("the repair succeeds");
        assert_eq!(before.count(), 50, "an open scan goes on");
        assert_eq!((repaired.saved, repaired.missing()), (48, 0));
        assert_eq!(store.last_seq().expect("reads"), Seq::new(48));
        assert_consistent(&store);
        support::fill(&store, 49..=60);
        store.close().expect("closes");
        let store = support::open(directory.path(), options().mode(mode));
        assert!(store.report().quarantined.is_none());
        assert_eq!(support::live(&store).len(), 60);
    }
}

#[test]
fn c11_a_fenced_owner_repairs_nothing() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=3);
    let sql = "UPDATE meta SET epoch = epoch + 1, checksum = NULL";
    support::raw_connection(directory.path()).execute(sql, []).expect("writes");
    assert_eq!(
        store.rebuild_from(TrustedState::default()).expect_err("the store is fenced").kind(),
        ErrorKind::Fenced
    );
    assert_eq!(fs::read_dir(directory.path()).expect("reads").count(), 4, "no file is moved");
}

/// Two handles with the same 64 bits in the index tables.
const SAME_BITS: [&str; 2] = ["8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"];

/// Returns a shape whose key begins with the same eight bytes as that of every other such shape.
fn record_with_common_prefix(number: u64) -> Arc<Record> {
    let mut shape = conformance::shape(number);
    let mut key = *shape.key.as_bytes();
    key.copy_within(..24, 8);
    key[..8].copy_from_slice(b"tenant-7");
    shape.key = Key::new(key);
    shape.hash = shape.key.definition_hash();
    if let Some(handle) = SAME_BITS.get(number as usize - 1) {
        shape.handle = Handle::new(handle).expect("valid");
    }
    Arc::new(shape.record(Seq::new(number)))
}

/// Shapes that share the bits of their keys, or of their handles, in the index tables are different shapes
/// everywhere: in a salvage, in look-ups, and for `verify` and `find`.
#[test]
fn c11_shapes_with_a_common_key_prefix_are_all_salvaged() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    let state = SnapshotState::Complete;
    let adds = (1..=200).map(|number| Change::Add { record: record_with_common_prefix(number), state });
    store.apply(&support::batch(200, adds)).expect("the batch applies");
    let check = |store: &SqliteStore| {
        assert_eq!(support::live(store), (1..=200).collect::<Vec<_>>());
        for number in 1..=200 {
            let expected = record_with_common_prefix(number);
            assert_eq!(store.handle_for(expected.key()).expect("reads").as_ref(), Some(expected.handle()));
            let found = store.record(expected.handle()).expect("reads").expect("the shape is live");
            assert_eq!(found.key(), expected.key());
        }
    };
    check(&store);
    let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!((repaired.saved, repaired.missing()), (200, 0), "{:?}", repaired.lost);
    check(&store);
    let cleaned = support::recovered_tasks(&store);
    assert!(cleaned.is_empty(), "no stored data of a live shape is cleaned");
    store.close().expect("closes");

    let inspector = Inspector::open(directory.path()).expect("opens");
    let mut problems = Vec::new();
    inspector.verify(None, &mut |problem| problems.push(problem)).expect("verifies");
    assert!(problems.is_empty(), "{problems:?}");
    for number in 1..=2 {
        let expected = record_with_common_prefix(number);
        let found = inspector.find(expected.handle()).expect("reads").expect("the shape is live");
        assert_eq!(found.record.key(), expected.key());
    }
}

/// A lost shape is cleaned although a live one shares the bits of its handle, and the live one is not.
#[test]
fn c12_cleanup_tasks_are_kept_by_the_whole_handle() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    let [first, second] = [1, 2].map(record_with_common_prefix);
    let add = |record: &Arc<Record>| Change::Add { record: record.clone(), state: SnapshotState::Started };
    store.apply(&support::batch(1, [add(&first)])).expect("applies");
    assert_eq!(support::recovered_tasks(&store), [first.handle().clone()]);
    let state = SnapshotState::Complete;
    store.apply(&support::batch(2, [Change::Add { record: second.clone(), state }])).expect("applies");
    store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!(support::recovered_tasks(&store), [first.handle().clone()]);
    assert!(store.record(second.handle()).expect("reads").is_some());
}

/// The next open finishes or restarts an interrupted repair, wherever it stopped, and nothing is lost.
#[test]
fn c6_an_interrupted_repair_is_finished() {
    let directory = support::directory();
    let mut bytes = create(directory.path());
    let whole = support::directory();
    fs::copy(directory.path().join(NAME), whole.path().join(NAME)).expect("copies");
    let salvaged = fs::read(whole.path().join(NAME)).expect("reads");
    let page = pages(directory.path(), "shape", "leaf")[2] * PAGE;
    bytes[page..page + PAGE].fill(0xa5);

    let open_after_crash = |files: &[(&str, &[u8])]| {
        let directory = support::directory();
        for (name, bytes) in files {
            fs::write(directory.path().join(format!("{NAME}{name}")), bytes).expect("writes");
        }
        let store = support::open(directory.path(), options());
        let live = support::live(&store).len();
        assert!(!directory.path().join(format!("{NAME}-salvaged")).exists());
        assert!(!directory.path().join(format!("{NAME}-salvaging")).exists());
        (live, store.report().quarantined.is_some())
    };
    let (repaired, was_quarantined) = open_after_crash(&[("", &bytes), ("-salvaging", &salvaged[..5_000])]);
    assert!(repaired < 150 && was_quarantined, "the repair restarts");
    assert_eq!(
        open_after_crash(&[("", &bytes), ("-salvaged", &salvaged)]),
        (repaired, true),
        "the repair restarts"
    );
    assert_eq!(open_after_crash(&[("-salvaged", &salvaged)]), (150, false), "the repair is finished");
    assert_eq!(open_after_crash(&[("-salvaged", &salvaged), ("-wal", b"log")]), (150, false));
}

/// Flips bits of one byte: the store does not panic, serves no wrong value, and does not delete the damaged
/// file.
fn flip(bytes: &[u8], at: usize, by: u8) {
    let directory = support::directory();
    let path = directory.path().join(NAME);
    let mut damaged = bytes.to_vec();
    damaged[at] ^= by;
    fs::write(&path, &damaged).expect("writes");
    let context = || format!("byte {at} ^ {by:#x}");
    let is_kept = || {
        let files = fs::read_dir(directory.path()).expect("reads").map(|one| one.expect("reads").path());
        files.filter_map(|path| fs::read(path).ok()).any(|bytes| bytes == damaged)
    };
    let store = match SqliteStore::open(directory.path(), options(), Arc::new(NoopObserver)) {
        Ok(store) => store,
        Err(error) => {
            // The file is no longer recognised as a database of ours, and is refused.
            let kinds = [ErrorKind::NotADatabase, ErrorKind::UnsupportedSchema];
            assert!(kinds.contains(&error.kind()), "{}: {error:?}", context());
            assert!(is_kept(), "{}", context());
            return;
        }
    };
    let recovery = store.recover().unwrap_or_else(|error| panic!("{}: {error:?}", context()));
    if store.report().quarantined.is_some() {
        assert!(is_kept(), "{}", context());
    }
    // The recovery found the damage, after the open had written its epoch: the bytes differ.
    if let Some(repaired) = recovery.quarantined {
        assert!(repaired.path.exists(), "{}", context());
    }
    if unserved(&store, &context) > 0 {
        // An interior page may be damaged. The rows of the pages below it are still there.
        store
            .rebuild_from(TrustedState::default())
            .unwrap_or_else(|error| panic!("{}: {error:?}", context()));
    }
    // One byte costs at most the rows of one index page, or one row and its overflow pages.
    let unserved = unserved(&store, &context);
    assert!(unserved <= 120, "{}: {unserved} shapes are not served", context());
}

/// Returns how many shapes are not served, and checks that the others are served correctly.
fn unserved(store: &SqliteStore, context: &dyn Fn() -> String) -> u64 {
    let mut unserved = 0;
    for number in 1..=LIVE {
        let expected = support::record(number);
        match store.record(expected.handle()) {
            Ok(Some(found)) => {
                assert_eq!(found.key(), expected.key(), "{}", context());
                assert_eq!(found.definition, expected.definition, "{}", context());
                assert_eq!(found.entry.relations(), expected.entry.relations(), "{}", context());
                assert_eq!(found.entry.state(), SnapshotState::Complete, "{}", context());
            }
            Ok(None) => unserved += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error:?}", context());
                unserved += 1;
            }
        }
        if let Ok(Some(handle)) = store.handle_for(expected.key()) {
            assert_eq!(handle, *expected.handle(), "{}", context());
        }
    }
    unserved
}

const LIVE: u64 = 1_000;

fn create_large() -> Vec<u8> {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=LIVE);
    store.close().expect("closes");
    fs::read(directory.path().join(NAME)).expect("reads")
}

fn flips(count: u64) {
    let bytes = create_large();
    let seed = std::env::var("SHAPE_META_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    println!("{count} flips of {} bytes, SHAPE_META_SEED={seed}", bytes.len());
    let mut state: u64 = seed;
    let mut next = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 29)) % below as u64) as usize
    };
    // One flip in each of `count` equal ranges, so that every page is hit; and more in the first page, which
    // has the header and the schema.
    let range = bytes.len() / count as usize;
    for number in 0..count as usize {
        flip(&bytes, number * range + next(range), 1 << next(8));
        if number % 4 == 0 {
            flip(&bytes, next(PAGE), 1 << next(8));
        }
    }
}

#[test]
fn c11_a_flipped_byte_is_never_served() {
    flips(60);
}

/// The flipped bytes are in the first pages, among them the root of the definitions.
#[test]
fn c11_a_flipped_byte_of_a_root_page_costs_at_most_one_page() {
    let bytes = create_large();
    for at in (PAGE..8 * PAGE).step_by(PAGE) {
        flip(&bytes, at, 1);
    }
}

/// Found by flipping every byte. A header that marks the format as read-only was reported as missing
/// permissions, and a header with too small a page count truncated the file.
#[test]
fn c11_a_wrong_header_field_loses_no_shape() {
    let bytes = create_large();
    for at in [18, 19, 28, 29, 30, 31] {
        for bit in 0..8 {
            flip(&bytes, at, 1 << bit);
        }
    }
}

/// Flips every byte of the file, which takes hours. `SHAPE_META_STEP=N` flips every N-th byte.
#[test]
#[ignore = "takes long"]
fn c11_every_flipped_byte_of_a_thousand_shapes() {
    let step = std::env::var("SHAPE_META_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(1);
    let bytes = create_large();
    let started = std::time::Instant::now();
    let mut flipped = 0;
    for at in (0..bytes.len()).step_by(step) {
        flip(&bytes, at, 1 << (at % 8));
        flipped += 1;
    }
    println!("{flipped} of {} bytes flipped in {:?}", bytes.len(), started.elapsed());
}
