//! C15 over SQLite files: the feeds of a standby, resuming, and what ends a feed.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use shape_meta::{
    Activity, Feed, FeedChange, FeedError, FeedEvent, FeedOptions, Observer, OnLiveOwner, ReadShapes, Seq,
    ShapeList, ShapeMeta, SnapshotState, Span, Standby, prelude::*,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{
    ALL, BUFFERED, Composition, DIRECT, DIRECT_CACHED, FlushSchedule, PRODUCT, TIMEOUT, WAIT, directory,
};

fn changes(feed: &mut Feed) -> Vec<FeedChange> {
    std::iter::from_fn(|| feed.recv_timeout(Duration::ZERO).expect("the feed goes on")).collect()
}

fn names(changes: &[FeedChange]) -> Vec<(u64, &'static str)> {
    let named = changes.iter().map(|change| {
        let name = match &change.event {
            FeedEvent::Added { .. } => "added",
            FeedEvent::Removed(_) => "removed",
            FeedEvent::Started(_) => "started",
            FeedEvent::Completed(_) => "completed",
            FeedEvent::Reset { .. } => "reset",
            _ => "other",
        };
        (change.seq.get(), name)
    });
    named.collect()
}

fn shapes(list: &ShapeList) -> Vec<(Seq, Handle, SnapshotState)> {
    list.iter().map(|(entry, state)| (entry.created(), entry.handle().clone(), state)).collect()
}

fn list_of<S: ReadShapes>(store: &S) -> ShapeList {
    ShapeList::of(store).expect("the store is read")
}

/// Applies what the feed has, and compares the list with that of the store.
#[track_caller]
fn assert_follows<S: ReadShapes>(feed: &mut Feed, list: &mut ShapeList, store: &S) {
    changes(feed).iter().for_each(|change| list.apply(change));
    assert_eq!(shapes(list), shapes(&list_of(store)));
}

fn stepped(composition: Composition) -> Composition {
    composition.with_flush_schedule(FlushSchedule::Manual)
}

fn open_standby(composition: Composition, directory: &Path) -> Standby {
    composition.builder().open_standby(directory).expect("there is a database")
}

fn add_complete(store: &ShapeMeta, number: u64) {
    store.add(shape(number), WAIT).expect("accepted");
    store.mark_snapshot_complete(&handle(number), WAIT).expect("live");
}

#[test]
fn c15_a_standby_feeds_its_refreshes() {
    for composition in ALL.map(stepped) {
        let directory = directory();
        let owner = composition.open(directory.path());
        add_complete(&owner, 1);
        owner.add(shape(2), WAIT).expect("accepted");
        owner.flush(TIMEOUT).expect("nothing fails");
        let standby = open_standby(composition, directory.path());
        let mut feed = standby.subscribe(&FeedOptions::visible()).expect("it is open");
        let mut list = list_of(&standby);
        assert_eq!(feed.position(), Seq::new(3), "{composition:?}");

        owner.remove(&handle(1), WAIT).expect("live");
        owner.mark_snapshot_started(&handle(2), WAIT).expect("live");
        add_complete(&owner, 3);
        owner.flush(TIMEOUT).expect("nothing fails");
        assert!(changes(&mut feed).is_empty(), "a standby shows what is refreshed");
        standby.refresh().expect("the owner has not changed the schema");
        let given = changes(&mut feed);
        assert_eq!(names(&given), [(7, "removed"), (7, "started"), (7, "added")], "{composition:?}");
        given.iter().for_each(|change| list.apply(change));
        assert_eq!(shapes(&list), shapes(&list_of(&standby)));
        for _ in 0..2 {
            standby.refresh().expect("the database is there");
            assert!(changes(&mut feed).is_empty(), "{composition:?} repeats a change");
        }
        owner.reset(WAIT).expect("accepted");
        owner.add(shape(4), WAIT).expect("accepted");
        owner.flush(TIMEOUT).expect("nothing fails");
        standby.refresh().expect("the database is there");
        assert_eq!(names(&changes(&mut feed)), [(9, "reset"), (9, "added")], "{composition:?}");
    }
}

