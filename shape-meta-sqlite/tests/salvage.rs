//! What can be saved of a damaged database, and that nothing else is taken for sound.

use std::{fs, path::Path, sync::Arc};

use shape_meta_core::{
    Change, ErrorKind, NoopObserver, ReadShapes, Repaired, Seq, ShapeStore, ShapeStoreExt, SnapshotState,
    TrustedState,
};
use shape_meta_sqlite::{DiskIndexes, IntegrityCheck, Mode, OnCorruption, SqliteStore};

use crate::support;

const NAME: &str = "shape-meta.sqlite3";
const PAGE: usize = 1024;

fn options() -> shape_meta_sqlite::SqliteOptions {
    support::options().page_size(PAGE as u32)
}

/// Shapes 1 to 200 without 51 to 100, closed; and the bytes of the file.
fn written(directory: &Path) -> Vec<u8> {
    let store = support::open(directory, options());
    support::fill(&store, 1..=200);
    let removed = (51..=100).map(|number| Change::Remove { entry: support::record(number).entry.clone() });
    store.apply(&support::batch(250, removed)).expect("nothing fails");
    store.close().expect("closes");
    fs::read(directory.join(NAME)).expect("reads")
}

fn expected() -> Vec<u64> {
    (1..=50).chain(101..=200).collect()
}

fn pages(directory: &Path, table: &str, kind: &str) -> Vec<usize> {
    let connection = support::stranger(directory);
    let mut statement = connection
        .prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = ?2 ORDER BY path")
        .expect("valid");
    let pages = statement.query_map([table, kind], |row| row.get::<_, i64>(0)).expect("reads");
    pages.map(|page| page.expect("reads") as usize - 1).collect()
}

/// Every shape that is there is right, and can be looked up in all ways.
fn all_right(store: &SqliteStore) {
    for created in support::live(store) {
        let right = support::record(created);
        let found = store.record(right.handle()).expect("reads").expect("it is listed");
        assert_eq!((found.key(), &found.definition), (right.key(), &right.definition));
        assert_eq!(found.entry.state(), SnapshotState::Complete);
        assert_eq!(store.handle_for(right.key()).expect("reads").as_ref(), Some(right.handle()));
    }
}

fn opened(directory: &Path) -> (SqliteStore, Repaired) {
    let store = support::open(directory, options());
    let recovery = store.recover().expect("what was saved is sound");
    let repaired = store.report().quarantined.clone().or(recovery.quarantined).expect("it is damaged");
    all_right(&store);
    (store, repaired)
}

#[test]
fn c11_what_lies_on_other_pages_is_saved() {
    let directory = support::directory();
    let mut bytes = written(directory.path());
    let page = pages(directory.path(), "shape", "leaf")[2] * PAGE;
    bytes[page..page + PAGE].fill(0xa5);
    fs::write(directory.path().join(NAME), &bytes).expect("writes");

    let (store, repaired) = opened(directory.path());
    let saved = support::live(&store);
    assert!(repaired.saved == saved.len() as u64 && (130..150).contains(&saved.len()), "{}", saved.len());
    assert_eq!(repaired.saved + repaired.missing(), 150);
    assert!(
        repaired.lost.iter().all(|lost| lost.handle.is_none() && lost.why.contains("only its definition"))
    );
    assert!(fs::read(&repaired.path).expect("it is there") == bytes, "not a byte was touched");
    assert_eq!(store.last_seq().expect("reads"), Seq::new(250));
    assert_eq!(store.counts().expect("reads").total, repaired.saved);
    support::fill(&store, 251..=260);
    drop(store);
    let store = support::open(directory.path(), options().integrity_check(IntegrityCheck::Everything));
    assert!(store.report().quarantined.is_none());
    assert_eq!(store.counts().expect("reads").total, repaired.saved + 10);
}

#[test]
fn c11_a_table_that_has_lost_its_root_is_saved_whole_without_what_was_removed() {
    for table in ["shape", "definition", "meta", "sqlite_schema", "handle_lookup"] {
        let directory = support::directory();
        let mut bytes = written(directory.path());
        let root = ["internal", "leaf"].map(|kind| pages(directory.path(), table, kind)).concat()[0];
        let start = root * PAGE + if root == 0 { 100 } else { 0 };
        bytes[start] ^= 0xff;
        fs::write(directory.path().join(NAME), &bytes).expect("writes");
        let store = support::open(directory.path(), options().integrity_check(IntegrityCheck::Everything));
        let repaired = store.report().quarantined.clone().expect("it is damaged");
        assert_eq!(support::live(&store), expected(), "{table}: {repaired:?}");
        assert_eq!((repaired.lost.len(), repaired.missing()), (0, 0), "{table}");
        assert!(store.last_seq().expect("reads") >= Seq::new(250), "{table}: no place is given twice");
        all_right(&store);
    }
}

