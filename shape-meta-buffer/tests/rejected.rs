//! C8: a change that the store rejects for good is isolated, and the rest is committed.

use std::{thread, time::Duration};

use shape_meta_core::{
    AwaitShapes, AwaitShapesExt, ErrorKind, Handle, HealthState, Milestone, MutateShapesExt, NotDurable,
    NotReached, ReadShapes, ReadShapesExt, Refusal, SnapshotState, StoreControl, Wait,
    conformance::{RejectedSeq, Side, key},
};

use crate::support::{LONG_TIMEOUT, add, below, during_a_flush, handles, manual, shape};

fn handle(text: &str) -> Handle {
    Handle::new(text).expect("valid")
}

#[test]
fn c8_the_rest_of_the_batch_and_later_ones_commit() {
    for naming in [RejectedSeq::Reported, RejectedSeq::Omitted] {
        for bad in 0..7 {
            let (store, faults) = manual();
            let receipts: Vec<_> = (0..7).map(|at| add(&store, &format!("h{at}"), at)).collect();
            let bad_handle = format!("h{bad}");
            let mark = store.mark_snapshot_started(&bad_handle, Wait::No).expect("live");
            faults.reject_handle(&handle(&bad_handle), naming);
            store.flush_once().expect("isolated");

            for (at, receipt) in (0..).zip(&receipts) {
                assert_eq!(receipt.is_durable(), at != bad, "{naming:?} h{at}");
            }
            assert!(matches!(
                receipts[bad as usize].wait_durable(LONG_TIMEOUT),
                Err(NotDurable::Rejected(_))
            ));
            assert!(matches!(mark.wait_durable(LONG_TIMEOUT), Err(NotDurable::Rejected(_))));
            assert!(!store.has_handle(&bad_handle).expect("read"), "removed from the overlay");
            assert_eq!(store.handle_for(&key(bad)).expect("read"), None);
            assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));
            assert_eq!(handles(&store), handles(below(&store)));
            assert!(matches!(store.health().state, HealthState::Ready));

            faults.clear();
            add(&store, &bad_handle, bad);
            store.flush_once().expect("later ones commit");
            assert_eq!(store.counts().expect("read").total, 7);
        }
    }
}

#[test]
fn c8_a_named_rejection_costs_no_further_transaction() {
    let (store, faults) = manual();
    for at in 0..50 {
        add(&store, &format!("h{at}"), at);
    }
    faults.reject_handle(&handle("h7"), RejectedSeq::Reported);
    faults.reject_handle(&handle("h31"), RejectedSeq::Reported);
    store.flush_once().expect("isolated");
    assert_eq!(faults.applied(), 1);
    assert_eq!(handles(below(&store)).len(), 48);
}

#[test]
fn c8_a_rejected_removal_restores_the_shape() {
    let (store, faults) = manual();
    add(&store, "old", 1);
    store.flush_once().expect("flush");
    let removed = store.remove("old", Wait::No).expect("live");
    let successor = add(&store, "new", 1);
    let other = add(&store, "other", 2);
    faults.reject_handle(&handle("old"), RejectedSeq::Reported);
    store.flush_once().expect("isolated");
    assert!(matches!(removed.wait_durable(LONG_TIMEOUT), Err(NotDurable::Rejected(_))));
    assert!(matches!(successor.wait_durable(LONG_TIMEOUT), Err(NotDurable::Rejected(_))));
    assert!(other.is_durable());
    assert_eq!(handles(&store), ["old", "other"]);
    assert_eq!(store.handle_for(&key(1)).expect("read").as_deref(), Some("old"));
    assert_eq!(store.counts().expect("read").total, 2);
    assert_eq!(handles(&store), handles(below(&store)));
}

