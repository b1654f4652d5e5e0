//! C15 without a buffer: transactions whose outcome is not known, calls by observers, and the forms of a
//! feed.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use futures_core::Stream;
use shape_meta_core::{
    Change, Direct, Error, ErrorKind, Limits, MemoryStore, MutateShapesExt, NoopObserver, Observer, Seq,
    StoreControl, Wait,
    conformance::{FailingStore, Faults, Side, block_on, handle, shape},
    feed::{Feed, FeedChange, FeedError, FeedEvent, FeedOptions, ShapeList},
};

use crate::conformance::direct;

fn failing() -> (Direct<FailingStore<MemoryStore>>, Faults) {
    let faults = Faults::default();
    (direct(FailingStore::with(MemoryStore::new(), faults.clone())), faults)
}

fn next(feed: &mut Feed) -> Result<Option<FeedChange>, FeedError> {
    feed.recv_timeout(Duration::ZERO)
}

#[test]
fn c15_a_commit_whose_answer_was_lost_is_given() {
    let (store, faults) = failing();
    let mut feed = store.subscribe(&FeedOptions::visible()).expect("the store is open");
    faults.fail_applies(1, ErrorKind::Io, Side::Before);
    assert!(store.add(shape(1), Wait::No).is_err());
    assert!(next(&mut feed).expect("the feed goes on").is_none(), "nothing is committed");
    faults.fail_applies(1, ErrorKind::Io, Side::After);
    assert!(store.add(shape(2), Wait::No).is_err());
    let change = next(&mut feed).expect("the feed goes on").expect("it is visible");
    assert_eq!(change.seq, Seq::new(1));
    assert!(matches!(change.event, FeedEvent::Added { entry, .. } if *entry.handle() == handle(2)));
}

#[test]
fn c15_a_transaction_in_doubt_means_list_anew() {
    let (store, faults) = failing();
    let mut feed = store.subscribe(&FeedOptions::visible()).expect("the store is open");
    faults.panic_applies(1, Side::After);
    assert!(catch_unwind(AssertUnwindSafe(|| store.add(shape(1), Wait::No))).is_err());
    assert!(matches!(next(&mut feed), Err(FeedError::ListAnew { .. })));
    let mut feed = store.subscribe(&FeedOptions::visible()).expect("a new feed begins");
    let mut list = ShapeList::of(&store).expect("memory does not fail");
    store.remove(&handle(1), Wait::No).expect("it was committed");
    list.apply(&next(&mut feed).expect("the feed goes on").expect("a removal"));
    assert!(list.is_empty());
}

/// An observer is called during a transaction, for which a subscription would wait.
#[test]
fn c15_an_observer_of_a_transaction_cannot_subscribe() {
    #[derive(Default)]
    struct Subscribing {
        store: OnceLock<Weak<Direct<MemoryStore>>>,
        outcome: Mutex<Option<FeedError>>,
    }
    impl Observer for Subscribing {
        fn wants_committed(&self) -> bool {
            true
        }
        fn committed(&self, _: &Change) {
            let store = self.store.get().and_then(Weak::upgrade).expect("it is set");
            *self.outcome.lock().expect("no panic") = store.subscribe(&FeedOptions::visible()).err();
        }
    }
    let observer = Arc::new(Subscribing::default());
    let store =
        Direct::new(MemoryStore::new(), Limits::default(), Arc::clone(&observer) as _).expect("memory");
    let store = Arc::new(store);
    observer.store.get_or_init(|| Arc::downgrade(&store));
    store.add(shape(1), Wait::No).expect("the mutation goes on");
    let outcome = observer.outcome.lock().expect("no panic").take();
    let is_refused = |error: &Error| error.kind() == ErrorKind::Unsupported;
    assert!(matches!(&outcome, Some(FeedError::Failed(error)) if is_refused(error)), "{outcome:?}");
}

#[test]
fn c15_a_stream_ends_with_the_reason() {
    let store = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    let mut feed = store.subscribe(&FeedOptions::visible().capacity(1)).expect("the store is open");
    let mut poll = || block_on(poll_fn(|context| Pin::new(&mut feed).poll_next(context)));
    store.add(shape(1), Wait::No).expect("accepted");
    assert!(matches!(poll(), Some(Ok(change)) if change.seq == Seq::new(1)));
    for number in 2..=3 {
        store.add(shape(number), Wait::No).expect("a full queue delays nothing");
    }
    assert!(matches!(poll(), Some(Ok(change)) if change.seq == Seq::new(2)));
    assert!(matches!(poll(), Some(Err(FeedError::Lagged { resume_after })) if resume_after == Seq::new(2)));
    assert!(poll().is_none() && poll().is_none());
}

/// A change log that does not exist reaches back to nothing.
#[test]
fn c15_a_store_without_a_change_log_means_list_anew() {
    let (store, _) = failing();
    store.add(shape(1), Wait::No).expect("accepted");
    let outcome = store.subscribe(&FeedOptions::visible().after(Seq::ZERO));
    assert!(matches!(outcome, Err(FeedError::ListAnew { .. })), "{outcome:?}");
    let mut feed = store.subscribe(&FeedOptions::visible().after(Seq::new(1))).expect("nothing is missed");
    assert!(next(&mut feed).expect("the feed goes on").is_none());
}

#[test]
fn c15_errors_say_what_to_do_next() {
    let failed = Error::new(ErrorKind::Busy, "the database is locked");
    let cases = [
        (FeedError::Lagged { resume_after: Seq::new(17) }, "subscribe again after that number", true),
        (FeedError::ListAnew { why: "reason" }, "list the shapes anew", false),
        (FeedError::Closed, "the store is closed", false),
        (FeedError::from(failed), "the database is locked", true),
        (FeedError::from(Error::new(ErrorKind::Corrupt, "damaged")), "damaged", false),
    ];
    for (error, text, is_retryable) in cases {
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!((error.is_retryable(), error.retry_after().is_some()), (is_retryable, is_retryable));
    }
}
