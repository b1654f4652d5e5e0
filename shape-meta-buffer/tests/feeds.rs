//! C15 under a buffer: rejected changes, failed flushes, repairs, and the catch-up.

use std::time::Duration;

use shape_meta_core::{
    ErrorKind, MutateShapesExt, ReadShapes, Seq, SnapshotState, StoreControl, Wait,
    conformance::{RejectedSeq, Side},
    feed::{Feed, FeedChange, FeedError, FeedEvent, FeedOptions, ShapeList},
};

use crate::support::{add, manual, shape};

fn changes(feed: &mut Feed) -> Vec<FeedChange> {
    std::iter::from_fn(|| feed.recv_timeout(Duration::ZERO).expect("the feed goes on")).collect()
}

/// Returns the corrected shapes, each with the state that it has now.
fn corrections(changes: &[FeedChange]) -> Vec<(String, u64, Option<SnapshotState>)> {
    let corrected = changes.iter().filter_map(|change| match &change.event {
        FeedEvent::Rejected { entry, state, .. } => {
            Some((entry.handle().to_string(), entry.created().get(), *state))
        }
        _ => None,
    });
    corrected.collect()
}

fn shapes(list: &ShapeList) -> Vec<(String, SnapshotState)> {
    list.iter().map(|(entry, state)| (entry.handle().to_string(), state)).collect()
}

#[test]
fn c15_a_rejected_removal_is_corrected_with_its_successors() {
    for naming in [RejectedSeq::Reported, RejectedSeq::Omitted] {
        let (store, faults) = manual();
        add(&store, "old", 1);
        store.mark_snapshot_started("old", Wait::No).expect("live");
        store.flush_once().expect("nothing fails");
        let mut visible = store.subscribe(&FeedOptions::visible()).expect("the store is open");
        let mut durable = store.subscribe(&FeedOptions::durable()).expect("the store is open");
        let mut list = ShapeList::of(&store).expect("memory does not fail");
        faults.reject_handle(&shape("old", 0).handle, naming);
        store.remove("old", Wait::No).expect("live");
        let successor = add(&store, "new", 1);
        add(&store, "other", 2);
        assert!(store.flush_once().is_ok());
        assert!(successor.wait_durable(Duration::ZERO).is_err());

        let given = changes(&mut visible);
        // The key is free before the shape is live again.
        let expected = [("new".to_owned(), 4, None), ("old".to_owned(), 1, Some(SnapshotState::Started))];
        assert_eq!(corrections(&given), expected);
        given.iter().for_each(|change| list.apply(change));
        assert_eq!(shapes(&list), shapes(&ShapeList::of(&store).expect("memory does not fail")));
        // Neither the removal nor the add of its successor has become durable.
        let given = changes(&mut durable);
        assert!(matches!(&given[0].event, FeedEvent::Added { entry, .. } if entry.created() == Seq::new(5)));
        assert_eq!(corrections(&given), expected);
        assert_eq!(given.len(), 3, "{given:?}");
    }
}

/// Once, the correction was skipped, and the list kept a shape that was gone.
#[test]
fn c15_a_resume_whose_own_flush_rejects_a_shape_lists_anew() {
    let (store, faults) = manual();
    faults.reject_handle(&shape("rejected", 0).handle, RejectedSeq::Reported);
    add(&store, "rejected", 1);
    let shown = store.last_seq().expect("memory does not fail");
    add(&store, "kept", 2);
    let resumed = store.subscribe(&FeedOptions::visible().after(shown));
    // Memory has no change log, which would be another reason.
    let is_rejected = |why: &str| why.contains("rejected");
    assert!(matches!(resumed, Err(FeedError::ListAnew { why }) if is_rejected(why)), "{resumed:?}");
}

/// Memory has corrections, so a subscriber resumes across them, each with what it has missed.
#[test]
fn c15_a_feed_resumes_across_a_rejection() {
    for naming in [RejectedSeq::Reported, RejectedSeq::Omitted] {
        let (store, faults) = manual();
        add(&store, "old", 1);
        store.flush_once().expect("nothing fails");
        let feed = store.subscribe(&FeedOptions::visible()).expect("the store is open");
        // No subscriber is left when the change is rejected.
        let before = feed.position();
        drop(feed);
        let list = ShapeList::of(&store).expect("memory does not fail");
        faults.reject_handle(&shape("old", 0).handle, naming);
        store.remove("old", Wait::No).expect("live");
        add(&store, "new", 1);
        add(&store, "other", 2);
        store.flush_once().expect("the rest is committed");
        let last = store.last_seq().expect("memory does not fail");
        for (after, missed) in [(before, 5), (before.next(), 4), (last, 2)] {
            let mut resumed =
                store.subscribe(&FeedOptions::visible().after(after)).expect("memory reaches back");
            let given = changes(&mut resumed);
            assert_eq!((given.len(), corrections(&given).len()), (missed, 2), "after {after}");
            let mut list = list.clone();
            given.iter().for_each(|change| list.apply(change));
            if after == before {
                assert_eq!(shapes(&list), shapes(&ShapeList::of(&store).expect("memory does not fail")));
            }
        }
    }
}

