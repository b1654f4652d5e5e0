//! Full reloads from a store that another process writes, as a standby does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use shape_meta_cache::CacheOptions;
use shape_meta_core::{
    Change, MemoryStore, NewShape, ReadShapes, ReadShapesExt, Seq, ShapeStore, SnapshotState, Timestamp,
    conformance::{
        handle, key, shape,
        store::{self, added, removed},
    },
};

use crate::{
    scripted::Scripted,
    support::{batch, cached, record},
};

#[test]
fn a_reload_shows_new_changes_and_keeps_the_rest() {
    let below = Arc::new(MemoryStore::new());
    let records: Vec<_> = (1..=30).map(|number| record(number, number)).collect();
    below.apply(&batch(30, records[..20].iter().map(added))).unwrap();
    let cached = cached(Arc::clone(&below), CacheOptions::default());
    assert!(cached.touch(&handle(15), Timestamp::from_micros(9)).unwrap());

    let complete = records[10..20]
        .iter()
        .map(|record| Change::Mark { entry: Arc::clone(&record.entry), state: SnapshotState::Complete });
    below.apply(&batch(40, complete)).unwrap();
    let gone = below.reopen(Timestamp::from_micros(5));
    assert_eq!(gone.len(), 10, "all entries below are new objects");
    below.apply(&batch(50, records[20..].iter().map(added))).unwrap();

    let reloaded = cached.reload().unwrap();
    assert_eq!((reloaded.added, reloaded.removed), (10, 10));
    assert_eq!(cached.counts().unwrap().total, 20);
    assert_eq!(cached.last_seq().unwrap(), Seq::new(50));
    for number in 1..=30 {
        assert_eq!(cached.has_handle(&handle(number)).unwrap(), number > 10);
        assert_eq!(cached.handle_for(&key(number)).unwrap().is_some(), number > 10);
    }
    let metadata = cached.metadata(&handle(15)).unwrap().unwrap();
    assert_eq!(metadata.last_read, Some(Timestamp::from_micros(9)), "the time of the mirror is kept");
    assert_eq!(metadata.state, SnapshotState::Complete);
    let mut scan = cached.scan().unwrap().map(|item| item.unwrap());
    let item = scan.find(|item| *item.record.handle() == handle(15)).unwrap();
    assert_eq!(item.metadata, metadata, "and a scan of the store below shows it");
    assert!(Arc::ptr_eq(&item.record.entry, &cached.entry(&handle(15)).unwrap().unwrap()));
    let again = cached.reload().unwrap();
    assert_eq!((again.added, again.removed, again.marked), (0, 0, 0));
}

#[test]
fn c13_a_reload_shows_exactly_the_states_below() {
    use SnapshotState::{Complete, Pending, Started};
    let (shown, below) = (
        [Pending, Pending, Started, Pending, Complete, Started],
        [Started, Complete, Complete, Pending, Complete, Pending],
    );
    let filled = |states: [SnapshotState; 6]| {
        let store = MemoryStore::new();
        let adds = (1..).zip(states).map(|(n, state)| Change::Add { record: record(n, n), state });
        store.apply(&batch(6, adds)).unwrap();
        Some(store)
    };
    let scripted = Scripted::default();
    *scripted.repaired.lock().unwrap() = filled(shown);
    scripted.replace();
    let cached = cached(scripted, CacheOptions::default());
    for number in 1..=6 {
        assert!(cached.touch(&handle(number), Timestamp::from_micros(number)).unwrap());
    }
    *cached.inner().repaired.lock().unwrap() = filled(below);
    cached.inner().replace();
    let reloaded = cached.reload().unwrap();
    // The last one is a restored copy: on one line of history, a state only moves forward.
    assert_eq!((reloaded.marked, reloaded.removed, reloaded.added), (3, 1, 1));
    let states: Vec<_> =
        (1..=6).map(|number| cached.metadata(&handle(number)).unwrap().unwrap().state).collect();
    assert_eq!(states, below);
    for number in 1..=6 {
        let metadata = cached.metadata(&handle(number)).unwrap().unwrap();
        assert_eq!(metadata.last_read, Some(Timestamp::from_micros(number)));
        assert_eq!(cached.record(&handle(number)).unwrap().unwrap().entry.state(), metadata.state);
    }
    assert_eq!(cached.lru(9).unwrap().shapes.len(), 6);
}

