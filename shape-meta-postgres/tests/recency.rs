//! Last-read times in a store without a cache above.

use shape_meta_core::{LastReadStore, ReadShapes, ShapeStore, ShapeStoreExt, Timestamp, conformance};

use crate::support::{Schema, apply, fill, least_recently_used, remove};

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

#[test]
fn c1_shapes_found_at_open_count_as_read_at_the_open() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=5);
    assert_eq!(least_recently_used(&store, 9), [], "shapes created by this store were never read");
    drop(store);

    let before = Timestamp::now().as_micros();
    let store = schema.open("stack");
    let handle = conformance::handle;
    let last_read = |number| store.metadata(&handle(number)).expect("reads").expect("it is live").last_read;
    let opened = last_read(1).expect("a shape found at open has a last-read time").as_micros();
    assert!(opened >= before);
    fill(&store, 6..=8);
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
    let excluded = [1, 4, 6].map(handle).into_iter().collect();
    let found = store.least_recently_used(2, &excluded).expect("reads").shapes;
    assert_eq!(found, [(handle(3), at(opened)), (handle(5), at(opened))]);
    apply(&store, 9, [remove(6), remove(1), remove(2)]);
    assert_eq!(least_recently_used(&store, 2), [(handle(3), opened), (handle(4), opened)]);
    assert_eq!(least_recently_used(&store, 9).len(), 4);
}

#[test]
fn c6_saved_times_are_found_again_and_only_move_forward() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=5_000);
    for number in [1, 2, 5_000] {
        assert!(store.touch(&conformance::handle(number), at(number * 10)).expect("reads"));
    }
    let swept = store.sweep_reads().expect("writes");
    assert_eq!((swept.shapes, swept.more), (3, false));
    assert_eq!(store.sweep_reads().expect("writes").shapes, 0, "they are saved");
    let seq = |number| shape_meta_core::Seq::new(number);
    store.save(&[(seq(1), at(5)), (seq(2), at(25)), (seq(2), at(24)), (seq(9_999), at(1))]).expect("writes");
    store.save(&[(seq(3), at(u64::MAX))]).expect("writes");
    drop(store);

    let now = Timestamp::now();
    let store = schema.open("stack");
    let mut saved = Vec::new();
    store.for_each_saved(&mut |id, at| saved.push((id.get(), at))).expect("reads");
    assert_eq!(saved.len(), 4, "a time of a shape that is gone is not saved");
    assert_eq!(saved[..2], [(1, at(10)), (2, at(25))]);
    assert!(saved[2].1 <= now, "no time is later than now");
    let mut loaded = Vec::new();
    store.load(&mut |entry| loaded.push(entry.last_read())).expect("reads");
    assert_eq!(loaded[..2], [Some(at(10)), Some(at(25))]);
    assert_eq!(loaded[4_999], Some(at(50_000)));
    assert_eq!(loaded.len(), 5_000);
    assert!(loaded.iter().all(Option::is_some));
    let found = least_recently_used(&store, 3);
    assert_eq!(found.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [10, 25, 50_000]);
    apply(&store, 5_001, [remove(1)]);
    assert_eq!(schema.query("SELECT id FROM @last_read ORDER BY id"), ["2", "3", "5000"]);
}

#[test]
fn c1_a_store_without_last_reads_leaves_them_to_the_cache() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=3);
    store.touch(&conformance::handle(1), at(7)).expect("reads");
    store.sweep_reads().expect("writes");
    drop(store);
    let store = schema.open_with("stack", schema.options().last_reads(false));
    assert!(store.least_recently_used(1, &Default::default()).is_err());
    let mut loaded = Vec::new();
    store.load(&mut |entry| loaded.push(entry.last_read())).expect("reads");
    assert_eq!(loaded[0], Some(at(7)));
    assert!(loaded[1].is_some() && loaded[1] == store.first_seen_at(shape_meta_core::Seq::new(2)));
}