#[test]
fn c11_removed_shapes_stay_removed_when_the_list_of_free_pages_is_damaged_too() {
    let directory = support::directory();
    let mut bytes = written(directory.path());
    assert_ne!(bytes[32..40], [0; 8], "there are free pages");
    bytes[39] ^= 1;
    fs::write(directory.path().join(NAME), &bytes).expect("writes");
    let store = support::open(directory.path(), options().integrity_check(IntegrityCheck::Everything));
    assert!(store.report().quarantined.is_some());
    assert_eq!(support::live(&store), expected());
}

#[test]
fn c11_what_is_only_in_the_log_is_saved() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=100);
    let crashed = support::directory();
    for suffix in ["", "-wal"] {
        let name = format!("{NAME}{suffix}");
        fs::copy(directory.path().join(&name), crashed.path().join(&name)).expect("copies");
    }
    drop(store);
    assert!(fs::metadata(crashed.path().join(NAME)).expect("is there").len() < 60_000, "all is in the log");
    // The header of the database cannot be read, nor can the schema; the log has newer ones.
    let mut bytes = fs::read(crashed.path().join(NAME)).expect("reads");
    bytes[18..100].fill(0xa5);
    bytes[68..72].copy_from_slice(b"shap");
    bytes[60..64].fill(0);
    fs::write(crashed.path().join(NAME), &bytes).expect("writes");
    let store = support::open(crashed.path(), options());
    assert_eq!(support::live(&store).len(), 100, "{:?}", store.report());
    all_right(&store);
}

#[test]
fn a_log_alone_is_enough_to_save_what_is_in_it() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=100);
    let crashed = support::directory();
    let log = format!("{NAME}-wal");
    fs::copy(directory.path().join(&log), crashed.path().join(&log)).expect("copies");
    drop(store);
    let store = support::open(crashed.path(), options());
    assert!(store.report().quarantined.is_some());
    assert_eq!(support::live(&store).len(), 100);
    all_right(&store);
}

