use std::sync::Arc;

use super::{added, apply, marked, record, removed};
use crate::{
    Batch, Change, Counts, Entry, Handle, NewShape, ReadShapes, Record, Relation, ScanItem, Seq, ShapeStore,
    SnapshotState, Timestamp,
    conformance::{
        StoreFixture, View,
        sample::{handle, key, relations, shape},
        view::{ShapeView, read},
    },
};

fn handles(view: &View) -> Vec<Handle> {
    view.shapes.iter().map(|shape| shape.handle.clone()).collect()
}

/// All adds, marks and removals of a batch are visible when the apply has returned. Adds keep their snapshot
/// states, and sequence numbers may have gaps, which coalescing leaves.
pub fn c1_a_batch_is_seen_whole<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    assert_eq!(View::of(store).last_seq, Seq::ZERO);
    let [one, two, three] = [(1, 2), (2, 5), (3, 9)].map(|(number, created)| record(&shape(number), created));
    let started = Change::Add { record: Arc::clone(&three), state: SnapshotState::Started };
    apply(store, 12, [added(&one), added(&two), started]);
    let view = View::of(store);
    assert_eq!((view.last_seq, view.counts), (Seq::new(12), Counts { total: 3, indexed: 1 }));
    let expected = |record: &Arc<Record>, state| {
        let metadata = record.entry.metadata_in(state);
        ShapeView::of(&ScanItem { record: Arc::clone(record), metadata })
    };
    let pending = SnapshotState::Pending;
    assert_eq!(
        view.shapes,
        [expected(&one, pending), expected(&two, pending), expected(&three, SnapshotState::Started)]
    );

    apply(store, 15, [marked(&two, SnapshotState::Complete), removed(&one)]);
    let view = View::of(store);
    assert_eq!(
        view.shapes,
        [expected(&two, SnapshotState::Complete), expected(&three, SnapshotState::Started)]
    );
    assert_eq!(read(store.handle_for(&key(1))), None);
}

/// Within a batch, a removal frees handle, key and relations for a later add, and a reset removes only the
/// shapes before it.
pub fn c1_changes_apply_in_the_order_given<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let old = record(&NewShape { relations: relations(&[1, 2]), ..shape(1) }, 1);
    let again = record(&NewShape { relations: relations(&[2, 3]), ..shape(1) }, 3);
    let other_key = record(&NewShape { handle: handle(2), ..shape(9) }, 5);
    let other_handle = record(&NewShape { handle: handle(8), ..shape(2) }, 6);
    let two = record(&shape(2), 2);
    apply(store, 2, [added(&old), added(&two)]);
    apply(store, 6, [removed(&old), added(&again), removed(&two), added(&other_key), added(&other_handle)]);
    let view = View::of(store);
    assert_eq!(handles(&view), [1, 2, 8].map(handle));
    assert_eq!(view.shapes[0].created, Seq::new(3));
    assert!(read(store.handles_for_relations(&[Relation::new(1)])).is_empty());

    let after = record(&shape(1), 8);
    apply(store, 8, [removed(&other_key), Change::Reset, added(&after)]);
    let view = View::of(store);
    assert_eq!(handles(&view), [handle(1)]);
    assert_eq!((view.shapes[0].created, view.last_seq), (Seq::new(8), Seq::new(8)));
}

/// `load` visits every live entry once, in creation order, and returns the last sequence number.
pub fn c1_load_visits_every_entry<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let load = || {
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let last = read(store.load(&mut |entry| entries.push(entry)));
        assert!(entries.is_sorted_by(|one, next| one.created() < next.created()));
        assert_eq!(last, read(store.last_seq()));
        entries
    };
    assert!(load().is_empty());
    let records: Vec<_> = (1..=500).map(|number| record(&shape(number), number)).collect();
    apply(store, 500, records.iter().map(added));
    apply(store, 503, [removed(&records[7]), marked(&records[8], SnapshotState::Complete)]);
    let entries = load();
    let view = View::of(store);
    assert_eq!(entries.len(), 499);
    for (entry, seen) in entries.iter().zip(&view.shapes) {
        assert_eq!((entry.handle(), entry.key(), entry.created()), (&seen.handle, &seen.key, seen.created));
        assert_eq!((entry.state(), entry.hash(), entry.is_indexed()), (seen.state, seen.hash, seen.indexed));
        assert_eq!((entry.last_read(), entry.relations().to_vec()), (seen.last_read, seen.relations.clone()));
    }
}

/// `record_of` finds a record by the sequence number of the entry. That of a removed shape is not that of a
/// newer shape with the same handle and key.
pub fn c1_a_record_belongs_to_its_entry<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let old = record(&shape(1), 1);
    assert!(read(store.record_of(&old.entry)).is_none());
    apply(store, 1, [added(&old)]);
    let mut loaded: Vec<Arc<Entry>> = Vec::new();
    read(store.load(&mut |entry| loaded.push(entry)));
    let another = record(&shape(1), 1);
    for entry in [&old.entry, &loaded[0], &another.entry] {
        let Some(found) = read(store.record_of(entry)) else {
            panic!("the record of a live entry should be found")
        };
        assert!(Arc::ptr_eq(&found.entry, entry), "the record shares the given entry");
        assert_eq!((&found.definition, &found.dependencies), (&old.definition, &old.dependencies));
    }
    let new = record(&NewShape { definition: b"new".as_slice().into(), ..shape(1) }, 3);
    apply(store, 3, [removed(&old), added(&new)]);
    if let Some(found) = read(store.record_of(&old.entry)) {
        assert_eq!((&found.definition, &found.dependencies), (&old.definition, &old.dependencies));
    }
    let Some(found) = read(store.record_of(&new.entry)) else {
        panic!("the record of the new shape should be found")
    };
    assert_eq!(*found.definition, *b"new");
    assert_eq!(found.entry.created(), Seq::new(3));
}

