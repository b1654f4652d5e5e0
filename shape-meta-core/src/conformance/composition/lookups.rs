//! C1: look-ups by relation, counts, lists and definitions.

use crate::{
    Counts, DefinitionHash, Handle, Key, NewShape, ReadShapes, ReadShapesExt, Relation, SnapshotState,
    conformance::{
        CompositionFixture, View,
        assertions::{add, assert_new, mark, remove},
        sample::{handle, key, relations, shape},
        view::{distinct_handles_for_relations, read},
    },
};

/// No relations and unknown relations give no shapes. A shape that reads several of the given relations is
/// returned once, also when a relation is given twice.
pub fn c1_relation_lookups_find_their_shapes<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let none = NewShape { relations: relations(&[]), ..shape(1) };
    let one = NewShape { relations: relations(&[5]), ..shape(2) };
    let two = NewShape { relations: relations(&[5, 6]), ..shape(3) };
    let edges = NewShape { relations: relations(&[0, u32::MAX]), ..shape(4) };
    for new in [&none, &one, &two, &edges] {
        add(&store, new);
    }
    for _ in 0..2 {
        let found = |oids: &[u32]| -> Vec<Handle> {
            let relations: Vec<_> = oids.iter().copied().map(Relation::new).collect();
            distinct_handles_for_relations(&store, &relations).into_iter().collect()
        };
        assert_eq!(found(&[]), Vec::<Handle>::new());
        assert_eq!(found(&[7]), Vec::<Handle>::new());
        assert_eq!(found(&[6]), std::slice::from_ref(&two.handle));
        assert_eq!(found(&[5]), [one.handle.clone(), two.handle.clone()]);
        assert_eq!(found(&[5, 6]), [one.handle.clone(), two.handle.clone()]);
        assert_eq!(found(&[6, 5, 6, 5, 7]), [one.handle.clone(), two.handle.clone()]);
        assert_eq!(found(&[0]), std::slice::from_ref(&edges.handle));
        assert_eq!(found(&[u32::MAX, 0, 6]), [two.handle.clone(), edges.handle.clone()]);
        fixture.flush(&store);
    }
    remove(&store, &two.handle);
    for _ in 0..2 {
        assert!(distinct_handles_for_relations(&store, &[Relation::new(6)]).is_empty());
        assert_eq!(read(store.handles_for_relations(&[Relation::new(5)])), std::slice::from_ref(&one.handle));
        fixture.flush(&store);
    }
}

/// One look-up takes thousands of relations, with and without shapes.
pub fn c1_many_relations_in_one_lookup<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let wide = NewShape { relations: (0..1_000).map(Relation::new).collect(), ..shape(1) };
    let created = add(&store, &wide).seq();
    add(&store, &NewShape { relations: relations(&[5_000]), ..shape(2) });
    let relations: Vec<_> = (0..5_001).map(Relation::new).collect();
    for _ in 0..2 {
        assert_new(&store, &wide, created);
        assert_eq!(distinct_handles_for_relations(&store, &relations).len(), 2);
        assert_eq!(distinct_handles_for_relations(&store, &relations[1_000..]).len(), 1);
        fixture.flush(&store);
    }
}

/// Many shapes on one relation are each returned once, while some are pending and some durable.
pub fn c1_many_shapes_on_one_relation<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let many = fixture.large_count() as u64;
    for number in 0..many {
        add(&store, &NewShape { relations: relations(&[1, 2 + (number % 2) as u32]), ..shape(number) });
        if number % 1_000 == 500 {
            fixture.flush(&store);
        }
    }
    let count = |oid| distinct_handles_for_relations(&store, &[Relation::new(oid)]).len() as u64;
    assert_eq!((count(1), count(2), count(3)), (many, many.div_ceil(2), many / 2));
    assert_eq!(distinct_handles_for_relations(&store, &[1, 2, 3].map(Relation::new)).len() as u64, many);
    let counts = Counts { total: many, indexed: many.div_ceil(2) };
    assert_eq!(read(store.counts()), counts);

    for number in (0..many).step_by(2) {
        remove(&store, &handle(number));
    }
    assert_eq!((count(1), count(2), count(3)), (many / 2, 0, many / 2));
    fixture.flush(&store);
    assert_eq!((count(1), count(2), count(3)), (many / 2, 0, many / 2));
    let view = View::of(&store);
    assert_eq!(view.counts, Counts { total: many / 2, indexed: 0 });
}

