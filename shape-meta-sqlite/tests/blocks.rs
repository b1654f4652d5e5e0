//! Definitions that one batch adds share rows, in which they are compressed. That shows in no answer.

use std::sync::Arc;

use shape_meta_core::{
    Change, ErrorKind, ReadShapes, Record, Seq, ShapeStore, ShapeStoreExt, SnapshotState, TrustedState,
};
use shape_meta_sqlite::{DiskIndexes, Inspector, IntegrityCheck, SqliteStore};

use crate::support::{self, add, apply, batch, record};

fn remove(number: u64) -> Change {
    Change::Remove { entry: record(number).entry.clone() }
}

/// Returns the row ids of `definition`, each with the first shape of its block.
fn rows(directory: &tempfile::TempDir) -> Vec<(i64, Option<i64>)> {
    let connection = support::raw_connection(directory.path());
    let mut statement = connection.prepare("SELECT id, first FROM definition ORDER BY id").expect("prepares");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("reads");
    rows.collect::<Result<_, _>>().expect("reads")
}

fn assert_sound(directory: &tempfile::TempDir, store: SqliteStore) {
    store.close().expect("closes");
    let inspector = Inspector::open(directory.path()).expect("opens");
    inspector.verify(None, &mut |problem| panic!("{problem}")).expect("verifies");
    drop(inspector);
    let everything = support::options().integrity_check(IntegrityCheck::Everything);
    let store = support::open(directory.path(), everything);
    assert!(store.report().quarantined.is_none());
    assert_eq!(store.recover().expect("recovers").quarantined, None);
}

/// Checks that exactly these shapes of the first `all` are live, by every read of a definition.
fn assert_live(store: &SqliteStore, all: u64, live: impl Fn(u64) -> bool) {
    for number in 1..=all {
        let expected = live(number).then(|| record(number).definition.clone());
        let of_entry = store.record_of(&record(number).entry).expect("reads");
        match of_entry.map(|found| found.definition.clone()) {
            // The caller knows what is live. A block may have removed shapes.
            Some(definition) => assert_eq!(definition, record(number).definition, "{number}"),
            None => assert_eq!(None, expected, "{number}"),
        }
        if store.disk_indexes() == DiskIndexes::Maintained {
            let by_handle = store.record(record(number).handle()).expect("reads");
            assert_eq!(by_handle.map(|found| found.definition.clone()), expected, "{number}");
        }
    }
    let scanned = store.scan().expect("scans").map(|item| item.expect("reads").record);
    let scanned: Vec<_> = scanned.map(|one| (one.entry.created().get(), one.definition.clone())).collect();
    let expected = (1..=all).filter(|number| live(*number));
    assert_eq!(
        scanned,
        expected.map(|number| (number, record(number).definition.clone())).collect::<Vec<_>>()
    );
}

#[test]
fn c3_a_block_stays_until_its_last_shape_is_removed() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options().disk_indexes(disk_indexes));
        support::fill(&store, 1..=40);
        assert_eq!(rows(&directory), [(16, Some(1)), (32, Some(17)), (40, Some(33))]);
        assert_live(&store, 40, |_| true);

        // Also the first and the last of a block.
        let removed = [1, 5, 16, 17, 33, 40];
        apply(&store, 41, removed.map(remove));
        assert_eq!(rows(&directory).len(), 3);
        assert_live(&store, 40, |number| !removed.contains(&number));

        let rest = (17..=32).filter(|number| *number != 17).map(remove);
        apply(&store, 42, rest);
        assert_eq!(rows(&directory), [(16, Some(1)), (40, Some(33))]);
        apply(&store, 43, (1..=40).map(remove));
        assert_eq!(rows(&directory), []);
        assert_live(&store, 40, |_| false);
        assert_sound(&directory, store);
    }
}