/// Every read sees a touch of a live shape.
pub fn c1_a_touch_is_seen_by_every_read<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let one = record(&shape(1), 1);
    apply(store, 1, [added(&one), added(&record(&shape(2), 2))]);
    let at = Timestamp::from_micros(77);
    assert!(read(store.touch(&handle(1), at)));
    let view = View::of(store);
    assert_eq!((view.shapes[0].last_read, view.shapes[1].last_read), (Some(at), None));
    apply(store, 3, [marked(&one, SnapshotState::Complete)]);
    assert_eq!(View::of(store).shapes[0].last_read, Some(at));
}

/// A commit and then a publish have the effect of an apply, also if the next batch is committed in between,
/// and if either call is repeated.
pub fn i2_commit_then_publish_equals_apply<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let [one, two, three] = [1, 2, 3].map(|number| record(&shape(number), number));
    apply(store, 1, [added(&one)]);
    let batch = |changes, through| Batch { changes, through: Seq::new(through) };
    let second = batch(vec![added(&two), removed(&one)], 2);
    let third = batch(vec![added(&three)], 3);
    for committed in [&second, &third, &third] {
        read(store.commit(committed));
    }
    store.publish(&second);
    store.publish(&third);
    let view = View::of(store);
    assert_eq!((handles(&view), view.last_seq), ([2, 3].map(handle).to_vec(), Seq::new(3)));
    for again in [&second, &third] {
        store.publish(again);
        assert_eq!(View::of(store), view);
        read(store.commit(again));
        store.publish(again);
        assert_eq!(View::of(store), view);
    }
}

/// A batch that is already applied, or an earlier one, is skipped, whatever it contains. So a commit whose
/// answer was lost can be retried.
pub fn i6_a_batch_applies_once<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let [one, two, three] = [1, 2, 3].map(|number| record(&shape(number), number));
    apply(store, 2, [added(&one), added(&two)]);
    let view = View::of(store);
    apply(store, 2, [added(&one), added(&two)]);
    assert_eq!(View::of(store), view);
    apply(store, 4, [added(&three), removed(&one)]);
    let view = View::of(store);
    apply(store, 4, [added(&three), removed(&one)]);
    apply(store, 2, [added(&one), added(&two)]);
    apply(store, 1, [Change::Reset]);
    apply(store, 0, [Change::Reset]);
    assert_eq!(View::of(store), view);
    assert_eq!(handles(&view), [2, 3].map(handle));
}

/// The removal or mark of a missing shape does nothing, also when a newer shape has the same handle and key.
/// The rest of the batch is applied.
pub fn i6_changes_of_removed_shapes_do_nothing<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let [old, new] = [1, 3].map(|created| record(&shape(1), created));
    let never = record(&shape(7), 2);
    apply(store, 3, [added(&old), removed(&old), added(&new)]);
    let before = View::of(store);
    apply(
        store,
        9,
        [
            removed(&old),
            marked(&old, SnapshotState::Complete),
            removed(&never),
            marked(&never, SnapshotState::Started),
        ],
    );
    let after = View::of(store);
    assert_eq!(after, View { last_seq: Seq::new(9), ..before });
    apply(store, 12, [removed(&never), marked(&new, SnapshotState::Started), removed(&old)]);
    assert_eq!(View::of(store).shapes[0].state, SnapshotState::Started);
    // A state never moves back.
    apply(store, 13, [marked(&new, SnapshotState::Complete)]);
    apply(store, 14, [marked(&new, SnapshotState::Started)]);
    assert_eq!(View::of(store).shapes[0].state, SnapshotState::Complete);
}

/// A batch without changes, which an add and a removal in the same window leave, advances the last sequence
/// number.
pub fn i6_an_empty_batch_advances_last_seq<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    apply(store, 2, []);
    assert_eq!(
        View::of(store),
        View { counts: Counts::default(), last_seq: Seq::new(2), shapes: Vec::new() }
    );
    apply(store, 3, [added(&record(&shape(1), 3))]);
    apply(store, 9, []);
    assert_eq!((View::of(store).counts.total, read(store.last_seq())), (1, Seq::new(9)));
}

/// A large batch on few relations is applied as a whole, and the next batch removes most of its shapes.
pub fn c1_a_large_batch_is_applied_whole<F: StoreFixture>(fixture: &F) {
    let store = &fixture.open();
    let records: Vec<_> = (1..=5_000).map(|number| record(&shape(number), number)).collect();
    apply(store, 5_000, records.iter().map(added));
    assert_eq!(View::of(store).counts, Counts { total: 5_000, indexed: 2_500 });
    apply(store, 10_000, records[10..].iter().map(removed));
    let view = View::of(store);
    assert_eq!((view.counts, view.shapes.len()), (Counts { total: 10, indexed: 5 }, 10));
}