/// The counts change with every add and removal, and not with marks.
pub fn c1_counts_follow_every_mutation<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let mut expected = Counts::default();
    for number in 0..20 {
        let new = NewShape { indexed: number % 3 == 0, ..shape(number) };
        add(&store, &new);
        expected.add(new.indexed);
        mark(&store, &new.handle, SnapshotState::Complete);
        if number % 4 == 0 {
            fixture.flush(&store);
        }
        if number % 5 == 4 {
            let gone = number - 2;
            remove(&store, &handle(gone));
            expected.remove(gone % 3 == 0);
        }
        assert_eq!(read(store.counts()), expected);
        assert_eq!(read(store.counts()).unindexed(), expected.total - expected.indexed);
    }
    assert_eq!(View::of(&store).counts, expected);
}

/// A list is in creation order, regardless of removals, marks and new adds in between.
pub fn c1_lists_are_in_creation_order<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for number in [5, 3, 9, 1, 7] {
        add(&store, &shape(number));
    }
    fixture.flush(&store);
    mark(&store, &handle(9), SnapshotState::Started);
    remove(&store, &handle(3));
    add(&store, &shape(3));
    add(&store, &shape(2));
    for _ in 0..2 {
        assert_eq!(listed(&store), [5, 9, 1, 7, 3, 2].map(handle));
        let folded = read(store.fold(Vec::new(), |mut handles, item| {
            handles.push(item.record.handle().clone());
            handles
        }));
        assert_eq!(folded, [5, 9, 1, 7, 3, 2].map(handle));
        fixture.flush(&store);
    }
}

/// A list returns dependencies before their dependants. Missing dependencies and cycles are allowed.
pub fn c1_lists_show_dependencies_first<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let depending_on = |number, dependencies: &[u64]| NewShape {
        dependencies: dependencies.iter().copied().map(key).collect(),
        ..shape(number)
    };
    add(&store, &depending_on(1, &[4, 99]));
    add(&store, &depending_on(2, &[]));
    add(&store, &depending_on(3, &[1]));
    fixture.flush(&store);
    add(&store, &depending_on(4, &[5]));
    add(&store, &depending_on(5, &[]));
    add(&store, &depending_on(6, &[7, 2]));
    add(&store, &depending_on(7, &[6]));
    add(&store, &depending_on(8, &[8]));
    for _ in 0..2 {
        let list = listed(&store);
        let position =
            |number| list.iter().position(|one| *one == handle(number)).expect("the shape is in the list");
        assert_eq!(list.len(), 8);
        for (dependency, dependant) in [(4, 1), (1, 3), (5, 4), (2, 6), (2, 7)] {
            assert!(position(dependency) < position(dependant), "{dependency} before {dependant}: {list:?}");
        }
        let scanned: Vec<_> = View::of(&store).shapes.into_iter().map(|shape| shape.handle).collect();
        assert_eq!(scanned, [1, 2, 3, 4, 5, 6, 7, 8].map(handle), "a scan is in creation order");
        fixture.flush(&store);
    }
    remove(&store, &handle(4));
    assert_eq!(listed(&store).len(), 7);
}

fn listed<S: ReadShapes>(store: &S) -> Vec<Handle> {
    read(store.list()).iter().map(|item| item.record.handle().clone()).collect()
}

/// Definitions are returned byte for byte: empty, with NUL bytes, not UTF-8, and of 1 MiB.
pub fn c1_definitions_are_kept_byte_for_byte<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let definitions = [&b""[..], b"\0", b"\0a\0", b"\xff\xfe", b"'; --", &all_bytes, &large];
    for (number, definition) in (1..).zip(definitions) {
        let new = NewShape { definition: definition.into(), ..shape(number) };
        let created = add(&store, &new).seq();
        assert_new(&store, &new, created);
        fixture.flush(&store);
        assert_new(&store, &new, created);
    }
    assert_eq!(View::of(&store).counts.total, 7);
}

/// Numbers at the ends of their ranges are returned unchanged.
pub fn c1_extreme_numbers_round_trip<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let hashes = [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];
    let oids = [0, 1, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX];
    let fills = [0, 1, 0x7f, 0x80, 0xff];
    for (number, ((hash, oid), fill)) in (1..).zip(hashes.into_iter().zip(oids).zip(fills)) {
        let new = NewShape {
            key: Key::new([fill; 32]),
            hash: DefinitionHash::new(hash),
            relations: relations(&[oid, oid ^ 1]),
            dependencies: [Key::new([fill; 32]), Key::new([!fill; 32])].into(),
            ..shape(number)
        };
        let created = add(&store, &new).seq();
        assert_new(&store, &new, created);
        fixture.flush(&store);
        assert_new(&store, &new, created);
        assert!(read(store.validate_handle(&new.handle, DefinitionHash::new(hash))));
        assert!(!read(store.validate_handle(&new.handle, DefinitionHash::new(hash ^ 1 << 63))));
    }
    // Different definitions may have equal hashes.
    add(&store, &NewShape { hash: DefinitionHash::new(0), ..shape(9) });
    assert_eq!(View::of(&store).counts.total, 6);
}
