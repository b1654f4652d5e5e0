//! C15: a feed gives every change once, in order, without a gap; what was missed is named.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    CompositionFixture,
    assertions::{TIMEOUT, WAIT, accepted, add, mark, remove},
    block_on,
    sample::{handle, shape},
    view::read,
};
use crate::{
    Handle, MutateShapesExt, ReadShapes, Seq, SnapshotState, StoreControl,
    feed::{ChangedShape, Feed, FeedChange, FeedError, FeedEvent, FeedOptions, ShapeList},
};

const THREADS: u64 = 4;

/// A change, for comparisons.
type Seen = (u64, &'static str, Option<Handle>);

fn seen(change: &FeedChange) -> Seen {
    let of = |shape: &ChangedShape| shape.handle().cloned();
    let (name, handle) = match &change.event {
        FeedEvent::Added { entry, .. } => ("added", Some(entry.handle().clone())),
        FeedEvent::Removed(shape) => ("removed", of(shape)),
        FeedEvent::Started(shape) => ("started", of(shape)),
        FeedEvent::Completed(shape) => ("completed", of(shape)),
        FeedEvent::Rejected { entry, .. } => ("rejected", Some(entry.handle().clone())),
        FeedEvent::Reset { .. } => ("reset", None),
    };
    (change.seq.get(), name, handle)
}

/// Returns what the feed has now.
#[track_caller]
fn drain(feed: &mut Feed) -> Vec<FeedChange> {
    let mut changes = Vec::new();
    loop {
        match feed.recv_timeout(Duration::ZERO) {
            Ok(Some(change)) => changes.push(change),
            Ok(None) => return changes,
            Err(error) => panic!("C15: the feed has ended: {error}"),
        }
    }
}

#[track_caller]
fn drain_seen(feed: &mut Feed) -> Vec<Seen> {
    drain(feed).iter().map(seen).collect()
}

#[track_caller]
fn subscribed<S: StoreControl>(store: &S, options: &FeedOptions) -> Feed {
    match store.subscribe(options) {
        Ok(feed) => feed,
        Err(error) => panic!("C15: a subscription fails: {error}"),
    }
}

fn shapes(list: &ShapeList) -> Vec<(Seq, Handle, SnapshotState)> {
    list.iter().map(|(entry, state)| (entry.created(), entry.handle().clone(), state)).collect()
}

/// Asserts that the list that a subscriber keeps is that of the store.
#[track_caller]
fn assert_same_list<S: ReadShapes>(list: &ShapeList, store: &S) {
    assert_eq!(shapes(list), shapes(&read(ShapeList::of(store))), "C15: a replayed feed gives the list");
}

/// Makes one mutation of each kind, and returns what a feed has to give of them, the first having sequence
/// number `first`.
fn mutate<S: StoreControl>(store: &S, first: u64) -> Vec<Seen> {
    add(store, &shape(1));
    mark(store, &handle(1), SnapshotState::Started);
    // No effect, a refusal, and a shape that exists.
    mark(store, &handle(1), SnapshotState::Started);
    assert!(store.remove("unknown", WAIT).is_err());
    accepted(store.get_or_add(&shape(1), WAIT));
    mark(store, &handle(1), SnapshotState::Complete);
    accepted(store.get_or_add(&shape(2), WAIT));
    remove(store, &handle(1));
    add(store, &shape(1));
    accepted(store.reset(WAIT));
    add(store, &shape(3));
    let events = [
        ("added", Some(1)),
        ("started", Some(1)),
        ("completed", Some(1)),
        ("added", Some(2)),
        ("removed", Some(1)),
        ("added", Some(1)),
        ("reset", None),
        ("added", Some(3)),
    ];
    (first..).zip(events).map(|(seq, (name, number))| (seq, name, number.map(handle))).collect()
}

/// Every change is in a feed once, with its sequence number, when its call returns; a mutation without effect
/// and a refusal are not.
pub fn c15_a_feed_gives_every_change_once<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(9));
    let mut feed = subscribed(&store, &FeedOptions::visible());
    assert_eq!((feed.position(), drain_seen(&mut feed)), (Seq::new(1), Vec::new()));
    let expected = mutate(&store, 2);
    assert_eq!(drain_seen(&mut feed), expected);
    assert_eq!(feed.position(), read(store.last_seq()));
    fixture.flush(&store);
    assert_eq!(drain_seen(&mut feed), [], "C15: a flush changes nothing that is visible");
}

