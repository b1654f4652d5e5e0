//! C8: a change that the store refuses for good is taken out, the rest goes on.

use std::time::Duration;

use shape_meta_core::{
    Handle, HealthState, MutateShapesExt, NotDurable, ReadShapes, ReadShapesExt, Refusal, StoreControl, Wait,
    conformance::{Naming, Side, key},
};

use crate::support::{PATIENT, add, below, during_a_flush, handles, manual, shape};

fn handle(text: &str) -> Handle {
    Handle::new(text).expect("valid")
}

#[test]
fn c8_the_rest_of_the_batch_and_all_later_ones_commit() {
    for naming in [Naming::Culprit, Naming::Nobody] {
        for bad in 0..7 {
            let (store, faults) = manual();
            let receipts: Vec<_> = (0..7).map(|at| add(&store, &format!("h{at}"), at)).collect();
            let bad_handle = format!("h{bad}");
            let mark = store.mark_snapshot_started(&bad_handle, Wait::No).expect("live");
            faults.refuse(&handle(&bad_handle), naming);
            store.flush_once().expect("isolated");

            for (at, receipt) in (0..).zip(&receipts) {
                assert_eq!(receipt.is_durable(), at != bad, "{naming:?} h{at}");
            }
            assert!(matches!(receipts[bad as usize].wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
            assert!(matches!(mark.wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
            assert!(!store.has_handle(&bad_handle).expect("read"), "taken out of the overlay");
            assert_eq!(store.handle_for(&key(bad)).expect("read"), None);
            assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));
            assert_eq!(handles(&store), handles(below(&store)));
            assert!(matches!(store.health().state, HealthState::Ready));

            faults.heal();
            add(&store, &bad_handle, bad);
            store.flush_once().expect("later ones commit");
            assert_eq!(store.counts().expect("read").total, 7);
        }
    }
}

#[test]
fn c8_one_transaction_suffices_if_the_store_names_the_culprit() {
    let (store, faults) = manual();
    for at in 0..50 {
        add(&store, &format!("h{at}"), at);
    }
    faults.refuse(&handle("h7"), Naming::Culprit);
    faults.refuse(&handle("h31"), Naming::Culprit);
    store.flush_once().expect("isolated");
    assert_eq!(faults.applied(), 1);
    assert_eq!(handles(below(&store)).len(), 48);
}

#[test]
fn c8_a_removal_that_is_refused_brings_the_shape_back_and_refuses_its_successors() {
    let (store, faults) = manual();
    add(&store, "old", 1);
    store.flush_once().expect("flush");
    let removed = store.remove("old", Wait::No).expect("live");
    let successor = add(&store, "new", 1);
    let other = add(&store, "other", 2);
    faults.refuse(&handle("old"), Naming::Culprit);
    store.flush_once().expect("isolated");
    assert!(matches!(removed.wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
    assert!(matches!(successor.wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
    assert!(other.is_durable());
    assert_eq!(handles(&store), ["old", "other"]);
    assert_eq!(store.handle_for(&key(1)).expect("read").as_deref(), Some("old"));
    assert_eq!(store.counts().expect("read").total, 2);
    assert_eq!(handles(&store), handles(below(&store)));
}

/// What was accepted while the batch was being written may rest on the change that is refused.
#[test]
fn c8_what_rests_on_a_refused_change_is_refused_with_it() {
    let (store, faults) = manual();
    for (text, number) in [("marked", 1), ("removed", 2), ("replaced", 3)] {
        add(&store, text, number);
        faults.refuse(&handle(text), Naming::Culprit);
    }
    let (mark, removal, replacement) = during_a_flush(&store, &faults, Side::Before, || {
        let mark = store.mark_snapshot_started("marked", Wait::No).expect("live");
        let removal = store.remove("removed", Wait::No).expect("live");
        store.remove("replaced", Wait::No).expect("live");
        let replacement = add(&store, "replaced", 4);
        (mark, removal, replacement)
    });
    assert!(matches!(mark.wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
    assert!(!store.has_handle("marked").expect("read"));
    assert!(!store.has_handle("removed").expect("read"));
    assert!(store.has_handle("replaced").expect("read"));
    assert_eq!(store.counts().expect("read").total, 1);
    faults.heal();
    store.flush_once().expect("flush");
    assert!(matches!(mark.wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
    removal.wait_durable(PATIENT).expect("there is nothing left to remove");
    replacement.wait_durable(PATIENT).expect("another shape");
    assert_eq!(handles(below(&store)), ["replaced"]);
    assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));
}

/// A shape whose removal was refused was removed by a reset after all, and yet what had its key since the reset was
/// taken out.
#[test]
fn c8_what_comes_after_a_reset_rests_on_nothing_that_was_refused() {
    let (store, faults) = manual();
    add(&store, "old", 1);
    store.flush_once().expect("flush");
    store.remove("old", Wait::No).expect("live");
    faults.refuse(&handle("old"), Naming::Culprit);
    let new = during_a_flush(&store, &faults, Side::Before, || {
        store.reset(Wait::No).expect("reset");
        add(&store, "new", 1)
    });
    assert_eq!(handles(&store), ["new"]);
    store.flush_once().expect("flush");
    assert!(new.is_durable());
    assert_eq!(handles(below(&store)), ["new"]);
}

/// A shape stays because its removal was refused. What came and went under its handle meanwhile hid it until the next
/// flush, and then it was there again, although the last thing that was told durable was a removal.
#[test]
fn c8_what_came_and_went_does_not_hide_a_shape_that_stays() {
    for added_again_before in [false, true] {
        let (store, faults) = manual();
        let relation = shape("old", 1).relations[0];
        add(&store, "old", 1);
        store.flush_once().expect("flush");
        store.remove("old", Wait::No).expect("live");
        if added_again_before {
            add(&store, "old", 1);
        }
        faults.refuse(&handle("old"), Naming::Culprit);
        let removed = during_a_flush(&store, &faults, Side::Before, || {
            if !added_again_before {
                add(&store, "old", 1);
            }
            store.remove("old", Wait::No).expect("live")
        });
        for _ in 0..2 {
            let told = removed.wait_durable(Duration::ZERO);
            assert!(matches!(told, Err(NotDurable::Rejected(_))), "it is not removed: {told:?}");
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

/// And what came and went with its key left the key free, so that it could be taken a second time.
#[test]
fn c8_a_key_is_not_free_while_a_shape_stays_that_has_it() {
    for added_before in [false, true] {
        let (store, faults) = manual();
        add(&store, "old", 1);
        store.flush_once().expect("flush");
        store.remove("old", Wait::No).expect("live");
        if added_before {
            add(&store, "new", 1);
        }
        faults.refuse(&handle("old"), Naming::Culprit);
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

/// A receipt speaks of what its caller relies on, and of nobody else's change.
#[test]
fn c8_whoever_found_a_shape_is_told_of_that_shape() {
    let (store, faults) = manual();
    add(&store, "good", 1);
    add(&store, "bad", 2);
    add(&store, "last", 3);
    let found_good = store.get_or_add(&shape("x", 1), Wait::No).expect("live").receipt;
    let found_bad = store.get_or_add(&shape("x", 2), Wait::No).expect("live").receipt;
    store.mark_snapshot_started("bad", Wait::No).expect("live");
    let again = store.mark_snapshot_started("bad", Wait::No).expect("live");
    faults.refuse(&handle("bad"), Naming::Culprit);
    faults.refuse(&handle("last"), Naming::Culprit);
    store.flush_once().expect("isolated");
    found_good.wait_durable(PATIENT).expect("on disk");
    assert!(matches!(found_bad.wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
    assert!(matches!(again.wait_durable(PATIENT), Err(NotDurable::Rejected(_))));
    store.flush(PATIENT).expect("what was refused is told to those who asked for it");
    let found = store.get_or_add(&shape("x", 1), Wait::No).expect("live").receipt;
    assert!(found.is_durable());
}

#[test]
fn c8_what_was_accepted_before_a_reset_is_not_taken_for_what_was_refused_after_it() {
    let (store, faults) = manual();
    let before: Vec<_> = (0..3).map(|at| add(&store, &format!("h{at}"), at)).collect();
    let reset = store.reset(Wait::No).expect("room");
    let after: Vec<_> = (3..6).map(|at| add(&store, &format!("h{at}"), at)).collect();
    faults.refuse(&handle("h4"), Naming::Culprit);
    store.flush_once().expect("isolated");
    let is_rejected = |receipt| matches!(receipt, Err(NotDurable::Rejected(_)));
    assert!(before.iter().chain([&reset]).all(|receipt| receipt.is_durable()));
    let rejected: Vec<_> =
        after.iter().map(|receipt| is_rejected(receipt.wait_durable(Duration::ZERO))).collect();
    assert_eq!(rejected, [false, true, false]);
}

/// What takes over the key of a shape that stays is taken back; that its handle was free for it stands. Once that
/// removal was taken back too: then two shapes had the key that it had freed.
#[test]
fn c8_a_removal_stands_though_what_was_added_under_its_handle_is_refused() {
    for (gone_again, in_one_flush) in [(false, false), (true, false), (false, true), (true, true)] {
        let (store, faults) = manual();
        let [of_stays, of_took] = [1, 2].map(|number| shape("any", number).relations);
        add(&store, "stays", 1);
        add(&store, "moves", 2);
        store.flush_once().expect("flush");
        store.remove("stays", Wait::No).expect("live");
        faults.refuse(&handle("stays"), Naming::Culprit);
        let take_over = || {
            let removed = store.remove("moves", Wait::No).expect("live");
            let took_key = add(&store, "took", 2);
            let came_and_went =
                gone_again.then(|| (add(&store, "moves", 3), store.remove("moves", Wait::No).expect("live")));
            (removed, took_key, came_and_went, add(&store, "moves", 1))
        };
        let (removed, took_key, came_and_went, moved) = if in_one_flush {
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
            assert_eq!(store.handles_for_relations(&of_stays).expect("read"), [handle("stays")]);
            assert_eq!(store.handles_for_relations(&of_took).expect("read"), [handle("took")]);
            assert_eq!(store.counts().expect("read").total, 2);
            store.flush_once().expect("flush");
        }
        assert!(removed.is_durable() && took_key.is_durable());
        assert!(came_and_went.is_none_or(|(came, went)| came.is_durable() && went.is_durable()));
        assert_eq!(handles(below(&store)), ["stays", "took"]);
        assert_eq!(store.pending().bytes, 0);
    }
}