/// Once, a part of a flush left shapes in the store that were newer than its sequence number.
#[test]
fn c8_no_part_of_a_flush_leaves_newer_shapes() {
    for (bad, parts) in (0..8).flat_map(|bad| (0..10).map(move |parts| (bad, parts))) {
        let (store, faults) = manual();
        for at in 0..4 {
            add(&store, &format!("old{at}"), at);
        }
        store.flush_once().expect("flush");
        for at in 0..4 {
            store.mark_snapshot_started(&format!("old{at}"), Wait::No).expect("live");
        }
        for at in 4..12 {
            add(&store, &format!("h{}", at - 4), at);
        }
        faults.reject_handle(&handle(&format!("h{bad}")), RejectedSeq::Omitted);
        faults.allow_applies(parts);
        faults.fail_applies(1, ErrorKind::Io, Side::Before);
        let _ = store.flush_once();
        let below = below(&store);
        let last_seq = below.last_seq().expect("read");
        for shape in below.list().expect("read") {
            let created = shape.metadata.created;
            assert!(created <= last_seq, "h{bad}, {parts} parts: {created:?} is after {last_seq:?}");
        }
        store.flush_once().expect("the rest");
        assert_eq!(below.counts().expect("read").total, 11);
        assert_eq!(handles(&store), handles(below));
    }
}

/// A change that was accepted while the batch was being committed may rest on the rejected one.
#[test]
fn c8_changes_that_rest_on_a_rejected_change_are_rejected() {
    let (store, faults) = manual();
    for (text, number) in [("marked", 1), ("removed", 2), ("replaced", 3)] {
        add(&store, text, number);
        faults.reject_handle(&handle(text), RejectedSeq::Reported);
    }
    let (mark, removal, replacement) = during_a_flush(&store, &faults, Side::Before, || {
        let mark = store.mark_snapshot_started("marked", Wait::No).expect("live");
        let removal = store.remove("removed", Wait::No).expect("live");
        store.remove("replaced", Wait::No).expect("live");
        let replacement = add(&store, "replaced", 4);
        (mark, removal, replacement)
    });
    assert!(matches!(mark.wait_durable(LONG_TIMEOUT), Err(NotDurable::Rejected(_))));
    assert!(!store.has_handle("marked").expect("read"));
    assert!(!store.has_handle("removed").expect("read"));
    assert!(store.has_handle("replaced").expect("read"));
    assert_eq!(store.counts().expect("read").total, 1);
    faults.clear();
    store.flush_once().expect("flush");
    assert!(matches!(mark.wait_durable(LONG_TIMEOUT), Err(NotDurable::Rejected(_))));
    removal.wait_durable(LONG_TIMEOUT).expect("there is nothing to remove");
    replacement.wait_durable(LONG_TIMEOUT).expect("another shape");
    assert_eq!(handles(below(&store)), ["replaced"]);
    assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));
}

/// A reset removes a shape whose removal was rejected. Once, the shape that took its key after the reset was
/// lost.
#[test]
fn c8_changes_after_a_reset_rest_on_no_rejected_change() {
    let (store, faults) = manual();
    add(&store, "old", 1);
    store.flush_once().expect("flush");
    store.remove("old", Wait::No).expect("live");
    faults.reject_handle(&handle("old"), RejectedSeq::Reported);
    let new = during_a_flush(&store, &faults, Side::Before, || {
        store.reset(Wait::No).expect("reset");
        add(&store, "new", 1)
    });
    assert_eq!(handles(&store), ["new"]);
    store.flush_once().expect("flush");
    assert!(new.is_durable());
    assert_eq!(handles(below(&store)), ["new"]);
}

