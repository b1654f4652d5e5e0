//! Rows that are missing are damage, and not the absence of a shape.

use std::sync::Arc;

use shape_meta_core::{
    ErrorKind, HandleSet, NoopObserver, ReadShapes, ReadShapesExt, ShapeStore, ShapeStoreExt, TrustedState,
};
use shape_meta_sqlite::{Inspector, IntegrityCheck, Mode, OnCorruption, SqliteStore};

use crate::support;

/// The shape has an entry, so its definition must be there. Everything that needs no definition goes on. A
/// row has the definition of one shape, or those of shapes 5 to 20.
#[test]
fn c11_a_missing_definition_is_corrupt() {
    for (mode, lost) in [(Mode::Wal, 1), (Mode::Wal, 16), (Mode::Exclusive, 1), (Mode::Exclusive, 16)] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=4);
        support::fill(&store, 5..=4 + lost);
        support::fill(&store, 5 + lost..=600);
        store.close().expect("closes");
        let connection = support::raw_connection(directory.path());
        let sql = format!("DELETE FROM definition WHERE id = {}", 4 + lost);
        assert_eq!(connection.execute(&sql, []).expect("deletes"), 1);
        drop(connection);

        let store = support::open(directory.path(), support::options().mode(mode));
        store.recover().expect("the entries are sound");
        let [damaged, sound] = [5, 5 + lost].map(support::record);
        let kind = |error: shape_meta_core::Error| error.kind();
        assert_eq!(store.record(damaged.handle()).map_err(kind).err(), Some(ErrorKind::Corrupt));
        assert_eq!(store.record_of(&damaged.entry).map_err(kind).err(), Some(ErrorKind::Corrupt));
        assert!(store.has_handle(damaged.handle()).expect("reads"));
        assert!(store.record(sound.handle()).expect("reads").is_some());
        assert!(store.record_of(&sound.entry).expect("reads").is_some());
        assert!(store.record("unknown").expect("reads").is_none());
        let unknown = support::record(601);
        assert!(store.record_of(&unknown.entry).expect("reads").is_none());
        assert_eq!(store.handles_for_relations(sound.entry.relations()).expect("reads").len(), 85);
        let oldest = store.least_recently_used(10, &HandleSet::default()).expect("reads");
        assert_eq!(oldest.shapes.len(), 10);

        let items: Vec<_> = store.scan().expect("scans").collect();
        assert_eq!(items.len(), 600, "the scan goes on after the damaged shape");
        let errors: Vec<_> =
            items.iter().enumerate().filter_map(|(at, item)| Some((at, item.as_ref().err()?))).collect();
        assert_eq!(errors.len() as u64, lost);
        assert_eq!((errors[0].0, errors[0].1.kind()), (4, ErrorKind::Corrupt));
        assert!(errors[0].1.to_string().contains("its definition is missing"), "{}", errors[0].1);
        assert_eq!(store.scan().expect("a scan with an error harms no later one").count(), 600);

        let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
        assert_eq!((repaired.saved, repaired.lost.len() as u64), (600 - lost, lost));
        store.close().expect("closes");
    }
}

#[test]
fn c11_tools_report_a_missing_definition() {
    let directory = damaged_by("DELETE FROM definition WHERE id = 5");
    let inspector = Inspector::open(directory.path()).expect("opens");
    let mut problems = Vec::new();
    inspector.verify(None, &mut |problem| problems.push(problem)).expect("verifies");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(
        inspector.find(support::record(5).handle()).map_err(|error| error.kind()).err(),
        Some(ErrorKind::Corrupt)
    );
    let (mut sound, mut damaged) = (0, 0);
    inspector
        .scan(|item| {
            *(if item.is_ok() { &mut sound } else { &mut damaged }) += 1;
            true
        })
        .expect("scans");
    assert_eq!((sound, damaged), (9, 1));
}

/// A damaged cleanup task is counted: its stored data is found by comparing.
#[test]
fn c12_damaged_cleanup_tasks_are_reported() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let incomplete = [1, 2].map(|number| support::add(number, shape_meta_core::SnapshotState::Started));
    support::apply(&store, 2, incomplete);
    assert_eq!(support::recovered_tasks(&store).len(), 2);
    let connection = support::raw_connection(directory.path());
    let damage = "UPDATE cleanup SET checksum = checksum + 1 WHERE handle = ?1";
    assert_eq!(connection.execute(damage, [support::record(1).handle().as_str()]).expect("updates"), 1);
    drop(connection);
    let mut problems = Vec::new();
    let inspector = Inspector::open(directory.path()).expect("opens");
    let report = inspector.verify(None, &mut |problem| problems.push(problem)).expect("reads");
    assert_eq!(report.problems, 1, "{problems:?}");
    drop(inspector);
    let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!((repaired.lost_cleanups, repaired.missing()), (1, 0));
    assert_eq!(support::recovered_tasks(&store), [support::record(2).handle().clone()]);
}

