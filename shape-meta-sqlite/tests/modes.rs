//! Modes and options, and their change from one open to the next.

use shape_meta_core::{ErrorKind, ReadShapes, ReadShapesExt, conformance};
use shape_meta_sqlite::{DiskIndexes, Durability, IntegrityCheck, Mode, SqliteOptions};

use crate::support;

#[test]
fn a_database_can_be_reopened_in_another_mode() {
    let directory = support::directory();
    let mut shapes = 0;
    for mode in [Mode::Wal, Mode::Exclusive, Mode::Exclusive, Mode::Wal, Mode::Wal] {
        let store = support::open(directory.path(), support::options().mode(mode));
        assert_eq!(store.counts().expect("reads").total, shapes);
        shapes += 10;
        support::fill(&store, shapes - 9..=shapes);
        assert_eq!(support::live(&store).len() as u64, shapes);
        let wal = directory.path().join("shape-meta.sqlite3-wal");
        assert_eq!(wal.exists(), mode == Mode::Wal);
    }
}

#[test]
fn disk_indexes_are_built_and_dropped_at_open() {
    let directory = support::directory();
    let open = |disk_indexes| support::open(directory.path(), support::options().disk_indexes(disk_indexes));
    let store = open(DiskIndexes::Omitted);
    assert!(store.report().created && store.report().disk_indexes_before.is_none());
    support::fill(&store, 1..=500);
    let unsupported = store.metadata(&conformance::handle(1)).expect_err("the store has no disk indexes");
    assert_eq!(unsupported.kind(), ErrorKind::Unsupported);
    drop(store);

    let store = open(DiskIndexes::Maintained);
    assert_eq!(store.report().disk_indexes_before, Some(DiskIndexes::Omitted));
    support::fill(&store, 501..=600);
    for number in 1..=600 {
        let shape = conformance::shape(number);
        assert!(store.has_handle(&shape.handle).expect("reads"));
        assert_eq!(store.handle_for(&shape.key).expect("reads"), Some(shape.handle.clone()));
        assert!(store.handles_for_relations(&shape.relations).expect("reads").contains(&shape.handle));
    }
    drop(store);

    let store = open(DiskIndexes::Omitted);
    assert_eq!(store.report().disk_indexes_before, Some(DiskIndexes::Maintained));
    drop(store);
    let store = open(DiskIndexes::Omitted);
    assert_eq!(store.report().disk_indexes_before, None);
    assert_eq!(support::live(&store).len(), 600);
}

#[test]
fn every_durability_mode_and_check_opens() {
    use Durability::{PowerLossConsistent, PowerLossDurable, ProcessCrash};
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let mut shapes = 0;
        for durability in [ProcessCrash, PowerLossConsistent, PowerLossDurable] {
            for check in [IntegrityCheck::Nothing, IntegrityCheck::Metadata, IntegrityCheck::Everything] {
                let options =
                    SqliteOptions::default().mode(mode).durability(durability).integrity_check(check);
                let store = support::open(directory.path(), options);
                shapes += 1;
                support::fill(&store, shapes..=shapes);
                assert_eq!(store.counts().expect("reads").total, shapes);
            }
        }
    }
}

#[test]
fn the_page_size_is_fixed_at_creation() {
    let directory = support::directory();
    drop(support::open(directory.path(), support::options().page_size(512)));
    drop(support::open(directory.path(), support::options().page_size(65_536)));
    let page_size: i64 = support::raw_connection(directory.path())
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .expect("reads");
    assert_eq!(page_size, 512);
}

#[test]
fn a_store_works_with_extreme_options() {
    let directory = support::directory();
    let options = support::options()
        .idle_timeout(std::time::Duration::ZERO)
        .busy_timeout(std::time::Duration::from_millis(500))
        .cache_size(0)
        .reader_cache_size(u64::MAX)
        .wal_autocheckpoint_bytes(0)
        .max_readers(1);
    let store = support::open(directory.path(), options);
    support::fill(&store, 1..=100);
    assert_eq!(support::live(&store).len(), 100);
}

#[test]
fn the_wal_is_bounded_and_maintain_empties_it() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().wal_autocheckpoint_bytes(100_000));
    for number in 1..=400 {
        support::fill(&store, number..=number);
    }
    assert!(store.stats().expect("reads").wal_bytes < 500_000);
    store.maintain().expect("maintains");
    let stats = store.stats().expect("reads");
    assert_eq!(stats.wal_bytes, 0);
    assert!(stats.database_bytes > 100_000);
}
