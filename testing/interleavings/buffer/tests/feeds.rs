//! Feeds: whatever runs next to a subscription, a feed gives every change once, in order.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    MutateShapesExt, ReadShapes, Seq, SnapshotState, StoreControl, Wait,
    conformance::RejectedSeq,
    feed::{Feed, FeedError, FeedEvent, FeedOptions, ShapeList},
};
use shuttle::thread;

use crate::{
    explore::explore,
    support::{Store, add, choose, listed, manual, shape},
};

/// A subscriber, with the list that it keeps by its feed.
struct Follower {
    feed: Feed,
    list: ShapeList,
    latest: Seq,
}

impl Follower {
    fn new(store: &Store, options: &FeedOptions) -> Self {
        let feed = store.subscribe(options).expect("the store is open");
        let list = ShapeList::of(store).expect("memory does not fail");
        Self { latest: feed.position(), feed, list }
    }

    /// Applies what the feed has, and returns why it has ended, if it has.
    fn follow(&mut self) -> Option<FeedError> {
        loop {
            match self.feed.recv_timeout(Duration::ZERO) {
                Ok(Some(change)) => {
                    let repeats = matches!(change.event, FeedEvent::Rejected { .. });
                    let is_next = change.seq > self.latest || repeats && change.seq == self.latest;
                    assert!(is_next, "C15: {change:?} after {}", self.latest);
                    self.latest = change.seq;
                    self.list.apply(&change);
                }
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    fn shapes(&self) -> Vec<(String, Seq, SnapshotState)> {
        let shapes = self.list.iter();
        shapes.map(|(entry, state)| (entry.handle().to_string(), entry.created(), state)).collect()
    }
}

/// Three changes of a shape of this caller.
fn mutate(store: &Store, caller: u64) {
    let handle = caller.to_string();
    add(store, &handle, caller);
    store.mark_snapshot_started(&handle, Wait::No).expect("live");
    if caller.is_multiple_of(2) {
        store.remove(&handle, Wait::No).expect("live");
    }
}

#[test]
fn c15_a_subscription_during_changes_misses_none() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "before", 9);
        let store = Arc::new(store);
        let mutating: Vec<_> = (0..2)
            .map(|caller| {
                let store = Arc::clone(&store);
                thread::spawn(move || mutate(&store, caller))
            })
            .collect();
        let flushing = thread::spawn({
            let store = Arc::clone(&store);
            move || drop(store.flush_once())
        });
        let options = [FeedOptions::visible(), FeedOptions::durable()];
        let mut followers = options.map(|options| Follower::new(&store, &options));
        for follower in &mut followers {
            assert!(follower.follow().is_none());
        }
        for thread in mutating {
            thread.join().expect("no panic");
        }
        flushing.join().expect("no panic");
        let [visible, durable] = &mut followers;
        assert!(visible.follow().is_none());
        assert_eq!(visible.shapes(), listed(&*store), "C15: what is visible");
        while store.flush_once().expect("nothing fails").is_some() {}
        assert!(durable.follow().is_none());
        assert_eq!(durable.shapes(), listed(&*store), "C15: what is durable");
    });
}

/// A change is in the feed when its call returns, whichever thread delivers it.
#[test]
fn c15_a_change_is_delivered_when_its_call_returns() {
    explore(|| {
        let (store, _, _) = manual();
        let store = Arc::new(store);
        let callers: Vec<_> = (0..2)
            .map(|caller| {
                let store = Arc::clone(&store);
                thread::spawn(move || {
                    let mut feed = store.subscribe(&FeedOptions::visible()).expect("the store is open");
                    let seq = add(&store, &caller.to_string(), caller).seq();
                    while feed.position() < seq {
                        let change = feed.recv_timeout(Duration::ZERO).expect("the feed goes on");
                        assert!(change.is_some(), "C15: {seq} is not in the feed at {}", feed.position());
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().expect("no panic");
        }
    });
}

/// A change is rejected while others depend on it, and while a subscriber joins.
#[test]
fn c15_corrections_reach_every_subscriber() {
    explore(|| {
        let (store, faults, _) = manual();
        let naming = if choose(2) == 0 { RejectedSeq::Reported } else { RejectedSeq::Omitted };
        add(&store, "rejected", 1);
        store.flush_once().expect("nothing fails");
        let mut early = Follower::new(&store, &FeedOptions::visible());
        faults.reject_handle(&shape("rejected", 0).handle, naming);
        store.remove("rejected", Wait::No).expect("live");
        let store = Arc::new(store);
        let flushing = thread::spawn({
            let store = Arc::clone(&store);
            move || drop(store.flush_once())
        });
        let adding = thread::spawn({
            let store = Arc::clone(&store);
            // Its key is that of the shape that was removed, or, after the rejection, in use.
            move || drop(store.add(shape("successor", 1), Wait::No))
        });
        let mut late = Follower::new(&store, &FeedOptions::visible());
        let mut durable = Follower::new(&store, &FeedOptions::durable());
        flushing.join().expect("no panic");
        adding.join().expect("no panic");
        faults.clear();
        while store.flush_once().expect("nothing fails").is_some() {}
        for follower in [&mut early, &mut late, &mut durable] {
            match follower.follow() {
                None => assert_eq!(follower.shapes(), listed(&*store), "C15"),
                Some(end) => assert!(matches!(end, FeedError::ListAnew { .. }), "C15: {end}"),
            }
        }
        assert_eq!(store.last_seq().expect("memory does not fail"), early.feed.position().max(early.latest));
    });
}

/// A slow subscriber, one that leaves, and a close, next to threads that mutate.
#[test]
fn c15_the_end_of_a_feed_delays_no_change() {
    explore(|| {
        let (store, _, _) = manual();
        let store = Arc::new(store);
        let options = FeedOptions::visible().capacity(1 + choose(3));
        let mut slow = Follower::new(&store, &options);
        let leaving = store.subscribe(&FeedOptions::visible()).expect("the store is open");
        let mutating: Vec<_> = (0..2)
            .map(|caller| {
                let store = Arc::clone(&store);
                thread::spawn(move || mutate(&store, caller))
            })
            .collect();
        let leaves = thread::spawn(move || drop(leaving));
        for thread in mutating {
            thread.join().expect("no panic");
        }
        leaves.join().expect("no panic");
        store.close(Duration::ZERO);
        match slow.follow() {
            Some(FeedError::Lagged { resume_after }) => {
                assert_eq!(resume_after, slow.latest, "C15: everything before was given");
            }
            Some(FeedError::Closed) => assert_eq!(slow.shapes(), listed(&*store)),
            other => panic!("C15: {other:?}"),
        }
    });
}