#[test]
fn c15_a_feed_goes_on_through_a_promotion() {
    for composition in ALL.map(stepped) {
        let directory = directory();
        let owner = composition.open(directory.path());
        add_complete(&owner, 1);
        owner.flush(TIMEOUT).expect("nothing fails");
        let standby = open_standby(composition, directory.path());
        let mut feeds = [FeedOptions::visible(), FeedOptions::durable()]
            .map(|options| standby.subscribe(&options).expect("it is open"));
        let mut lists = [(); 2].map(|()| list_of(&standby));
        // It is not complete, so the promotion removes it.
        owner.add(shape(2), WAIT).expect("accepted");
        assert!(owner.close(TIMEOUT).is_complete());
        drop(owner);
        standby.refresh().expect("the database is there");
        let store = standby.promote(OnLiveOwner::Fail).expect("it has no owner");
        store.add(shape(3), WAIT).expect("accepted");
        store.remove(&handle(1), WAIT).expect("live");
        store.flush(TIMEOUT).expect("nothing fails");
        for (feed, list) in feeds.iter_mut().zip(&mut lists) {
            assert_follows(feed, list, &store);
            assert_eq!(feed.position(), Seq::new(5), "{composition:?}");
        }
        let mut late = standby.subscribe(&FeedOptions::visible()).expect("it is promoted");
        store.add(shape(4), WAIT).expect("accepted");
        assert_eq!(names(&changes(&mut late)), [(6, "added")]);
    }
}

#[test]
fn c15_a_standby_resumes_after_a_sequence_number() {
    for composition in [stepped(PRODUCT), DIRECT] {
        let directory = directory();
        let owner = composition.open(directory.path());
        for number in 1..=3 {
            add_complete(&owner, number);
        }
        owner.flush(TIMEOUT).expect("nothing fails");
        let standby = open_standby(composition, directory.path());
        let mut follower = standby.subscribe(&FeedOptions::visible()).expect("it is open");
        let mut followed = list_of(&standby);
        let (resume_after, mut list) = (follower.position(), followed.clone());
        owner.remove(&handle(2), WAIT).expect("live");
        owner.flush(TIMEOUT).expect("nothing fails");
        standby.refresh().expect("the database is there");
        owner.add(shape(4), WAIT).expect("accepted");
        owner.flush(TIMEOUT).expect("nothing fails");

        // A subscription after a sequence number refreshes, also for the others.
        let mut feed =
            standby.subscribe(&FeedOptions::visible().after(resume_after)).expect("it reaches back");
        assert_follows(&mut feed, &mut list, &standby);
        assert_follows(&mut follower, &mut followed, &standby);
        owner.remove(&handle(3), WAIT).expect("live");
        owner.flush(TIMEOUT).expect("nothing fails");
        standby.refresh().expect("the database is there");
        assert_follows(&mut feed, &mut list, &standby);
        assert_eq!(feed.position(), owner.last_seq().expect("the store is read"));
        let later = standby.subscribe(&FeedOptions::visible().after(Seq::new(99)));
        assert!(matches!(later, Err(FeedError::ListAnew { .. })), "{later:?}");
    }
}

/// Once, the standby read everything again, and all subscribers had to list anew.
#[test]
fn c15_a_number_out_of_reach_ends_no_other_feed() {
    for composition in ALL.map(stepped) {
        let directory = directory();
        let owner = composition.open(directory.path());
        for number in 1..=3 {
            add_complete(&owner, number);
        }
        owner.flush(TIMEOUT).expect("nothing fails");
        let remove = |number| {
            owner.remove(&handle(number), WAIT).expect("live");
            owner.flush(TIMEOUT).expect("nothing fails");
        };
        [1, 2].into_iter().for_each(remove);
        // As if the log had been trimmed, which takes 250,000 removals.
        let file = rusqlite::Connection::open(directory.path().join("shape-meta.sqlite3")).expect("a file");
        file.execute("DELETE FROM change_log WHERE through < 7", []).expect("no one writes");
        let standby = open_standby(composition, directory.path());
        let mut other = standby.subscribe(&FeedOptions::visible()).expect("it is open");
        remove(3);
        let late = standby.subscribe(&FeedOptions::visible().after(Seq::new(3)));
        assert!(matches!(late, Err(FeedError::ListAnew { .. })), "{composition:?}: {late:?}");
        assert_eq!(names(&changes(&mut other)), [(9, "removed")], "{composition:?}");
    }
}

