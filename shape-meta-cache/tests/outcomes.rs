//! A store below that fails and may still have committed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::SeqCst},
};

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Change, ErrorKind, MemoryStore, ReadShapes, ReadShapesExt, Seq, ShapeStore, SnapshotState, Timestamp,
    conformance::{FailingStore, Side, handle, store::added},
};

use crate::{
    scripted::Scripted,
    support::{batch, cached, record},
};

fn over_failing() -> Cached<FailingStore<MemoryStore>> {
    cached(FailingStore::new(MemoryStore::new()), CacheOptions::default())
}

/// The next apply commits but returns an error, and the next `failed_reads` reads of the store fail.
fn lose_the_result(cached: &Cached<FailingStore<MemoryStore>>, failed_reads: usize) {
    let faults = cached.inner().faults();
    faults.fail_applies(1, ErrorKind::Io, Side::After);
    faults.fail_reads(failed_reads, ErrorKind::Io);
}

#[test]
fn a_committed_batch_is_shown_though_the_store_failed() {
    let cached = over_failing();
    let change = batch(1, [added(&record(1, 1))]);
    lose_the_result(&cached, 0);
    assert_eq!(cached.apply(&change).unwrap_err().kind(), ErrorKind::Io);
    assert!(cached.has_handle(&handle(1)).unwrap());
    assert_eq!(cached.last_seq().unwrap(), Seq::new(1));
    cached.apply(&change).unwrap();
    assert_eq!(cached.counts().unwrap().total, 1);
}

#[test]
fn i2_an_uncommitted_batch_is_not_shown() {
    let cached = over_failing();
    let change = batch(1, [added(&record(1, 1))]);
    cached.inner().faults().fail_applies(1, ErrorKind::StorageFull, Side::Before);
    assert_eq!(cached.apply(&change).unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(!cached.has_handle(&handle(1)).unwrap());
    cached.apply(&change).unwrap();
    assert!(cached.has_handle(&handle(1)).unwrap());
}

#[test]
fn c9_reads_continue_and_a_retry_resolves_an_unknown_outcome() {
    let cached = over_failing();
    cached.apply(&batch(1, [added(&record(1, 1))])).unwrap();
    let change = batch(2, [added(&record(2, 2))]);
    lose_the_result(&cached, 2);
    assert!(cached.apply(&change).is_err());
    assert!(cached.apply(&change).is_err(), "the last sequence number of the store still cannot be read");
    assert!(cached.has_handle(&handle(1)).unwrap());
    assert_eq!(cached.last_seq().unwrap(), Seq::new(1));

    assert_eq!(cached.apply(&change).unwrap_err().kind(), ErrorKind::Interrupted);
    cached.apply(&change).unwrap();
    assert!(cached.has_handle(&handle(2)).unwrap());
    assert_eq!(cached.counts().unwrap().total, 2);
}

#[test]
fn c9_a_batch_is_not_confused_with_another_of_the_same_seq() {
    let cached = over_failing();
    lose_the_result(&cached, 1);
    assert!(cached.apply(&batch(1, [added(&record(1, 1))])).is_err());

    // A direct store reads the last sequence number from the mirror. The next one is already taken on disk.
    let other = cached.last_seq().unwrap().next().get();
    assert!(cached.apply(&batch(other, [added(&record(2, other))])).is_err(), "it must not count as applied");
    let other = cached.last_seq().unwrap().next().get();
    cached.apply(&batch(other, [added(&record(2, other))])).unwrap();
    assert!(cached.has_handle(&handle(1)).unwrap() && cached.has_handle(&handle(2)).unwrap());
}

#[test]
fn c9_a_panic_of_the_store_below_is_an_unknown_outcome() {
    for (side, committed) in [(Side::Before, false), (Side::After, true)] {
        let cached = over_failing();
        cached.inner().faults().panic_applies(1, side);
        let change = batch(1, [added(&record(1, 1))]);
        assert!(catch_unwind(AssertUnwindSafe(|| cached.apply(&change))).is_err());
        assert!(!cached.has_handle(&handle(1)).unwrap(), "the outcome is unknown");
        assert_eq!(cached.scan().unwrap().count(), usize::from(committed), "no reader waits forever");
        assert_eq!(cached.apply(&change).is_err(), committed);
        cached.apply(&change).unwrap();
        assert!(cached.has_handle(&handle(1)).unwrap());
        assert_eq!(cached.counts().unwrap().total, 1);
    }
}

/// A reload creates new entries. For a batch of unknown outcome that was committed, the mirror must use the
/// entries of the layer above, in which reads are recorded.
#[test]
fn c9_a_batch_found_committed_keeps_the_entries_of_the_layer_above() {
    let inner = FailingStore::new(Arc::new(MemoryStore::new()));
    let cached = cached(inner, CacheOptions::default());
    let own = record(1, 1);
    let add = Change::Add { record: Arc::clone(&own), state: SnapshotState::Complete };
    let change = batch(1, [add]);
    cached.inner().faults().fail_applies(1, ErrorKind::Io, Side::After);
    cached.inner().faults().fail_reads(1, ErrorKind::Io);
    cached.apply(&change).unwrap_err();
    own.entry.touch(Timestamp::from_micros(9));
    assert!(cached.inner().inner().reopen(Timestamp::from_micros(5)).is_empty());
    assert!(!Arc::ptr_eq(&cached.inner().entry(&handle(1)).unwrap().unwrap(), &own.entry));

    assert_eq!(cached.apply(&change).unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(Arc::ptr_eq(&cached.entry(&handle(1)).unwrap().unwrap(), &own.entry));
    let metadata = cached.metadata(&handle(1)).unwrap().unwrap();
    assert_eq!(metadata.state, SnapshotState::Complete);
    assert_eq!(metadata.last_read, Some(Timestamp::from_micros(9)));
}

#[test]
fn an_uncommitted_batch_causes_no_reload() {
    let cached = cached(FailingStore::new(Scripted::default()), CacheOptions::default());
    cached.inner().faults().panic_applies(1, Side::Before);
    let change = batch(1, [added(&record(1, 1))]);
    assert!(catch_unwind(AssertUnwindSafe(|| cached.apply(&change))).is_err());
    cached.inner().inner().fail_loads.store(true, SeqCst);
    cached.apply(&change).unwrap();
    assert!(cached.has_handle(&handle(1)).unwrap());
}
