//! The direct composition: the deadline of its close, and what its observers may call.

use std::{
    sync::{Arc, OnceLock, Weak, mpsc},
    thread,
    time::{Duration, Instant},
};

use shape_meta_core::{
    Activity, Direct, ErrorKind, FlushStats, Limits, MemoryStore, MutateError, MutateShapesExt, NoopObserver,
    Observer, ReadShapes, Result, Seq, Span, StoreControl, Wait,
    conformance::{FailingStore, Side, handle, shape},
    feed::{FeedError, FeedOptions},
};

type Store = Direct<FailingStore<MemoryStore>>;

const SHORT: Duration = Duration::from_millis(50);
/// Longer than any step takes, unless it hangs.
const LONG: Duration = Duration::from_secs(60);

fn open(observer: Arc<dyn Observer>) -> Store {
    let store = FailingStore::new(MemoryStore::new());
    Direct::new(store, Limits::default(), observer).expect("nothing fails yet")
}

/// Once, it took as long as the disk hung: 5 s of a timeout of 200 ms.
#[test]
fn c10_a_direct_close_does_not_wait_for_a_save_that_hangs() {
    let store = open(Arc::new(NoopObserver));
    let gate = store.inner().faults().block_save(Side::Before);
    let started_at = Instant::now();
    let report = store.close(SHORT);
    assert!(started_at.elapsed() < LONG / 2 && report.is_complete(), "{report:?}");
    assert!(report.took >= SHORT && report.took <= started_at.elapsed());
    store.add(shape(1), Wait::No).expect_err("it is closed");
    assert!(store.close(SHORT).error.is_none(), "a second close has nothing to wait for");
    gate.release();
}

/// Once, the feed waited for ever: nothing ended it after the mutation.
#[test]
fn c15_a_direct_close_at_its_deadline_ends_each_feed() {
    let store = open(Arc::new(NoopObserver));
    let mut feed = store.subscribe(&FeedOptions::visible()).expect("the store is open");
    let gate = store.inner().faults().block_apply(Side::Before);
    thread::scope(|scope| {
        let added = scope.spawn(|| store.add(shape(1), Wait::No));
        gate.wait_until_blocked();
        assert!(store.close(SHORT).error.is_some(), "the mutation hangs");
        gate.release();
        added.join().expect("no panic").expect("its outcome is that of the disk");
    });
    assert!(matches!(feed.recv_timeout(LONG), Ok(Some(change)) if change.seq == Seq::new(1)));
    let end = feed.recv_timeout(LONG / 10);
    assert!(matches!(end, Err(FeedError::Closed)), "{end:?}");
    assert!(matches!(store.subscribe(&FeedOptions::visible()), Err(FeedError::Closed)));
}

#[test]
fn c10_a_direct_close_does_not_wait_for_a_mutation_that_hangs() {
    let store = open(Arc::new(NoopObserver));
    let gate = store.inner().faults().block_apply(Side::Before);
    thread::scope(|scope| {
        let added = scope.spawn(|| store.add(shape(1), Wait::No));
        gate.wait_until_blocked();
        let started_at = Instant::now();
        let error = store.close(SHORT).error.expect("it says what it did not wait for");
        assert!(error.kind() == ErrorKind::Busy && started_at.elapsed() < LONG / 2, "{error}");
        let refused = scope.spawn(|| store.add(shape(2), Wait::No));
        gate.release();
        added.join().expect("no panic").expect("its outcome is that of the disk");
        let refused = refused.join().expect("no panic").expect_err("refused once the close has begun");
        assert!(
            matches!(&refused, MutateError::Failed(error) if error.kind() == ErrorKind::Closed),
            "{refused}"
        );
        let report = store.close(LONG);
        assert!(report.error.is_none(), "{report:?}");
    });
    assert!(store.metadata(&handle(1)).expect("reads go on").is_some());
}

/// Mutates, repairs and closes the store from the events of its own mutation.
#[derive(Default)]
struct Calls {
    store: OnceLock<Weak<Store>>,
    outcomes: OnceLock<mpsc::Sender<Result<ErrorKind, &'static str>>>,
}

impl Calls {
    fn call(&self) {
        let Some(store) = self.store.get().and_then(Weak::upgrade) else { return };
        let kind = |outcome: Result<(), MutateError>| match outcome {
            Err(MutateError::Failed(error)) => Ok(error.kind()),
            _ => Err("not refused"),
        };
        let outcomes = [
            kind(store.add(shape(7), Wait::No).map(drop)),
            store.repair().map_or_else(|error| Ok(error.kind()), |_| Err("repaired")),
            store.reserve_handles(&[]).map_or_else(|error| Ok(error.kind()), |_| Err("reserved")),
        ];
        assert_eq!(store.counts().expect("reads work").total, 1);
        for outcome in outcomes {
            // The test may have ended.
            let _ = self.outcomes.get().expect("set").send(outcome);
        }
    }
}

impl Observer for Calls {
    fn flushed(&self, _: &FlushStats) {
        self.call();
    }

    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if matches!(activity, Activity::Close) {
            self.call();
        }
        None
    }
}

/// Once, each of them waited for itself for good.
#[test]
fn c10_calls_by_an_observer_of_a_direct_store_are_refused() {
    let observer = Arc::new(Calls::default());
    let store = Arc::new(open(Arc::clone(&observer) as _));
    let (sender, outcomes) = mpsc::channel();
    observer.outcomes.get_or_init(|| sender);
    observer.store.get_or_init(|| Arc::downgrade(&store));
    thread::spawn({
        let store = Arc::clone(&store);
        move || {
            store.add(shape(1), Wait::No).expect("not refused");
            store.close(LONG);
        }
    });
    for _ in 0..6 {
        let outcome = outcomes.recv_timeout(LONG / 2).expect("it does not hang");
        assert_eq!(outcome, Ok(ErrorKind::Unsupported));
    }
}