/// A feed of durable changes gives the same changes, once they are durable, and before a receipt says so.
pub fn c15_a_durable_feed_waits_for_durability<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    let pauses = fixture.pause(&store);
    let before = add(&store, &shape(9));
    let mut feed = subscribed(&store, &FeedOptions::durable());
    let expected = mutate(&store, 2);
    if pauses {
        assert_eq!(drain_seen(&mut feed), [], "C15: nothing is durable yet");
        fixture.resume(&store);
    }
    fixture.flush(&store);
    assert!(before.is_durable());
    // What a reset has undone before it was durable need not be in it.
    let given = drain_seen(&mut feed);
    let has_all = given == expected;
    assert!(has_all || pauses && given == expected[6..], "C15: {given:?} of {expected:?}");
    add(&store, &shape(4));
    fixture.flush(&store);
    assert_eq!(drain_seen(&mut feed), [(10, "added", Some(handle(4)))]);
    assert_eq!(feed.position(), Seq::new(10));
}

/// A list that is read after a subscription, and the changes of the feed, give the list of the store, while
/// threads mutate.
pub fn c15_replaying_a_feed_gives_the_list<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let rounds = (fixture.large_count() as u64 / 40).max(25);
    let store = fixture.open();
    let is_done = AtomicBool::new(false);
    let replay = |options: FeedOptions| {
        let mut feed = subscribed(&store, &options);
        let mut list = read(ShapeList::of(&store));
        let mut latest = feed.position();
        loop {
            let ends = is_done.load(Ordering::Acquire);
            let changes = drain(&mut feed);
            for change in &changes {
                assert!(change.seq > latest, "C15: {change:?} after {latest}");
                latest = change.seq;
                list.apply(change);
            }
            if ends {
                return list;
            }
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let mutating: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let number = thread * rounds + round;
                        add(store, &shape(number));
                        mark(store, &handle(number), SnapshotState::Started);
                        match round % 3 {
                            0 => drop(remove(store, &handle(number))),
                            1 => drop(mark(store, &handle(number), SnapshotState::Complete)),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        let following = [FeedOptions::visible(), FeedOptions::durable()]
            .map(|options| scope.spawn(move || replay(options)));
        for thread in mutating {
            thread.join().expect("no thread panics");
        }
        fixture.flush(&store);
        is_done.store(true, Ordering::Release);
        for thread in following {
            assert_same_list(&thread.join().expect("no thread panics"), &store);
        }
    });
}

/// A subscriber that does not read is ended, delays no mutation, and is given the position to resume after.
/// The resumed feed has no gap and no repeat.
pub fn c15_a_slow_subscriber_resumes<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    for options in [FeedOptions::visible(), FeedOptions::durable()] {
        let store = fixture.open();
        add(&store, &shape(0));
        fixture.flush(&store);
        let mut list = read(ShapeList::of(&store));
        let mut feed = subscribed(&store, &options.capacity(3));
        for number in 1..=10 {
            add(&store, &shape(number));
            fixture.flush(&store);
        }
        let mut given = Vec::new();
        let resume_after = loop {
            match feed.recv_timeout(Duration::ZERO) {
                Ok(Some(change)) => {
                    list.apply(&change);
                    given.push(change.seq.get());
                }
                Err(FeedError::Lagged { resume_after }) => break resume_after,
                other => panic!("C15: {other:?} after {given:?}"),
            }
        };
        assert!((3..10).contains(&given.len()), "C15: {given:?}");
        assert_eq!(resume_after, feed.position());
        assert!(matches!(feed.recv(), Err(FeedError::Lagged { .. })), "C15: the end is final");
        assert!(list.can_resume_after(resume_after));
        remove(&store, &handle(2));
        mark(&store, &handle(10), SnapshotState::Complete);
        let mut feed = subscribed(&store, &options.after(resume_after));
        fixture.flush(&store);
        let missed = drain(&mut feed);
        let adds = (given.len() as u64 + 1..=10).map(|number| (number + 1, "added", Some(handle(number))));
        let later = [(12, "removed", Some(handle(2))), (13, "completed", Some(handle(10)))];
        let expected: Vec<_> = adds.chain(later).collect();
        assert_eq!(missed.iter().map(seen).collect::<Vec<_>>(), expected, "C15: no gap and no repeat");
        assert_eq!(feed.position(), Seq::new(13));
        missed.iter().for_each(|change| list.apply(change));
        add(&store, &shape(11));
        fixture.flush(&store);
        let live = drain(&mut feed);
        assert_eq!(live.iter().map(seen).collect::<Vec<_>>(), [(14, "added", Some(handle(11)))]);
        live.iter().for_each(|change| list.apply(change));
        assert_same_list(&list, &store);
    }
}