#[test]
fn c3_a_shape_that_is_added_and_removed_in_one_batch_leaves_nothing() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let complete = |number| add(number, SnapshotState::Complete);
    apply(&store, 4, [complete(1), complete(2), remove(2), complete(3), complete(4), remove(1)]);
    assert_live(&store, 4, |number| number > 2);
    apply(&store, 9, [complete(5), Change::Reset, complete(6), complete(7)]);
    assert_eq!(rows(&directory), [(7, Some(6))]);
    assert_live(&store, 7, |number| number > 5);
    assert_sound(&directory, store);
}

/// With the removed shapes of a block, a check finds nothing wrong, and a repair loses nothing.
#[test]
fn c11_a_block_with_removed_shapes_is_sound() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=40);
    apply(&store, 41, (3..=35).map(remove));
    let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!((repaired.saved, repaired.missing()), (7, 0), "{:?}", repaired.lost);
    assert_eq!(rows(&directory), [(40, Some(1))], "the repair writes the definitions anew");
    assert_live(&store, 40, |number| !(3..=35).contains(&number));
    assert_sound(&directory, store);
}

/// Damage costs the shapes of one row.
#[test]
fn c11_a_damaged_block_is_not_served() {
    for (damage, kept_by_list) in [
        ("UPDATE definition SET body = zeroblob(length(body)) WHERE id = 32", false),
        ("UPDATE definition SET body = substr(body, 1, 9) WHERE id = 32", false),
        ("UPDATE definition SET dependencies = zeroblob(length(dependencies)) WHERE id = 32", false),
        ("UPDATE definition SET dependencies = substr(dependencies, 1, 19) WHERE id = 32", false),
        ("UPDATE definition SET dependencies = randomblob(320) WHERE id = 32", false),
        // The list without its last shape: the others stay readable only if the content fits, and it does
        // not.
        ("UPDATE definition SET dependencies = substr(dependencies, 1, 300) WHERE id = 32", false),
        ("UPDATE definition SET first = 20 WHERE id = 32", true),
    ] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=40);
        let changed = support::raw_connection(directory.path()).execute(damage, []).expect("damages");
        assert_eq!(changed, 1);
        for number in 1..=40 {
            let found = store.record_of(&record(number).entry);
            match number {
                17..=32 if kept_by_list && number >= 20 => assert!(found.expect("reads").is_some()),
                17..=32 => {
                    let kind = found.expect_err("damaged").kind();
                    assert_eq!(kind, ErrorKind::Corrupt, "{damage}: {number}");
                }
                _ => assert!(found.expect("reads").is_some(), "{damage}: {number}"),
            }
        }
        let errors = store.scan().expect("scans").filter(Result::is_err).count();
        let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
        assert_eq!(repaired.saved + repaired.missing(), 40, "{damage}");
        assert!(errors <= 16 && repaired.missing() <= 16, "{damage}: {errors}, {repaired:?}");
        assert_sound(&directory, store);
    }
}

/// A definition that the database refuses is named, though it is written with others.
#[test]
fn c8_a_refused_definition_of_a_block_is_named() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let connection = support::raw_connection(directory.path());
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON definition WHEN NEW.first IS NOT NULL OR NEW.id = 7
        BEGIN SELECT RAISE(ABORT, 'refused'); END";
    connection.execute_batch(refuse).expect("creates");
    let adds = |numbers: std::ops::RangeInclusive<u64>| {
        numbers.map(|number| add(number, SnapshotState::Complete)).collect::<Vec<_>>()
    };
    let error = store.apply(&batch(10, adds(1..=10))).expect_err("one is refused");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(7))));
    let error = store.apply(&batch(40, adds(1..=40))).expect_err("one is refused");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(7))));
    assert_eq!(store.counts().expect("reads").total, 0, "nothing of the batch is kept");

    let without = adds(1..=6).into_iter().chain(adds(8..=10));
    store.apply(&batch(10, without)).expect("applies");
    assert_live(&store, 10, |number| number != 7);
    assert_eq!(rows(&directory).len(), 9, "each has a row of its own");
}

