//! Last-read times in a store without a cache above.

use shape_meta_core::{Change, HandleSet, ReadShapes, ShapeStore, SnapshotState, Timestamp, conformance};
use shape_meta_sqlite::SqliteStore;

use crate::support;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn least_recently_used(store: &SqliteStore, n: usize) -> Vec<(String, u64)> {
    let found = store.least_recently_used(n, &HandleSet::new()).expect("reads");
    found.shapes.into_iter().map(|(handle, at)| (handle.as_str().to_owned(), at.as_micros())).collect()
}

#[test]
fn shapes_found_at_open_count_as_read_at_the_open() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=5);
    assert_eq!(least_recently_used(&store, 9), [], "shapes created by this store were never read");
    drop(store);

    let before = Timestamp::now().as_micros();
    let store = support::open(directory.path(), support::options());
    let opened =
        store.metadata(&conformance::handle(1)).expect("reads").expect("the shape is live").last_read;
    let opened = opened.expect("a shape found at open has a last-read time").as_micros();
    assert!(opened >= before);
    support::fill(&store, 6..=8);
    let handle = |number| conformance::handle(number).as_str().to_owned();
    // Shape 2 is read after the open, 4 before it (a clock that goes back); 6 and 7 are new.
    for (number, micros) in [(2, opened + 50), (4, 10), (6, 20), (7, opened + 10), (7, opened + 5)] {
        assert!(store.touch(&handle(number), at(micros)).expect("reads"));
    }
    let expected = [
        (handle(6), 20),
        (handle(1), opened),
        (handle(3), opened),
        (handle(4), opened),
        (handle(5), opened),
        (handle(7), opened + 10),
        (handle(2), opened + 50),
    ];
    for n in 0..=9 {
        assert_eq!(least_recently_used(&store, n), expected[..n.min(7)], "the {n} least recently used");
    }
    let excluded: HandleSet = [1, 4, 6].map(conformance::handle).into_iter().collect();
    let found = store.least_recently_used(2, &excluded).expect("reads").shapes;
    assert_eq!(found, [(conformance::handle(3), at(opened)), (conformance::handle(5), at(opened))]);

    let remove = |number| Change::Remove { entry: support::record(number).entry.clone() };
    store.apply(&support::batch(9, [remove(6), remove(1), remove(2)])).expect("the batch applies");
    assert_eq!(least_recently_used(&store, 2), [(handle(3), opened), (handle(4), opened)]);
    assert_eq!(least_recently_used(&store, 9).len(), 4);
}

#[test]
fn a_read_recorded_in_the_entry_of_a_batch_is_kept() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let record = support::record(1);
    let change = Change::Add { record: record.clone(), state: SnapshotState::Complete };
    store.apply(&support::batch(1, [change])).expect("the batch applies");
    let last_read = || {
        let metadata = store.metadata(record.handle()).expect("reads").expect("the shape is live");
        metadata.last_read.map(Timestamp::as_micros)
    };
    assert_eq!(last_read(), None);
    // A layer above still holds the entry, and records a read in it long after the commit.
    for round in 2..6 {
        record.entry.touch(at(round * 10));
        assert_eq!(last_read(), Some(round * 10));
        support::fill(&store, round..=round);
    }
    store.touch(record.handle(), at(70)).expect("reads");
    assert_eq!(record.entry.last_read(), Some(at(70)));
    let handle = record.handle().clone();
    drop(record);
    support::fill(&store, 6..=6);
    store.touch(&handle, at(60)).expect("reads");
    let last_read = store.metadata(&handle).expect("reads").expect("the shape is live").last_read;
    assert_eq!(last_read, Some(at(70)), "the last read outlives the entry");
}

#[test]
fn i6_a_repeated_batch_counts_once() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let adds = [support::add(1, SnapshotState::Complete), support::add(2, SnapshotState::Complete)];
    let batch = support::batch(2, adds);
    store.apply(&batch).expect("the batch applies");
    store.touch(&conformance::handle(1), at(5)).expect("reads");
    let reset = support::batch(3, [Change::Reset]);
    store.apply(&reset).expect("the batch applies");
    support::fill(&store, 4..=4);
    store.touch(&conformance::handle(4), at(6)).expect("reads");
    store.apply(&batch).expect("a repeated batch applies (I6)");
    store.apply(&reset).expect("a repeated batch applies (I6)");
    assert_eq!(least_recently_used(&store, 9), [(conformance::handle(4).as_str().to_owned(), 6)]);
}