/// Damage that leaves every page sound: no check of SQLite sees it, and it is never served.
#[test]
fn c11_a_flipped_byte_inside_of_a_value_is_found_when_the_rows_are_gone_through() {
    for (column, check) in [
        ("handle", IntegrityCheck::Nothing),
        ("key", IntegrityCheck::Metadata),
        ("relations", IntegrityCheck::Everything),
    ] {
        let directory = support::directory();
        written(directory.path());
        let sql = match column {
            "handle" => "UPDATE shape SET handle = 'x' || handle WHERE id = 120".to_owned(),
            column => format!("UPDATE shape SET {column} = zeroblob(length({column})) WHERE id = 120"),
        };
        support::stranger(directory.path()).execute(&sql, []).expect("the stranger may");
        let store = support::open(directory.path(), options().integrity_check(check));
        let repaired = store.recover().expect("it repairs").quarantined.expect("it is damaged");
        assert_eq!(repaired.saved, 149, "{column}");
        assert_eq!(repaired.lost.len(), 1);
        assert_eq!(repaired.lost[0].created, Seq::new(120));
        assert_eq!(store.recover().expect("twice is once").quarantined, None);
        all_right(&store);

        let refused = support::directory();
        written(refused.path());
        support::stranger(refused.path()).execute(&sql, []).expect("the stranger may");
        let store = support::open(refused.path(), options().on_corruption(OnCorruption::Refuse));
        assert_eq!(store.recover().expect_err("it refuses").kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn c11_a_damaged_definition_is_not_served_and_its_shape_is_cleaned() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = support::directory();
        let store = support::open(directory.path(), options().disk_indexes(disk_indexes));
        support::fill(&store, 1..=100);
        let sql = "UPDATE definition SET body = zeroblob(length(body)) WHERE id = 7";
        support::stranger(directory.path()).execute(sql, []).expect("the stranger may");
        let record = support::record(7);
        let error = store.record_of(&record.entry).expect_err("it is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);

        let repaired = store.rebuild_from(TrustedState::default()).expect("it repairs");
        assert_eq!((repaired.saved, repaired.lost.len()), (99, 1));
        assert_eq!(repaired.lost[0].handle.as_ref(), Some(record.handle()));
        assert!(store.record_of(&record.entry).expect("reads").is_none());
        support::fill(&store, 101..=110);
        store.close().expect("closes");
        let store = support::open(directory.path(), options().disk_indexes(disk_indexes));
        assert_eq!(store.recover().expect("it recovers").to_clean, [record.handle().clone()]);
        assert_eq!(store.counts().expect("reads").total, 109);
    }
}

/// A repair of an open store: readers go on, memory knows what the file has lost, and only what memory knows is
/// carried over.
#[test]
fn c11_what_memory_knows_supplies_what_rows_have_lost() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let store = support::open(directory.path(), options().mode(mode));
        support::fill(&store, 1..=50);
        let entries: Vec<_> = (1..=48).map(|number| support::record(number).entry.clone()).collect();
        entries.iter().for_each(|entry| entry.advance(SnapshotState::Complete));
        let before = store.scan().expect("it scans");
        let known = TrustedState { entries: Some(&entries), last_seq: Some(Seq::new(48)) };
        let repaired = store.rebuild_from(known).expect("it repairs");
        assert_eq!(before.count(), 50, "a scan that was open goes on");
        assert_eq!((repaired.saved, repaired.missing()), (48, 0));
        assert_eq!(store.last_seq().expect("reads"), Seq::new(48));
        all_right(&store);
        support::fill(&store, 49..=60);
        store.close().expect("closes");
        let store = support::open(directory.path(), options().mode(mode));
        assert!(store.report().quarantined.is_none());
        assert_eq!(support::live(&store).len(), 60);
    }
}

#[test]
fn c11_one_who_has_lost_ownership_repairs_nothing() {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=3);
    let sql = "UPDATE meta SET epoch = epoch + 1, checksum = NULL";
    support::stranger(directory.path()).execute(sql, []).expect("writes");
    assert_eq!(
        store.rebuild_from(TrustedState::default()).expect_err("it is fenced").kind(),
        ErrorKind::Fenced
    );
    assert_eq!(fs::read_dir(directory.path()).expect("reads").count(), 4, "nothing was moved");
}

