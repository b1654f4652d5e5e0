//! Scans and loads: each shows one snapshot of the database.

use std::sync::Arc;

use shape_meta_core::{Change, NewShape, ReadShapes, Seq, ShapeStore, SnapshotState, conformance};
use shape_meta_sqlite::{Mode, SqliteStore};

use crate::support;

#[test]
fn c1_a_scan_over_many_pages_keeps_its_snapshot() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options().mode(mode));
        support::fill(&store, 1..=1_000);
        let mut scan = store.scan().expect("the scan opens");
        let first = scan.next().expect("the scan has a row").expect("reads");
        assert_eq!(first.metadata.created, Seq::new(1));

        store.apply(&support::batch(1_001, [Change::Reset])).expect("a scan does not block the writer");
        support::fill(&store, 1_002..=1_010);
        let rest: Vec<_> = scan.map(|item| item.expect("reads").metadata.created.get()).collect();
        assert_eq!(rest, (2..=1_000).collect::<Vec<_>>(), "{mode:?}");
        assert_eq!(support::live(&store), (1_002..=1_010).collect::<Vec<_>>());
    }
}

#[test]
fn a_scan_page_is_bounded_by_bytes_and_no_shape_is_skipped() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let big = |number: u64| {
        let definition: Arc<[u8]> = vec![number as u8; 700_000].into();
        let shape = NewShape { definition, ..conformance::shape(number) };
        Change::Add { record: Arc::new(shape.record(Seq::new(number))), state: SnapshotState::Complete }
    };
    store.apply(&support::batch(9, (1..=9).map(big))).expect("the batch applies");
    let mut seen = 0;
    for item in store.scan().expect("the scan opens") {
        let item = item.expect("reads");
        seen += 1;
        assert!(item.record.definition.iter().all(|byte| u64::from(*byte) == seen));
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_dropped_scan_returns_a_connection_without_an_old_snapshot() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().max_readers(1));
    support::fill(&store, 1..=600);
    for round in 1..=3 {
        let mut scan = store.scan().expect("the scan opens");
        scan.next().expect("the scan has a row").expect("reads");
        support::fill(&store, 600 + round..=600 + round);
        drop(scan);
        assert_eq!(store.counts().expect("reads").total, 600 + round);
    }
    assert!(store.stats().expect("counts").connections == 2);
}

fn load(store: &SqliteStore) -> Vec<u64> {
    let mut loaded = Vec::new();
    store.load(&mut |entry| loaded.push(entry.created().get())).expect("loads");
    loaded
}

#[test]
fn a_load_returns_every_entry_in_order() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=1_000);
    assert_eq!(load(&store), (1..=1_000).collect::<Vec<_>>());
}

#[test]
fn c1_threads_read_whole_shapes_during_writes() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let record = |seq: u64| Arc::new(conformance::shape(1).record(Seq::new(seq)));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let shapes: Vec<_> =
                        store.scan().expect("the scan opens").map(|one| one.expect("reads")).collect();
                    assert!(shapes.len() <= 1, "one instance of the shape is live at a time");
                    if let Some(found) = store.record(&conformance::handle(1)).expect("reads") {
                        assert!(!found.definition.is_empty());
                    }
                    let reading = store.handles_for_relations(record(1).entry.relations()).expect("reads");
                    assert!(reading.len() <= 1);
                }
            });
        }
        for round in 0..150 {
            let old = Change::Remove { entry: record(round).entry.clone() };
            let new = Change::Add { record: record(round + 1), state: SnapshotState::Pending };
            store.apply(&support::batch(round + 1, [old, new])).expect("the batch applies");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