/// What is removed from a database, and what has to find it.
struct Missing {
    sql: &'static str,
    /// Found by the recovery of every open.
    at_open: bool,
    /// Found by a read of the shape by its handle, and by a read by its key.
    by_handle: bool,
    by_key: bool,
    /// Found by a scan.
    by_scan: bool,
    /// What a repair loses.
    lost: usize,
}

const MISSING: &[Missing] = &[
    Missing {
        sql: "DELETE FROM shape WHERE id = 5",
        at_open: true,
        by_handle: true,
        by_key: true,
        by_scan: true,
        lost: 1,
    },
    Missing {
        sql: "DELETE FROM shape WHERE id = 5; DELETE FROM definition WHERE id = 5",
        at_open: true,
        by_handle: true,
        by_key: true,
        by_scan: true,
        lost: 1,
    },
    Missing {
        sql: "DELETE FROM definition WHERE id = 5",
        at_open: false,
        by_handle: true,
        by_key: false,
        by_scan: true,
        lost: 1,
    },
    Missing {
        sql: "INSERT INTO definition SELECT 700, dependencies, body, checksum, first FROM definition WHERE id = 5",
        at_open: false,
        by_handle: false,
        by_key: false,
        by_scan: false,
        lost: 1,
    },
    // A flipped byte leads the look-up of the right handle to a row with another one.
    Missing {
        sql: "UPDATE shape SET handle = 'x' || handle WHERE id = 5",
        at_open: true,
        by_handle: true,
        by_key: true,
        by_scan: true,
        lost: 1,
    },
    Missing {
        sql: "UPDATE shape SET key = randomblob(32) WHERE id = 5",
        at_open: true,
        by_handle: true,
        by_key: true,
        by_scan: true,
        lost: 1,
    },
    Missing {
        sql: "DELETE FROM handle_lookup WHERE id = 5",
        at_open: true,
        by_handle: false,
        by_key: false,
        by_scan: false,
        lost: 0,
    },
    Missing {
        sql: "DELETE FROM key_lookup WHERE id = 5",
        at_open: true,
        by_handle: false,
        by_key: false,
        by_scan: false,
        lost: 0,
    },
    Missing {
        sql: "DELETE FROM relation_lookup WHERE id = 5",
        at_open: true,
        by_handle: false,
        by_key: false,
        by_scan: false,
        lost: 0,
    },
    Missing {
        sql: "INSERT INTO relation_lookup VALUES (16500, 700)",
        at_open: true,
        by_handle: false,
        by_key: false,
        by_scan: false,
        lost: 0,
    },
];

/// Returns a directory with ten shapes, from which `sql` has removed rows.
fn damaged_by(sql: &str) -> tempfile::TempDir {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    // Each definition in a row of its own.
    (1..=10).for_each(|number| support::fill(&store, number..=number));
    store.close().expect("closes");
    support::raw_connection(directory.path()).execute_batch(sql).expect("removes");
    directory
}

/// The stored counts differ from the rows.
const MISCOUNTED: [&str; 2] = ["total = total + 1", "indexed = indexed + 1"];

fn miscounted(what: &str) -> tempfile::TempDir {
    let directory = damaged_by("");
    // The checksum of the row matches: a defect of an owner, and not a flipped byte.
    let connection = support::raw_connection(directory.path());
    connection.execute_batch(&format!("UPDATE meta SET {what}, checksum = NULL")).expect("miscounts");
    directory
}