/// Wherever a repair is cut off, the next opening goes on with it, and nothing is lost.
#[test]
fn c6_a_repair_that_was_cut_off_is_finished() {
    let directory = support::directory();
    let mut bytes = written(directory.path());
    let whole = support::directory();
    fs::copy(directory.path().join(NAME), whole.path().join(NAME)).expect("copies");
    let salvaged = fs::read(whole.path().join(NAME)).expect("reads");
    let page = pages(directory.path(), "shape", "leaf")[2] * PAGE;
    bytes[page..page + PAGE].fill(0xa5);

    let cut_off = |files: &[(&str, &[u8])]| {
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
    let (repaired, again) = cut_off(&[("", &bytes), ("-salvaging", &salvaged[..5_000])]);
    assert!(repaired < 150 && again, "it begins again");
    assert_eq!(cut_off(&[("", &bytes), ("-salvaged", &salvaged)]), (repaired, true), "it begins again");
    assert_eq!(cut_off(&[("-salvaged", &salvaged)]), (150, false), "it is put into its place");
    assert_eq!(cut_off(&[("-salvaged", &salvaged), ("-wal", b"log")]), (150, false));
}

/// Flips single bytes: nothing panics, nothing wrong is served, and the damaged file is never deleted.
fn flip(bytes: &[u8], at: usize, by: u8) {
    let directory = support::directory();
    let path = directory.path().join(NAME);
    let mut damaged = bytes.to_vec();
    damaged[at] ^= by;
    fs::write(&path, &damaged).expect("writes");
    let what = || format!("byte {at} ^ {by:#x}");
    let kept = || {
        let files = fs::read_dir(directory.path()).expect("reads").map(|one| one.expect("reads").path());
        files.filter_map(|path| fs::read(path).ok()).any(|bytes| bytes == damaged)
    };
    let store = match SqliteStore::open(directory.path(), options(), Arc::new(NoopObserver)) {
        Ok(store) => store,
        Err(error) => {
            // It does not even look like ours any more.
            let kinds = [ErrorKind::NotADatabase, ErrorKind::UnsupportedSchema];
            assert!(kinds.contains(&error.kind()), "{}: {error:?}", what());
            assert!(kept(), "{}", what());
            return;
        }
    };
    let recovery = store.recover().unwrap_or_else(|error| panic!("{}: {error:?}", what()));
    if store.report().quarantined.is_some() {
        assert!(kept(), "{}", what());
    }
    // It was opened, so the owner's turn was written to it before the damage was found.
    if let Some(repaired) = recovery.quarantined {
        assert!(repaired.path.exists(), "{}", what());
    }
    if unread(&store, &what) > 0 {
        // A page that leads to others may be among what is damaged. What they hold is still there.
        store.rebuild_from(TrustedState::default()).unwrap_or_else(|error| panic!("{}: {error:?}", what()));
    }
    // One byte costs no more than the rows of one page of an index, or of a row and its overflow.
    let unread = unread(&store, &what);
    assert!(unread <= 120, "{}: {unread} shapes are not served", what());
}

/// How many of the shapes are not served; those that are, are served right.
fn unread(store: &SqliteStore, what: &dyn Fn() -> String) -> u64 {
    let mut unread = 0;
    for number in 1..=LIVE {
        let right = support::record(number);
        match store.record(right.handle()) {
            Ok(Some(found)) => {
                assert_eq!(found.key(), right.key(), "{}", what());
                assert_eq!(found.definition, right.definition, "{}", what());
                assert_eq!(found.entry.relations(), right.entry.relations(), "{}", what());
                assert_eq!(found.entry.state(), SnapshotState::Complete, "{}", what());
            }
            Ok(None) => unread += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error:?}", what());
                unread += 1;
            }
        }
        if let Ok(Some(handle)) = store.handle_for(right.key()) {
            assert_eq!(handle, *right.handle(), "{}", what());
        }
    }
    unread
}

const LIVE: u64 = 1_000;

fn thousand() -> Vec<u8> {
    let directory = support::directory();
    let store = support::open(directory.path(), options());
    support::fill(&store, 1..=LIVE);
    store.close().expect("closes");
    fs::read(directory.path().join(NAME)).expect("reads")
}

fn flips(count: u64) {
    let bytes = thousand();
    let seed = std::env::var("SHAPE_META_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    println!("{count} flips of {} bytes, SHAPE_META_SEED={seed}", bytes.len());
    let mut state: u64 = seed;
    let mut next = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 29)) % below as u64) as usize
    };
    // In equal strata, so that every page has its turn; and the first page, where the header and the schema lie.
    let stratum = bytes.len() / count as usize;
    for number in 0..count as usize {
        flip(&bytes, number * stratum + next(stratum), 1 << next(8));
        if number % 4 == 0 {
            flip(&bytes, next(PAGE), 1 << next(8));
        }
    }
}

#[test]
fn c11_a_flipped_byte_of_a_thousand_shapes_is_never_served() {
    flips(60);
}

/// The page from which all definitions hang.
#[test]
fn c11_a_flipped_byte_of_a_root_costs_no_more_than_its_page_once_it_is_repaired() {
    let bytes = thousand();
    for at in (PAGE..8 * PAGE).step_by(PAGE) {
        flip(&bytes, at, 1);
    }
}

/// Found by flipping every byte: a database whose header says that it may only be read was taken for one without
/// permission, and one that says that it is shorter than it is was cut to that.
#[test]
fn c11_a_header_that_lies_costs_nothing() {
    let bytes = thousand();
    for at in [18, 19, 28, 29, 30, 31] {
        for bit in 0..8 {
            flip(&bytes, at, 1 << bit);
        }
    }
}

/// Every byte of the file, which takes hours. `SHAPE_META_STEP` takes every so many only.
#[test]
#[ignore = "takes long"]
fn c11_every_flipped_byte_of_a_thousand_shapes() {
    let step = std::env::var("SHAPE_META_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(1);
    let bytes = thousand();
    let begun = std::time::Instant::now();
    let mut done = 0;
    for at in (0..bytes.len()).step_by(step) {
        flip(&bytes, at, 1 << (at % 8));
        done += 1;
    }
    println!("{done} of {} bytes flipped in {:?}", bytes.len(), begun.elapsed());
}
