//! Scans and loads: many shapes, one moment.

use std::sync::Arc;

use shape_meta_core::{Change, NewShape, ReadShapes, Seq, ShapeStore, SnapshotState, conformance};
use shape_meta_sqlite::{Mode, SqliteStore};

use crate::support;

#[test]
fn c1_a_scan_over_many_pages_stays_at_its_moment() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options().mode(mode));
        support::fill(&store, 1..=1_000);
        let mut scan = store.scan().expect("it scans");
        let first = scan.next().expect("there is one").expect("it reads");
        assert_eq!(first.metadata.created, Seq::new(1));

        store.apply(&support::batch(1_001, [Change::Reset])).expect("the writer does not wait for a scan");
        support::fill(&store, 1_002..=1_010);
        let rest: Vec<_> = scan.map(|listed| listed.expect("it reads").metadata.created.get()).collect();
        assert_eq!(rest, (2..=1_000).collect::<Vec<_>>(), "{mode:?}");
        assert_eq!(support::live(&store), (1_002..=1_010).collect::<Vec<_>>());
    }
}

#[test]
fn a_page_ends_by_bytes_too_and_nothing_is_left_out() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let big = |number: u64| {
        let definition: Arc<[u8]> = vec![number as u8; 700_000].into();
        let shape = NewShape { definition, ..conformance::shape(number) };
        Change::Add { record: Arc::new(shape.record(Seq::new(number))), state: SnapshotState::Complete }
    };
    store.apply(&support::batch(9, (1..=9).map(big))).expect("nothing fails");
    let mut seen = 0;
    for listed in store.scan().expect("it scans") {
        let listed = listed.expect("it reads");
        seen += 1;
        assert!(listed.record.definition.iter().all(|byte| u64::from(*byte) == seen));
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_scan_that_is_dropped_midway_leaves_a_connection_in_the_present() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options().max_readers(1));
    support::fill(&store, 1..=600);
    for round in 1..=3 {
        let mut scan = store.scan().expect("it scans");
        scan.next().expect("there is one").expect("it reads");
        support::fill(&store, 600 + round..=600 + round);
        drop(scan);
        assert_eq!(store.counts().expect("reads").total, 600 + round);
    }
    assert!(store.stats().expect("counts").connections == 2);
}

fn load(store: &SqliteStore) -> Vec<u64> {
    let mut loaded = Vec::new();
    store.load(&mut |entry| loaded.push(entry.created().get())).expect("it loads");
    loaded
}

#[test]
fn a_load_shows_every_entry_in_order() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=1_000);
    assert_eq!(load(&store), (1..=1_000).collect::<Vec<_>>());
}

#[test]
fn c1_threads_read_whole_shapes_while_others_write() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let record = |seq: u64| Arc::new(conformance::shape(1).record(Seq::new(seq)));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let shapes: Vec<_> =
                        store.scan().expect("scans").map(|one| one.expect("reads")).collect();
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
            store.apply(&support::batch(round + 1, [old, new])).expect("nothing fails");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
