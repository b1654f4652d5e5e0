//! Repair of the store below: it gets the mirrored entries, and the mirror then shows the repaired store.

use std::sync::atomic::Ordering::SeqCst;

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    ErrorKind, MemoryStore, ReadShapes, ReadShapesExt, Seq, ShapeStore, ShapeStoreExt, TrustedState,
    conformance::{handle, key, store::added},
};

use crate::{
    scripted::Scripted,
    support::{batch, cached, cached_below_buffer, record},
};

/// Adds these shapes, each with its number as the sequence number, in a batch up to `through`.
fn fill<S: ShapeStore>(store: S, numbers: &[u64], through: u64) -> S {
    let records: Vec<_> = numbers.iter().map(|number| record(*number, *number)).collect();
    store.apply(&batch(through, records.iter().map(added))).unwrap();
    store
}

/// A cache over shapes 1 to 3. A repair cannot save the second, and the repaired store is at `through`.
fn damaged(through: u64) -> Cached<Scripted> {
    damaged_with(through, CacheOptions::default(), false)
}

fn damaged_with(through: u64, options: CacheOptions, below_buffer: bool) -> Cached<Scripted> {
    let below = fill(Scripted::default(), &[1, 2, 3], 3);
    *below.repaired.lock().unwrap() = Some(fill(MemoryStore::new(), &[1, 3], through));
    if below_buffer { cached_below_buffer(below, options) } else { cached(below, options) }
}

fn assert_shows(cached: &Cached<Scripted>, numbers: &[u64]) {
    for number in 1..=9 {
        assert_eq!(cached.has_handle(&handle(number)).unwrap(), numbers.contains(&number));
        assert_eq!(cached.handle_for(&key(number)).unwrap().is_some(), numbers.contains(&number));
    }
    assert_eq!(cached.counts().unwrap().total, numbers.len() as u64);
}

#[test]
fn c9_a_repair_gets_all_mirrored_entries_and_is_shown() {
    let cached = damaged(4);
    let repaired = cached.rebuild_from(TrustedState::default()).unwrap();
    assert_eq!(repaired.saved, 2);
    let trusted = (vec![Seq::new(1), Seq::new(2), Seq::new(3)], Some(Seq::new(3)));
    assert_eq!(*cached.inner().trusted.lock().unwrap(), trusted);
    assert_shows(&cached, &[1, 3]);
    assert_eq!(cached.last_seq().unwrap(), Seq::new(4));
    cached.apply(&batch(5, [added(&record(5, 5))])).unwrap();
    assert_shows(&cached, &[1, 3, 5]);
}

#[test]
fn c9_a_repair_that_fails_changes_nothing() {
    let cached = damaged(4);
    let script = cached.inner().repaired.lock().unwrap().take();
    assert_eq!(cached.rebuild_from(TrustedState::default()).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_shows(&cached, &[1, 2, 3]);
    *cached.inner().repaired.lock().unwrap() = script;
    cached.rebuild_from(TrustedState::default()).unwrap();
    assert_shows(&cached, &[1, 3]);
}

/// The store below was replaced, and the mirror could not be reloaded from it. No batch is committed before
/// the reload, even if the sequence number is the same as before.
#[test]
fn c9_a_repaired_store_is_reloaded_before_the_next_commit() {
    for (seq, below_buffer) in [(3, false), (3, true), (4, false), (4, true)] {
        let cached = damaged_with(seq, CacheOptions::default(), below_buffer);
        cached.inner().fail_loads.store(true, SeqCst);
        assert_eq!(cached.rebuild_from(TrustedState::default()).unwrap_err().kind(), ErrorKind::Io);
        let change = batch(seq + 1, [added(&record(5, seq + 1))]);
        for attempt in [Cached::apply, Cached::commit] {
            let error = attempt(&cached, &change).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "it still cannot be read");
        }
        assert_eq!(cached.inner().last_seq().unwrap(), Seq::new(seq), "nothing is written");
        assert_shows(&cached, &[1, 2, 3]);
        cached.inner().fail_loads.store(false, SeqCst);
        cached.commit(&change).unwrap();
        cached.publish(&change);
        assert_shows(&cached, &[1, 3, 5]);
    }
}