#[test]
fn c5_definitions_of_any_size_are_returned() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let sizes = [0, 1, 300, 8 << 10, (8 << 10) + 1, 5, 1 << 20, 7, 7, 8_000, 8_000, 8_000, 8_000, 8_000, 9];
    let records: Vec<_> = (1..)
        .zip(sizes)
        .map(|(number, size)| {
            let definition = (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            Arc::new(Record { definition, ..Record::clone(&record(number)) })
        })
        .collect();
    let state = SnapshotState::Complete;
    apply(&store, 15, records.iter().map(|record| Change::Add { record: Arc::clone(record), state }));
    for expected in &records {
        let found = store.record_of(&expected.entry).expect("reads").expect("it is live");
        assert_eq!(found.definition, expected.definition);
    }
    let expected = [(4, Some(1)), (5, None), (6, None), (7, None), (14, Some(8)), (15, None)];
    assert_eq!(rows(&directory), expected, "large ones have rows of their own");
    assert_sound(&directory, store);
}

/// A block whose column `first` became null looks as a row of one definition. One of version 1 has no
/// checksum, so a block has one.
#[test]
fn c11_a_block_that_lost_its_first_shape_is_not_served() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=16);
    let damage = "UPDATE definition SET first = NULL WHERE id = 16";
    assert_eq!(support::raw_connection(directory.path()).execute(damage, []).expect("damages"), 1);
    for number in 1..=16 {
        let found = store.record_of(&record(number).entry);
        assert_eq!(found.expect_err("damaged").kind(), ErrorKind::Corrupt, "{number}");
    }
    let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!((repaired.saved, repaired.missing()), (0, 16));
    assert_sound(&directory, store);
}

/// A trigger that rolls back leaves no transaction in which the definitions could be written one by one. Then
/// no shape is named: the one whose add wrote the block is innocent.
#[test]
fn c8_a_block_that_is_rolled_back_names_no_other_shape() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let connection = support::raw_connection(directory.path());
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON definition WHEN NEW.first IS NOT NULL
        BEGIN SELECT RAISE(ROLLBACK, 'refused'); END";
    connection.execute_batch(refuse).expect("creates");
    let adds = (1..=17).map(|number| add(number, SnapshotState::Complete));
    let error = store.apply(&batch(17, adds)).expect_err("the block is refused");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, None));
}

#[test]
fn c5_empty_definitions_are_returned() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let records: Vec<_> = (1..=5)
        .map(|number| {
            let (dependencies, definition) = Default::default();
            Arc::new(Record { dependencies, definition, ..Record::clone(&record(number)) })
        })
        .collect();
    let state = SnapshotState::Complete;
    apply(&store, 5, records.iter().map(|record| Change::Add { record: Arc::clone(record), state }));
    for expected in &records {
        let found = store.record_of(&expected.entry).expect("reads").expect("it is live");
        assert_eq!(found.definition, expected.definition);
    }
    assert_sound(&directory, store);
}

#[test]
fn c11_row_ids_near_the_ends_are_no_panic() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=40);
    let damage = format!(
        "UPDATE definition SET id = {0} + 1, first = {0} WHERE id = 16;
        UPDATE shape SET id = {0} + 1, checksum = NULL WHERE id = 16",
        i64::MIN
    );
    support::raw_connection(directory.path()).execute_batch(&damage).expect("damages");
    store.close().expect("closes");
    let inspector = Inspector::open(directory.path()).expect("opens");
    let mut problems = Vec::new();
    inspector.verify(None, &mut |problem| problems.push(problem)).expect("verifies");
    assert!(!problems.is_empty());
}

/// A block is found by the order of its shapes, so one that is added later must not be between two of them.
#[test]
fn c8_an_add_out_of_order_is_refused() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let complete = |number| add(number, SnapshotState::Complete);
    let error = store.apply(&batch(9, [1, 3, 2, 4].map(complete))).expect_err("2 is older than 3");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(2))));
    assert_live(&store, 4, |_| false);

    // One that exists already is no add.
    apply(&store, 4, [1, 3, 1, 4].map(complete));
    assert_live(&store, 4, |number| number != 2);
    apply(&store, 9, [complete(9), Change::Reset, complete(5)]);
    assert_live(&store, 9, |number| number == 5);
    assert_sound(&directory, store);
}