/// An owner that resumes reads only the rows of the change log after the sequence number.
#[test]
fn c15_a_resumed_feed_repeats_nothing() {
    for composition in ALL.map(stepped) {
        let directory = directory();
        let store = composition.open(directory.path());
        for number in 1..=2 {
            add_complete(&store, number);
        }
        store.flush(TIMEOUT).expect("nothing fails");
        store.remove(&handle(1), WAIT).expect("live");
        store.flush(TIMEOUT).expect("nothing fails");
        let after = |seq| FeedOptions::visible().after(Seq::new(seq));
        for (seq, expected) in [(5, vec![]), (4, vec![(5, "removed")])] {
            let mut feed = store.subscribe(&after(seq)).expect("the change log reaches back");
            assert_eq!(names(&changes(&mut feed)), expected, "{composition:?} after {seq}");
            assert_eq!(feed.position(), Seq::new(5));
        }
        match store.subscribe(&after(3)) {
            Ok(mut feed) => assert_eq!(names(&changes(&mut feed)), [(5, "removed"), (5, "completed")]),
            // The mark went into the add of its shape, in one commit.
            Err(error) => assert!(composition.buffer.is_some(), "{composition:?}: {error}"),
        }
        store.remove(&handle(2), WAIT).expect("live");
        let mut feed = store.subscribe(&after(5)).expect("the change log reaches back");
        assert_eq!(names(&changes(&mut feed)), [(6, "removed")], "{composition:?}");
    }
}

/// The position of a durable feed stands for the same changes when the database is opened again, which
/// removes what is not complete.
#[test]
fn c15_a_durable_position_outlasts_a_reopen() {
    for composition in ALL.map(stepped) {
        let directory = directory();
        let store = composition.open(directory.path());
        let mut feed = store.subscribe(&FeedOptions::durable()).expect("it is open");
        let mut list = list_of(&store);
        add_complete(&store, 1);
        store.add(shape(2), WAIT).expect("accepted");
        assert!(store.close(TIMEOUT).is_complete());
        while let Ok(change) = feed.recv() {
            list.apply(&change);
        }
        drop(store);
        let store = composition.open(directory.path());
        // Once, a subscriber that came before made the list look complete.
        let _other = store.subscribe(&FeedOptions::durable()).expect("it is open");
        let options = FeedOptions::durable().after(feed.position());
        let mut feed = store.subscribe(&options).expect("the change log reaches back");
        store.add(shape(3), WAIT).expect("accepted");
        store.flush(TIMEOUT).expect("nothing fails");
        assert_follows(&mut feed, &mut list, &store);
        assert_eq!(list.len(), 2, "{composition:?}");
    }
}

/// Once, the position of a new feed was the last accepted sequence number: the list kept a shape that was
/// removed before it was on disk.
#[test]
fn c15_a_durable_position_counts_only_what_is_durable() {
    for composition in ALL.map(stepped) {
        let directory = directory();
        let store = composition.open(directory.path());
        add_complete(&store, 1);
        store.flush(TIMEOUT).expect("nothing fails");
        let durable = store.last_seq().expect("the store is read");
        add_complete(&store, 2);
        let feed = store.subscribe(&FeedOptions::durable()).expect("it is open");
        let (mut list, position) = (list_of(&store), feed.position());
        drop(feed);
        if composition.buffer.is_some() {
            assert_eq!(position, durable, "{composition:?}");
        }
        let can_resume = list.can_resume_after(position);
        store.remove(&handle(2), WAIT).expect("live");
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        let store = composition.open(directory.path());
        let options = FeedOptions::durable().after(position);
        let mut feed = store.subscribe(&options).expect("the change log reaches back");
        if can_resume {
            assert_follows(&mut feed, &mut list, &store);
        }
    }
}