/// The same handle and key at the same sequence number, with other relations, another hash, or indexed.
#[test]
fn c13_a_reload_shows_exactly_the_shapes_below() {
    let below = Scripted::default();
    let records: Vec<_> = (1..=4).map(|number| record(number, number)).collect();
    below.apply(&batch(4, records.iter().map(added))).unwrap();
    let cached = cached(below, CacheOptions::default());
    let restored = |number: u64| {
        let mut shape = NewShape { handle: handle(number), key: key(number), ..shape(number) };
        match number {
            1 => shape.relations = [shape_meta_core::Relation::new(77)].into_iter().collect(),
            2 => shape.hash = shape_meta_core::DefinitionHash::new(77),
            3 => shape.indexed = !shape.indexed,
            _ => {}
        }
        store::record(&shape, number)
    };
    let others = MemoryStore::new();
    others.apply(&batch(4, (1..=4).map(|number| added(&restored(number))))).unwrap();
    let counts = others.counts().unwrap();
    *cached.inner().repaired.lock().unwrap() = Some(others);
    cached.inner().replace();
    cached.reload().unwrap();
    assert_eq!(cached.counts().unwrap(), counts);
    assert_eq!(cached.handles_for_relations(&[shape_meta_core::Relation::new(77)]).unwrap(), [handle(1)]);
    for number in 1..=4 {
        let hash = restored(number).entry.hash();
        assert_eq!(cached.metadata(&handle(number)).unwrap().unwrap().hash, hash);
        assert_eq!(cached.record(&handle(number)).unwrap().unwrap().entry.hash(), hash);
    }
}

/// Of two layers above one standby, the other one has noticed a restore first, and has read on the new line.
/// A delta for a number of the old line would be one of other changes.
#[test]
fn c13_a_layer_reloads_after_another_one_has_noticed_a_restore() {
    let below = Scripted::default();
    let records: Vec<_> = (1..=4).map(|number| record(number, number)).collect();
    below.apply(&batch(4, records.iter().map(added))).unwrap();
    let cached = cached(below, CacheOptions::default());
    let restored = MemoryStore::new();
    restored
        .apply(&batch(4, (11..=14).map(|number| added(&store::record(&shape(number), number - 10)))))
        .unwrap();
    // What the log says for the number 4, on either line: nothing has changed since.
    let mut delta = shape_meta_core::Delta::default();
    (delta.through, delta.counts) = (Seq::new(4), restored.counts().unwrap());
    *cached.inner().delta.lock().unwrap() = Some(delta);
    assert!(!cached.refresh().unwrap().full);

    *cached.inner().repaired.lock().unwrap() = Some(restored);
    cached.inner().replace();
    cached.inner().line.store(1, SeqCst);
    assert!(cached.refresh().unwrap().full);
    assert!(cached.has_handle(&handle(11)).unwrap() && !cached.has_handle(&handle(1)).unwrap());
    assert!(!cached.refresh().unwrap().full, "incremental again");
}

/// Another shape has the same sequence number: with the same handle, with the same key, or with neither.
#[test]
fn another_shape_with_the_same_seq_replaces_the_old_one() {
    let below = Scripted::default();
    let records: Vec<_> = (1..=4).map(|number| record(number, number)).collect();
    below.apply(&batch(4, records.iter().map(added))).unwrap();
    let cached = cached(below, CacheOptions::default());
    let at = |seq, handle_of, key_of| {
        let shape = NewShape { handle: handle(handle_of), key: key(key_of), ..shape(seq) };
        added(&store::record(&shape, seq))
    };
    let others = MemoryStore::new();
    others.apply(&batch(4, [at(1, 1, 11), at(2, 12, 2), at(3, 13, 13), at(4, 4, 4)])).unwrap();
    *cached.inner().repaired.lock().unwrap() = Some(others);
    cached.inner().replace();

    let reloaded = cached.reload().unwrap();
    assert_eq!((reloaded.added, reloaded.removed, reloaded.marked), (3, 3, 0));
    let found = |number| cached.handle_for(&key(number)).unwrap();
    assert_eq!([1, 2, 3, 4].map(found), [None, Some(handle(12)), None, Some(handle(4))]);
    assert_eq!([11, 13].map(found), [Some(handle(1)), Some(handle(13))]);
    let shown = [1, 2, 3, 4, 12, 13].map(|number| cached.has_handle(&handle(number)).unwrap());
    assert_eq!(shown, [true, false, false, true, true, true]);
    assert_eq!(cached.counts().unwrap().total, 4);
    let mut handles = Vec::new();
    cached.load(&mut |entry| handles.push(entry.handle().clone())).unwrap();
    assert_eq!(handles, [1, 12, 13, 4].map(handle), "the entry list has them as well");
}

#[test]
fn c1_readers_never_miss_a_live_shape_during_a_reload() {
    let below = Arc::new(MemoryStore::new());
    let staying = record(1, 1);
    below.apply(&batch(1, [added(&staying)])).unwrap();
    let cached = cached(Arc::clone(&below), CacheOptions::default());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    assert!(cached.has_handle(&handle(1)).unwrap());
                    assert_eq!(cached.handle_for(&key(1)).unwrap(), Some(handle(1)));
                    assert!(cached.counts().unwrap().total >= 1);
                }
            });
        }
        for round in 0..300_u64 {
            let coming = record(8, 2 * round + 2);
            below.apply(&batch(2 * round + 2, [added(&coming)])).unwrap();
            cached.reload().unwrap();
            below.apply(&batch(2 * round + 3, [removed(&coming)])).unwrap();
            cached.reload().unwrap();
        }
        done.store(true, SeqCst);
    });
}