/// What was visible, and was rejected since, is not in the change log.
#[test]
fn c15_a_list_before_a_rejection_cannot_be_resumed() {
    let (store, faults) = manual();
    faults.reject_handle(&shape("rejected", 0).handle, RejectedSeq::Reported);
    add(&store, "rejected", 1);
    let shown = store.last_seq().expect("memory does not fail");
    store.flush_once().expect("the rest is committed");
    let outcome = store.subscribe(&FeedOptions::visible().after(shown));
    assert!(matches!(outcome, Err(FeedError::ListAnew { .. })), "{outcome:?}");
}

#[test]
fn c15_a_failing_flush_delays_durable_changes_alone() {
    let (store, faults) = manual();
    let mut visible = store.subscribe(&FeedOptions::visible()).expect("the store is open");
    let mut durable = store.subscribe(&FeedOptions::durable()).expect("the store is open");
    faults.fail_applies(2, ErrorKind::Busy, Side::After);
    add(&store, "a", 1);
    assert!(store.flush_once().is_err());
    add(&store, "b", 2);
    assert_eq!((changes(&mut visible).len(), changes(&mut durable).len()), (2, 0));
    assert!(store.flush_once().is_err());
    for (settled, given) in [(1, 1), (2, 1)] {
        store.flush_once().expect("the fault is over");
        assert_eq!((changes(&mut durable).len(), durable.position()), (given, Seq::new(settled)));
    }
    assert!(changes(&mut visible).is_empty());
}

/// The change log has what is committed, so a catch-up flushes, and fails with the flush.
#[test]
fn c15_a_catch_up_needs_a_flush_that_succeeds() {
    let (store, faults) = manual();
    faults.fail_applies(1, ErrorKind::StorageFull, Side::Before);
    add(&store, "a", 1);
    let outcome = store.subscribe(&FeedOptions::visible().after(Seq::ZERO));
    let is_busy = matches!(&outcome, Err(FeedError::Failed(error)) if error.kind() == ErrorKind::Busy);
    assert!(is_busy && outcome.as_ref().is_err_and(FeedError::is_retryable), "{outcome:?}");
    // Nothing of it is left behind.
    let feed = store.subscribe(&FeedOptions::visible()).expect("from now on needs no flush");
    assert_eq!(feed.position(), Seq::new(1));
}

#[test]
fn c15_a_repair_means_list_anew() {
    let (store, _) = manual();
    add(&store, "a", 1);
    let mut feed = store.subscribe(&FeedOptions::visible()).expect("the store is open");
    store.repair().expect("nothing fails");
    assert!(matches!(feed.recv(), Err(FeedError::ListAnew { .. })));
    let outcome = store.subscribe(&FeedOptions::visible().after(feed.position()));
    assert!(matches!(outcome, Err(FeedError::ListAnew { .. })), "a shape may be lost: {outcome:?}");
    assert!(store.subscribe(&FeedOptions::visible()).is_ok());
}

/// Found by random histories: a list has a shape that is removed before it is on disk. No batch has it, so
/// the change log does not name it.
#[test]
fn c15_a_list_with_a_cancelled_shape_cannot_be_resumed() {
    for resets in [false, true] {
        let (store, _) = manual();
        add(&store, "kept", 1);
        store.flush_once().expect("nothing fails");
        let shown = add(&store, "cancelled", 2).seq();
        let gone = if resets { store.reset(Wait::No) } else { store.remove("cancelled", Wait::No) };
        let gone = gone.expect("accepted").seq();
        let after = |seq| store.subscribe(&FeedOptions::visible().after(seq)).map(drop);
        let list_anew = |outcome| match outcome {
            Err(FeedError::ListAnew { why }) => why,
            other => panic!("{other:?}"),
        };
        assert!(list_anew(after(shown)).contains("removed or marked before"));
        // Memory has no change log.
        assert!(list_anew(after(Seq::new(1))).contains("change log"));
        assert!(after(gone).is_ok());
    }
}

/// Once, another subscriber that came after the correction made the older list look complete.
#[test]
fn c15_a_later_subscriber_hides_no_correction() {
    for (options, repairs) in
        [FeedOptions::visible(), FeedOptions::durable()].into_iter().flat_map(|o| [(o, false), (o, true)])
    {
        let (store, faults) = manual();
        faults.reject_handle(&shape("rejected", 0).handle, RejectedSeq::Reported);
        add(&store, "rejected", 1);
        let shown = store.last_seq().expect("memory does not fail");
        if repairs {
            store.repair().expect("the rest is committed");
        } else {
            store.flush_once().expect("the rest is committed");
        }
        let mut other = store.subscribe(&options).expect("the store is open");
        let outcome = store.subscribe(&options.after(shown));
        assert!(matches!(outcome, Err(FeedError::ListAnew { .. })), "{options:?}, {repairs}: {outcome:?}");
        let later = add(&store, "later", 2).seq();
        store.flush_once().expect("nothing fails");
        assert_eq!((changes(&mut other).len(), other.position()), (1, later));
        assert!(store.subscribe(&options.after(later)).is_ok_and(|feed| feed.is_complete()));
    }
}