/// A subscriber resumes after any sequence number that it was given, also in the middle of a flush, and is
/// given exactly what it has missed.
pub fn c15_a_feed_resumes_after_every_change<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    for options in [FeedOptions::visible(), FeedOptions::durable()] {
        let store = fixture.open();
        let mut feed = subscribed(&store, &options);
        let lists = feed.position();
        let expected = mutate(&store, 1);
        let visible = drain_seen(&mut feed);
        fixture.flush(&store);
        let mut given = visible.clone();
        given.extend(drain_seen(&mut feed));
        // Under a buffer, a reset leaves out durable changes that it has replaced.
        let is_expected = given.iter().all(|change| expected.contains(change));
        assert!(is_expected && given.ends_with(&expected[6..]), "C15: {given:?}");
        for after in [lists].into_iter().chain(given.iter().map(|(seq, ..)| Seq::new(*seq))) {
            let mut resumed = subscribed(&store, &options.after(after));
            let later: Vec<_> = given.iter().filter(|(seq, ..)| *seq > after.get()).cloned().collect();
            assert_eq!(drain_seen(&mut resumed), later, "C15: after {after}");
            assert_eq!(resumed.position(), read(store.last_seq()));
        }
    }
}

/// A subscription after a sequence number that the store has not reached is refused.
pub fn c15_a_later_sequence_number_is_refused<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    let outcome = store.subscribe(&FeedOptions::visible().after(Seq::new(2)));
    assert!(matches!(outcome, Err(FeedError::ListAnew { .. })), "{outcome:?}");
}

/// A thread and a future wait for the next change.
pub fn c15_threads_and_futures_wait_for_a_change<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    let options = FeedOptions::durable();
    let mut feeds = [(); 3].map(|()| subscribed(&store, &options));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = feeds
            .iter_mut()
            .enumerate()
            .map(|(number, feed)| {
                scope.spawn(move || match number {
                    0 => feed.recv(),
                    1 => feed.recv_timeout(TIMEOUT).map(|change| change.expect("it comes in time")),
                    _ => block_on(feed.recv_async()),
                })
            })
            .collect();
        add(&store, &shape(1));
        fixture.flush(&store);
        for thread in waiting {
            let change = thread.join().expect("no thread panics").expect("the feed goes on");
            assert_eq!(seen(&change), (1, "added", Some(handle(1))));
        }
    });
}

/// A close ends each feed, after the last change. Later subscriptions are refused.
pub fn c15_close_ends_a_feed<F: CompositionFixture<Store: StoreControl>>(fixture: &F) {
    let store = fixture.open();
    let mut feeds =
        [FeedOptions::visible(), FeedOptions::durable()].map(|options| subscribed(&store, &options));
    add(&store, &shape(1));
    assert!(store.close(TIMEOUT).is_complete());
    for feed in &mut feeds {
        let last = feed.recv().expect("it was accepted before the close");
        assert_eq!(seen(&last), (1, "added", Some(handle(1))));
        assert!(matches!(feed.recv(), Err(FeedError::Closed)));
    }
    assert!(matches!(store.subscribe(&FeedOptions::visible()), Err(FeedError::Closed)));
    let mut dropped = {
        let store = fixture.open();
        subscribed(&store, &FeedOptions::visible())
    };
    assert!(matches!(dropped.recv(), Err(FeedError::Closed)), "C15: a feed does not keep its store");
}