/// Once, a subscription that a promotion overtook was to the standby, and lacked what the store had accepted
/// meanwhile.
#[test]
fn c15_a_subscription_during_a_promotion_misses_nothing() {
    /// Promotes the standby that it is given, and adds a shape, during the next refresh.
    #[derive(Default)]
    struct Promoting(Mutex<Option<Standby>>);
    impl Observer for Promoting {
        fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
            let is_refresh = matches!(activity, Activity::Refresh);
            let standby = if is_refresh { self.0.lock().expect("no panic").take() } else { None };
            if let Some(standby) = standby {
                let promoted = standby.clone();
                let promoting = thread::spawn(move || {
                    let store = promoted.promote(OnLiveOwner::Fail).expect("it has no owner");
                    store.add(shape(2), WAIT).expect("accepted");
                });
                // A promotion may wait for the subscription.
                if standby.wait_promoted(Duration::from_secs(1)).is_some() {
                    promoting.join().expect("no panic");
                }
            }
            None
        }
    }
    for composition in [PRODUCT, DIRECT_CACHED].map(stepped) {
        let directory = directory();
        let owner = composition.open(directory.path());
        add_complete(&owner, 1);
        assert!(owner.close(TIMEOUT).is_complete());
        drop(owner);
        let observer = Arc::new(Promoting::default());
        let builder = composition.builder().observer(Arc::clone(&observer) as Arc<dyn Observer>);
        let standby = builder.open_standby(directory.path()).expect("there is a database");
        let mut list = list_of(&standby);
        *observer.0.lock().expect("no panic") = Some(standby.clone());
        let options = FeedOptions::visible().after(Seq::new(2));
        let mut feed = standby.subscribe(&options).expect("the change log reaches back");
        let store = standby.wait_promoted(TIMEOUT).expect("it is promoted");
        // The shape that was added meanwhile.
        store.get_or_add(&shape(2), WAIT).expect("accepted");
        store.add(shape(3), WAIT).expect("accepted");
        assert_follows(&mut feed, &mut list, &store);
        assert_eq!(list.len(), 3, "{composition:?}");
    }
}

/// A recovery appends to the last sequence number, which such a feed has reached. Once, it left that out.
#[test]
fn c15_a_resumed_feed_of_a_standby_gives_a_recovery() {
    for composition in ALL.map(stepped) {
        for (after, promotes) in [(2, false), (2, true), (3, false), (3, true)] {
            let directory = directory();
            let owner = composition.open(directory.path());
            add_complete(&owner, 1);
            owner.flush(TIMEOUT).expect("nothing fails");
            owner.add(shape(2), WAIT).expect("accepted");
            owner.flush(TIMEOUT).expect("nothing fails");
            let standby = open_standby(composition, directory.path());
            let _other = standby.subscribe(&FeedOptions::visible()).expect("it is open");
            let options = FeedOptions::visible().after(Seq::new(after));
            let mut feed = standby.subscribe(&options).expect("the change log reaches back");
            let mut list = list_of(&standby);
            assert!(owner.close(TIMEOUT).is_complete());
            drop(owner);
            // It removes the shape that is not complete.
            if promotes {
                let store = standby.promote(OnLiveOwner::Fail).expect("it has no owner");
                assert_follows(&mut feed, &mut list, &store);
            } else {
                let _owner = composition.open(directory.path());
                standby.refresh().expect("the database is there");
                assert_follows(&mut feed, &mut list, &standby);
            }
            assert_eq!(list.len(), 1, "{composition:?} after {after}");
        }
    }
}

#[test]
fn c15_a_repair_or_another_line_of_history_means_list_anew() {
    for composition in ALL.map(stepped) {
        let directory = directory();
        let store = composition.open(directory.path());
        add_complete(&store, 1);
        store.flush(TIMEOUT).expect("nothing fails");
        let standby = open_standby(composition, directory.path());
        let mut feeds = [
            store.subscribe(&FeedOptions::durable()).expect("it is open"),
            standby.subscribe(&FeedOptions::visible()).expect("it is open"),
        ];
        store.repair().expect("a sound database is rebuilt, too");
        standby.refresh().expect("the new file is found");
        for feed in &mut feeds {
            assert!(matches!(feed.recv(), Err(FeedError::ListAnew { .. })), "{composition:?}");
        }
        assert!(standby.subscribe(&FeedOptions::visible()).is_ok(), "{composition:?}");
    }
}

/// The default options: a background flusher, and a subscriber that resumes while it flushes.
#[test]
fn c15_a_subscriber_resumes_during_flushes() {
    for composition in [BUFFERED, PRODUCT].map(|one| one.with_flush_schedule(FlushSchedule::Continuous)) {
        let directory = directory();
        let store = composition.open(directory.path());
        let mut feed = store.subscribe(&FeedOptions::visible()).expect("it is open");
        let mut list = list_of(&store);
        for number in 0..200 {
            add_complete(&store, number);
            if number % 3 == 0 {
                store.remove(&handle(number), WAIT).expect("live");
            }
            if number % 10 == 9 {
                changes(&mut feed).iter().for_each(|change| list.apply(change));
                let options = FeedOptions::visible().after(feed.position());
                feed = store.subscribe(&options).expect("memory reaches back");
            }
        }
        assert_follows(&mut feed, &mut list, &store);
    }
}
