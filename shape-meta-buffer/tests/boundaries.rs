//! Histories that cross the boundary of a flush: each broke a system of this kind.

use std::{sync::Arc, thread};

use shape_meta_buffer::BufferOptions;
use shape_meta_core::{
    MutateShapesExt, ReadShapes, ReadShapesExt, Refusal, Relation, SnapshotState, StoreControl, Wait,
    conformance::{self, DeferredPublishStore, FailingStore, Faults, RejectedSeq, Side, key},
};

use crate::support::{add, below, buffered, during_a_flush, handles, manual, shape};

/// A shape is removed and created again during a flush: dropping the flushed one must keep the key of the new
/// one.
#[test]
fn c3_a_flush_never_deletes_a_newer_shape() {
    let (store, faults) = manual();
    add(&store, "h1", 1);
    during_a_flush(&store, &faults, Side::After, || {
        // h1 is committed, and not dropped from the overlay yet.
        store.remove("h1", Wait::No).expect("live");
        add(&store, "h2", 1);
    });
    assert_eq!(store.handle_for(&key(1)).expect("read").as_deref(), Some("h2"));
    let refused = store.add(shape("h3", 1), Wait::No).expect_err("the key is live");
    assert!(matches!(refused.refusal(), Some(Refusal::DuplicateKey { held_by, .. }) if held_by == "h2"));
    store.flush_once().expect("flush");
    assert_eq!(store.handle_for(&key(1)).expect("read").as_deref(), Some("h2"));
    assert_eq!(handles(below(&store)), ["h2"]);
}

/// A pending removal must not hide a shape that was added again under the same handle.
#[test]
fn c3_a_pending_removal_does_not_hide_the_new_shape() {
    let (store, _) = manual();
    add(&store, "h", 1);
    store.flush_once().expect("flush");
    store.remove("h", Wait::No).expect("live");
    add(&store, "h", 2);
    assert!(store.has_handle("h").expect("read"));
    assert_eq!(store.handle_for(&key(2)).expect("read").as_deref(), Some("h"));
    assert_eq!(store.handle_for(&key(1)).expect("read"), None);
    store.flush_once().expect("flush");
    assert_eq!(below(&store).handle_for(&key(2)).expect("read").as_deref(), Some("h"));
}

#[test]
fn an_add_and_a_remove_in_one_flush_cost_no_row() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    let receipt = store.remove("h", Wait::No).expect("live");
    let flushed = store.flush_once().expect("flush").expect("two mutations were pending");
    assert_eq!((flushed.mutations, flushed.changes), (2, 0));
    assert_eq!(faults.changes(), 0);
    assert!(receipt.is_durable());
    assert_eq!(store.pending().shapes, 0);
}

#[test]
fn a_mark_in_the_flush_of_its_add_costs_no_change() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    store.mark_snapshot_started("h", Wait::No).expect("live");
    store.mark_snapshot_complete("h", Wait::No).expect("live");
    store.flush_once().expect("flush");
    assert_eq!(faults.changes(), 1);
    assert_eq!(below(&store).snapshot_state("h").expect("read"), Some(SnapshotState::Complete));
}

/// C6: a mutation that is accepted during a commit is not part of it.
#[test]
fn c6_a_mark_is_not_part_of_the_batch_before_it() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    during_a_flush(&store, &faults, Side::Before, || {
        store.mark_snapshot_complete("h", Wait::No).expect("live");
        assert_eq!(store.snapshot_state("h").expect("read"), Some(SnapshotState::Complete));
    });
    assert_eq!(below(&store).snapshot_state("h").expect("read"), Some(SnapshotState::Pending));
    assert_eq!(store.snapshot_state("h").expect("read"), Some(SnapshotState::Complete));
    store.flush_once().expect("flush");
    assert_eq!(below(&store).snapshot_state("h").expect("read"), Some(SnapshotState::Complete));
}