/// The removal of a shape is rejected. Once, a shape that was added and removed under its handle meanwhile
/// hid it until the next flush; then it reappeared, although a removal had been confirmed as durable.
#[test]
fn c8_a_tombstone_does_not_hide_a_shape_that_is_not_removed() {
    for added_again_before in [false, true] {
        let (store, faults) = manual();
        let relation = shape("old", 1).relations[0];
        add(&store, "old", 1);
        store.flush_once().expect("flush");
        store.remove("old", Wait::No).expect("live");
        if added_again_before {
            add(&store, "old", 1);
        }
        faults.reject_handle(&handle("old"), RejectedSeq::Reported);
        let removed = during_a_flush(&store, &faults, Side::Before, || {
            if !added_again_before {
                add(&store, "old", 1);
            }
            store.remove("old", Wait::No).expect("live")
        });
        for _ in 0..2 {
            let outcome = removed.wait_durable(Duration::ZERO);
            assert!(matches!(outcome, Err(NotDurable::Rejected(_))), "it is not removed: {outcome:?}");
            assert_eq!(handles(&store), ["old"]);
            assert!(store.has_handle("old").expect("read"));
            assert_eq!(store.handle_for(&key(1)).expect("read").as_deref(), Some("old"));
            assert_eq!(store.handles_for_relations(&[relation]).expect("read").len(), 1);
            assert_eq!(store.counts().expect("read").total, 1);
            store.flush_once().expect("flush");
        }
        assert_eq!(handles(below(&store)), ["old"]);
    }
}

/// The same with the key: once, it was left free and could be taken a second time.
#[test]
fn c8_a_key_is_not_free_while_its_shape_is_not_removed() {
    for added_before in [false, true] {
        let (store, faults) = manual();
        add(&store, "old", 1);
        store.flush_once().expect("flush");
        store.remove("old", Wait::No).expect("live");
        if added_before {
            add(&store, "new", 1);
        }
        faults.reject_handle(&handle("old"), RejectedSeq::Reported);
        during_a_flush(&store, &faults, Side::Before, || {
            if !added_before {
                add(&store, "new", 1);
            }
            store.remove("new", Wait::No).expect("live");
        });
        assert_eq!(store.handle_for(&key(1)).expect("read").as_deref(), Some("old"));
        let refused = store.add(shape("third", 1), Wait::No).expect_err("the key is live");
        assert!(matches!(refused.refusal(), Some(Refusal::DuplicateKey { held_by, .. }) if held_by == "old"));
        store.flush_once().expect("flush");
        assert_eq!(handles(below(&store)), ["old"]);
        assert_eq!(store.counts().expect("read").total, 1);
    }
}

/// A receipt reports the rejection of the change that its caller relies on, and no other.
#[test]
fn c8_the_receipt_of_a_found_shape_reports_that_shape() {
    let (store, faults) = manual();
    add(&store, "good", 1);
    add(&store, "bad", 2);
    add(&store, "last", 3);
    let found_good = store.get_or_add(&shape("x", 1), Wait::No).expect("live").receipt;
    let found_bad = store.get_or_add(&shape("x", 2), Wait::No).expect("live").receipt;
    store.mark_snapshot_started("bad", Wait::No).expect("live");
    let again = store.mark_snapshot_started("bad", Wait::No).expect("live");
    faults.reject_handle(&handle("bad"), RejectedSeq::Reported);
    faults.reject_handle(&handle("last"), RejectedSeq::Reported);
    store.flush_once().expect("isolated");
    found_good.wait_durable(LONG_TIMEOUT).expect("on disk");
    assert!(matches!(found_bad.wait_durable(LONG_TIMEOUT), Err(NotDurable::Rejected(_))));
    assert!(matches!(again.wait_durable(LONG_TIMEOUT), Err(NotDurable::Rejected(_))));
    store.flush(LONG_TIMEOUT).expect("rejections are reported on their own receipts");
    let found = store.get_or_add(&shape("x", 1), Wait::No).expect("live").receipt;
    assert!(found.is_durable());
}

