//! C6 across a reopen. The checks do nothing if the fixture does not support it.

use crate::{
    Counts, MutateShapesExt, NewShape, ReadShapes, ReadShapesExt, Relation, SnapshotState, Timestamp,
    conformance::{
        CompositionFixture, ShapeView, View,
        assertions::{WAIT, accepted, add, assert_gone, assert_new, mark, remove},
        sample::{handle, key, relations, shape},
        view::read,
    },
};

const AT: Timestamp = Timestamp::from_micros(1_768_476_874_000_000);

/// Complete shapes survive a reopen unchanged, with their last-read times. Those that were never read all get
/// the same last-read time. All other shapes are removed, and their handles and keys are free. Sequence
/// numbers continue.
pub fn c6_complete_shapes_survive_a_reopen<F: CompositionFixture>(fixture: &F) {
    use SnapshotState::{Complete, Started};
    let store = fixture.open();
    for number in 1..=6 {
        let new = NewShape {
            relations: relations(&[number as u32, 100]),
            dependencies: [key(number + 1)].into(),
            ..shape(number)
        };
        add(&store, &new);
        if number == 3 {
            fixture.flush(&store);
        }
    }
    for (number, state) in [(1, Complete), (2, Started), (4, Complete), (5, Started), (6, Complete)] {
        mark(&store, &handle(number), state);
    }
    remove(&store, &handle(6));
    assert!(read(store.touch(&handle(1), Timestamp::from_micros(5))));
    let before = View::of(&store);
    let Ok(store) = fixture.reopen(store, AT) else { return };

    let view = View::of(&store);
    let opened_at = view.shapes.last().and_then(|shape| shape.last_read);
    assert!(opened_at.is_some(), "shapes that were never read get a last-read time: {view:#?}");
    let kept = |shape: ShapeView| ShapeView { last_read: shape.last_read.or(opened_at), ..shape };
    let survivors = before.shapes.iter().filter(|shape| shape.state.is_complete());
    let expected = View {
        counts: Counts { total: 2, indexed: 1 },
        last_seq: before.last_seq,
        shapes: survivors.cloned().map(kept).collect(),
    };
    assert_eq!(view, expected);
    for number in [2, 3, 5, 6] {
        assert_gone(&store, &shape(number));
        assert!(read(store.handles_for_relations(&[Relation::new(number as u32)])).is_empty());
    }
    assert_eq!(read(store.lru(9)).shapes.len(), 2);

    let created = add(&store, &shape(2)).seq();
    assert_eq!(created, before.last_seq.next(), "a sequence number is never used again");
    assert_new(&store, &shape(2), created);
    remove(&store, &handle(1));
    assert_gone(&store, &shape(1));
    fixture.flush(&store);
    assert_eq!(View::of(&store).counts.total, 2);
}

/// A reopen of an empty store, and a reopen after a reset, find no shapes and keep the last sequence number.
pub fn c6_an_empty_store_reopens<F: CompositionFixture>(fixture: &F) {
    let Ok(store) = fixture.reopen(fixture.open(), AT) else { return };
    assert_eq!(View::of(&store).shapes, []);
    let first = add(&store, &shape(1)).seq();
    mark(&store, &handle(1), SnapshotState::Complete);
    let reset = accepted(store.reset(WAIT)).seq();
    let Ok(store) = fixture.reopen(store, AT) else { panic!("the store was reopened before") };
    assert_eq!(View::of(&store), View { counts: Counts::default(), last_seq: reset, shapes: Vec::new() });
    let again = add(&store, &shape(1)).seq();
    assert!(again > first && again > reset);
}

/// After recovery, further reopens change nothing, not even the last-read time that recovery gave to shapes
/// that were never read.
pub fn c6_repeated_reopens_change_nothing<F: CompositionFixture>(fixture: &F) {
    let mut store = fixture.open();
    for number in 1..=50 {
        add(&store, &shape(number));
        if number % 2 == 0 {
            mark(&store, &handle(number), SnapshotState::Complete);
        }
    }
    let mut last: Option<View> = None;
    for _ in 0..3 {
        match fixture.reopen(store, AT) {
            Ok(opened) => store = opened,
            Err(_) => return,
        }
        let view = View::of(&store);
        assert_eq!(view.counts.total, 25);
        if let Some(last) = &last {
            assert_eq!(view, *last);
        }
        last = Some(view);
    }
}