/// I2: between commit and drop a shape is in the store below and in the overlay, and counts once.
#[test]
fn i2_a_published_shape_counts_once_until_it_is_dropped() {
    let (store, faults) = manual();
    let relation = shape("h", 1).relations[0];
    add(&store, "h", 1);
    during_a_flush(&store, &faults, Side::After, || {
        assert_eq!(handles(&store), ["h"]);
        assert_eq!(store.handles_for_relations(&[relation]).expect("read").len(), 1);
        assert_eq!(store.counts().expect("read").total, 1);
        store.remove("h", Wait::No).expect("live");
        assert_eq!(handles(&store), [""; 0]);
        assert!(store.handles_for_relations(&[relation]).expect("read").is_empty());
    });
    assert!(store.handles_for_relations(&[relation]).expect("read").is_empty());
}

/// I3: a scan that overlaps with a flush shows one moment.
#[test]
fn i3_a_scan_and_a_flush_do_not_mix() {
    let (store, faults) = manual();
    add(&store, "h1", 1);
    let reading = faults.block_read(Side::Before);
    thread::scope(|scope| {
        let scan = scope.spawn(|| handles(&store));
        reading.wait_until_blocked();
        // The scan has its view of the overlay, with h1 in it, and is about to read below.
        store.remove("h1", Wait::No).expect("live");
        add(&store, "h2", 2);
        store.flush_once().expect("flush");
        reading.release();
        let seen = scan.join().expect("no panic");
        assert!(seen == ["h1"] || seen == ["h2"], "never both: {seen:?}");
    });
}

/// A reset hides everything before it, including the batch that is being committed.
#[test]
fn a_reset_hides_the_batch_in_progress() {
    let (store, faults) = manual();
    add(&store, "h1", 1);
    during_a_flush(&store, &faults, Side::After, || {
        store.reset(Wait::No).expect("reset");
        add(&store, "h2", 1);
        assert_eq!(handles(&store), ["h2"]);
        assert_eq!(store.counts().expect("read").total, 1);
    });
    assert_eq!(handles(&store), ["h2"]);
    assert_eq!(store.pending().net, 0, "one shape is removed, one added");
    store.flush_once().expect("flush");
    assert_eq!(handles(below(&store)), ["h2"]);
    assert!(store.handles_for_relations(&[Relation::new(u32::MAX)]).expect("read").is_empty());
}

/// A mutation that read the store below before a generation was dropped reads it again.
#[test]
fn c2_validation_starts_again_if_a_flush_ends_meanwhile() {
    let (store, faults) = manual();
    add(&store, "h1", 1);
    let reading = faults.block_read(Side::After);
    thread::scope(|scope| {
        // It finds nothing below, since h1 is not committed yet, and is blocked with that answer.
        let adding = scope.spawn(|| store.add(shape("h1", 9), Wait::No));
        reading.wait_until_blocked();
        store.flush_once().expect("flush");
        reading.release();
        let refused = adding.join().expect("no panic").expect_err("h1 is live");
        assert!(matches!(refused.refusal(), Some(Refusal::DuplicateHandle { .. })));
    });
    assert_eq!(store.counts().expect("read").total, 1);
}

/// A large flush is published while the next one is committed, so that one is written although the publish
/// fails. Otherwise the next commit waits, and so it does if something was rejected.
#[test]
fn only_a_large_flush_is_published_during_the_next_commit() {
    for (changes, rejected, is_joined) in [(1, 0, false), (2, 0, true), (3, 0, true), (4, 1, false)] {
        let faults = Faults::default();
        let inner = FailingStore::with(Arc::new(DeferredPublishStore::default()), faults.clone());
        let store = buffered(
            inner,
            BufferOptions::default().background_flush(false).concurrent_publish_min_changes(2),
        );
        faults.panic_publishes(2, Side::Before);
        for number in 1..=changes {
            store.add(conformance::shape(number), Wait::No).expect("below the bound");
        }
        for number in 1..=rejected {
            faults.reject_handle(&conformance::shape(number).handle, RejectedSeq::Reported);
        }
        store.flush_once().expect_err("the publish panics");
        let next = store.add(conformance::shape(9), Wait::No).expect("below the bound");
        store.flush_once().expect_err("the publish panics again");
        let committed = changes - rejected;
        assert_eq!(faults.changes() - committed, u64::from(is_joined), "after a flush of {changes}");
        assert!(!next.is_durable(), "flushes settle in order");
        while store.flush_once().expect("no fault is left").is_some() {}
        assert!(next.is_durable());
        let published = store.inner().counts().expect("read").total;
        assert_eq!((faults.changes(), published), (committed + 1, committed + 1), "each change once");
    }
}