#[test]
fn c8_a_rejection_after_a_reset_is_not_reported_before_it() {
    let (store, faults) = manual();
    let before: Vec<_> = (0..3).map(|at| add(&store, &format!("h{at}"), at)).collect();
    let reset = store.reset(Wait::No).expect("below the bound");
    let after: Vec<_> = (3..6).map(|at| add(&store, &format!("h{at}"), at)).collect();
    faults.reject_handle(&handle("h4"), RejectedSeq::Reported);
    store.flush_once().expect("isolated");
    let is_rejected = |receipt| matches!(receipt, Err(NotDurable::Rejected(_)));
    assert!(before.iter().chain([&reset]).all(|receipt| receipt.is_durable()));
    let rejected: Vec<_> =
        after.iter().map(|receipt| is_rejected(receipt.wait_durable(Duration::ZERO))).collect();
    assert_eq!(rejected, [false, true, false]);
}

/// The add that takes over the key of a shape is rejected with the removal of that shape; the removal that
/// freed its handle stands. Once, that removal was revoked too, and two shapes had the key that it had freed.
#[test]
fn c8_a_removal_stands_although_the_add_after_it_is_rejected() {
    for (is_reused, in_one_flush) in [(false, false), (true, false), (false, true), (true, true)] {
        let (store, faults) = manual();
        let [relations_of_stays, relations_of_took] = [1, 2].map(|number| shape("any", number).relations);
        add(&store, "stays", 1);
        add(&store, "moves", 2);
        store.flush_once().expect("flush");
        store.remove("stays", Wait::No).expect("live");
        faults.reject_handle(&handle("stays"), RejectedSeq::Reported);
        let take_over = || {
            let removed = store.remove("moves", Wait::No).expect("live");
            let took_key = add(&store, "took", 2);
            let cancelled =
                is_reused.then(|| (add(&store, "moves", 3), store.remove("moves", Wait::No).expect("live")));
            (removed, took_key, cancelled, add(&store, "moves", 1))
        };
        let (removed, took_key, cancelled, moved) = if in_one_flush {
            let taken = take_over();
            store.flush_once().expect("isolated");
            taken
        } else {
            during_a_flush(&store, &faults, Side::Before, take_over)
        };
        for _ in 0..2 {
            assert!(matches!(moved.wait_durable(Duration::ZERO), Err(NotDurable::Rejected(_))));
            assert_eq!(handles(&store), ["stays", "took"]);
            for (number, held_by) in [(1, Some("stays")), (2, Some("took")), (3, None)] {
                assert_eq!(store.handle_for(&key(number)).expect("read").as_deref(), held_by);
            }
            assert_eq!(store.handles_for_relations(&relations_of_stays).expect("read"), [handle("stays")]);
            assert_eq!(store.handles_for_relations(&relations_of_took).expect("read"), [handle("took")]);
            assert_eq!(store.counts().expect("read").total, 2);
            store.flush_once().expect("flush");
        }
        assert!(removed.is_durable() && took_key.is_durable());
        assert!(cancelled.is_none_or(|(added, removed)| added.is_durable() && removed.is_durable()));
        assert_eq!(handles(below(&store)), ["stays", "took"]);
        assert_eq!(store.pending().bytes, 0);
    }
}

/// Once, the wait succeeded, and the disk had the state before.
#[test]
fn c14_a_wait_for_durability_names_a_rejected_mark() {
    let (store, faults) = manual();
    add(&store, "marked", 1);
    store.flush_once().expect("nothing fails");
    store.mark_snapshot_started("marked", Wait::No).expect("live");
    faults.reject_handle(&handle("marked"), RejectedSeq::Reported);
    let outcome = thread::scope(|scope| {
        let waiting = scope.spawn(|| store.wait_for_timeout("marked", Milestone::Durable, LONG_TIMEOUT));
        while store.shape_waits().is_empty() {
            thread::yield_now();
        }
        store.flush_once().expect("the rest is committed");
        waiting.join().expect("no panic")
    });
    assert_eq!(store.snapshot_state("marked").expect("read"), Some(SnapshotState::Pending));
    assert!(matches!(outcome, Err(NotReached::NotDurable(NotDurable::Rejected(_)))), "{outcome:?}");
    store.wait_for_timeout("marked", Milestone::Durable, LONG_TIMEOUT).expect("this state is durable");
}