#[test]
fn c11_a_row_that_is_missing_is_found_by_reads() {
    for Missing { sql, by_handle, by_key, by_scan, .. } in MISSING {
        let directory = damaged_by(sql);
        let store = support::open(directory.path(), support::options());
        let record = support::record(5);
        let is_corrupt = |error: Option<shape_meta_core::Error>| {
            assert!(
                error.as_ref().is_none_or(|error| error.kind() == ErrorKind::Corrupt),
                "{sql}: {error:?}"
            );
            error.is_some()
        };
        assert_eq!(is_corrupt(store.record(record.handle()).err()), *by_handle, "{sql}");
        assert_eq!(is_corrupt(store.handle_for(record.entry.key()).err()), *by_key, "{sql}");
        let items: Vec<_> = store.scan().expect("scans").collect();
        assert_eq!(items.iter().any(|item| is_corrupt(item.as_ref().err().cloned())), *by_scan, "{sql}");
        assert!(store.record(support::record(6).handle()).expect("reads").is_some(), "others go on");
        if sql.starts_with("DELETE FROM shape") || sql.starts_with("INSERT INTO relation") {
            for read in [
                store.metadata(record.handle()).err(),
                store.entry(record.handle()).err(),
                store.touch(record.handle(), shape_meta_core::Timestamp::now()).err(),
            ] {
                assert_eq!(is_corrupt(read), *by_handle, "{sql}");
            }
            let relations: Vec<_> = record
                .entry
                .relations()
                .iter()
                .copied()
                .chain([shape_meta_core::Relation::new(16500)])
                .collect();
            assert!(is_corrupt(store.handles_for_relations(&relations).err()), "{sql}");
        }
        assert_eq!(is_corrupt(store.load(&mut |_| {}).err()), *by_key, "{sql}: a load");
        assert_eq!(store.latest_damage().is_some(), *by_handle || *by_key || sql.contains("700)"), "{sql}");
    }
}

#[test]
fn c11_a_row_that_is_missing_is_found_by_a_check_and_repaired() {
    for Missing { sql, at_open, lost, .. } in MISSING {
        for check in [IntegrityCheck::Metadata, IntegrityCheck::Everything] {
            let directory = damaged_by(sql);
            let options = support::options().integrity_check(check);
            let refused = support::options().integrity_check(check).on_corruption(OnCorruption::Refuse);
            let refused = SqliteStore::open(directory.path(), refused, Arc::new(NoopObserver))
                .and_then(|store| store.recover());
            let is_found = *at_open || check == IntegrityCheck::Everything;
            assert_eq!(
                refused.map_err(|error| error.kind()).err(),
                is_found.then_some(ErrorKind::Corrupt),
                "{sql}"
            );

            let store = support::open(directory.path(), options);
            let recovered = store.recover().expect("the rest is sound");
            let repaired = store.report().quarantined.clone().or(recovered.quarantined);
            assert_eq!(repaired.is_some(), is_found, "{sql} {check:?}");
            if let Some(repaired) = repaired {
                let kept = if sql.starts_with("INSERT INTO definition") { 10 } else { 10 - *lost as u64 };
                assert_eq!((repaired.saved, repaired.missing()), (kept, *lost as u64), "{sql}");
                assert_eq!(store.scan().expect("scans").filter(Result::is_ok).count() as u64, kept);
                store.recover().expect("nothing is missing any more");
            }
        }
    }
    for what in MISCOUNTED {
        let directory = miscounted(what);
        let store = support::open(directory.path(), support::options());
        let repaired = store.recover().expect("recovers").quarantined.expect("repaired");
        assert_eq!(repaired.saved, 10, "{what}");
        assert_eq!(
            store.counts().expect("reads"),
            store.recover().map(|_| store.counts().expect("reads")).expect("sound")
        );
    }
}

#[test]
fn c11_tools_report_rows_that_are_missing() {
    let directories = MISSING.iter().map(|missing| (missing.sql, damaged_by(missing.sql)));
    for (sql, directory) in directories.chain(MISCOUNTED.iter().map(|what| (*what, miscounted(what)))) {
        let inspector = Inspector::open(directory.path()).expect("opens");
        let mut problems = 0;
        inspector.verify(None, &mut |_| problems += 1).expect("verifies");
        assert!(problems > 0, "{sql}");
        let mut damaged = 0;
        let each = |item: shape_meta_core::Result<_>| {
            damaged += usize::from(item.is_err());
            true
        };
        inspector.scan(each).expect("scans");
        let is_listed =
            MISSING.iter().any(|missing| missing.sql == sql && missing.by_scan) || sql.starts_with("total");
        assert_eq!(damaged > 0, is_listed, "{sql}");
        let is_unknown = is_listed && sql != "DELETE FROM definition WHERE id = 5";
        let orphans = inspector.orphans([Ok(support::record(5).handle().to_string())], |_| {});
        assert_eq!(orphans.is_err(), is_unknown, "{sql}: the data of a damaged shape is no orphan");
    }
}
