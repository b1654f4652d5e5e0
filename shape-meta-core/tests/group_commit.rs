//! Without a buffer: mutations that are made at the same time share a transaction.
//!
//! The mutations of a test are futures. Each is queued when it is polled for the first time, so their order
//! is known.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use shape_meta_core::{
    Direct, Error, ErrorKind, HealthState, Limits, MemoryStore, MutateError, MutateShapesExt, Mutation,
    NewShape, NoopObserver, Observer, ReadShapes, ReadShapesExt, Receipt, Refusal, SnapshotState,
    StoreControl, Wait,
    conformance::{FailingStore, Faults, RejectedSeq, Side, block_on, handle, key, shape},
};

type Store = Arc<Direct<FailingStore<MemoryStore>>>;
type Outcome = Result<Receipt, MutateError>;
type Waiting<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

const TIMEOUT: Duration = Duration::from_secs(60);

fn open() -> (Store, Faults) {
    let faults = Faults::default();
    let below = FailingStore::with(MemoryStore::new(), faults.clone());
    let store = Direct::new(below, Limits::default(), Arc::new(NoopObserver)).expect("memory does not fail");
    (Arc::new(store), faults)
}

fn is_pending<F: Future + ?Sized>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Queues these mutations while the transaction of shape 0 is stuck. `then` is called before it goes on.
/// Returns their outcomes.
fn queued(store: &Store, faults: &Faults, mutations: &[Mutation], then: impl FnOnce()) -> Vec<Outcome> {
    let gate = faults.block_apply(Side::Before);
    let first = thread::spawn({
        let store = Arc::clone(store);
        move || store.add(shape(0), Wait::No)
    });
    gate.wait_until_blocked();
    let mut waiting: Vec<Waiting<'_>> = Vec::new();
    for mutation in mutations {
        let mut one: Waiting<'_> = Box::pin(store.mutate_async(mutation));
        assert!(is_pending(one.as_mut()), "C14: it waits without blocking");
        waiting.push(one);
    }
    then();
    gate.release();
    first.join().expect("no panic").expect("nothing fails yet");
    waiting.into_iter().map(block_on).collect()
}

fn adds(numbers: impl IntoIterator<Item = u64>) -> Vec<Mutation> {
    numbers.into_iter().map(|number| Mutation::Add(shape(number))).collect()
}

fn live(store: &Store, number: u64) -> bool {
    store.has_handle(&handle(number)).expect("memory does not fail")
}

fn kind(outcome: &Outcome) -> Option<ErrorKind> {
    match outcome {
        Err(MutateError::Failed(error)) => Some(error.kind()),
        _ => None,
    }
}

fn with_handle(number: u64, key_of: u64) -> NewShape {
    NewShape { key: key(key_of), ..shape(number) }
}

#[test]
fn c6_concurrent_mutations_share_a_transaction() {
    let (store, faults) = open();
    let outcomes = queued(&store, &faults, &adds(1..=100), || ());
    assert_eq!((faults.applied(), faults.changes()), (2, 101), "one for shape 0, one for all others");
    for (at, outcome) in outcomes.into_iter().enumerate() {
        let receipt = outcome.expect("nothing fails");
        assert!(receipt.is_durable());
        assert_eq!(receipt.seq().get(), at as u64 + 2, "the order of the callers");
        assert!(live(&store, at as u64 + 1));
    }
    assert_eq!(store.last_seq().expect("memory does not fail").get(), 101);
}

#[test]
fn c4_a_refusal_in_a_transaction_is_of_its_caller_alone() {
    let (store, faults) = open();
    let mutations = [
        Mutation::Add(shape(1)),
        Mutation::remove(handle(7).as_str()),
        Mutation::Add(shape(0)),
        Mutation::Add(with_handle(2, 1)),
        Mutation::Add(shape(3)),
    ];
    let outcomes = queued(&store, &faults, &mutations, || ());
    let refusal = |at: usize| match &outcomes[at] {
        Err(MutateError::Refused(refusal)) => refusal,
        other => panic!("{at}: {other:?}"),
    };
    assert!(outcomes[0].is_ok() && outcomes[4].is_ok());
    assert!(matches!(refusal(1), Refusal::UnknownHandle { .. }));
    assert!(matches!(refusal(2), Refusal::DuplicateKey { held_by, .. } if *held_by == handle(0)));
    assert!(matches!(refusal(3), Refusal::DuplicateKey { held_by, .. } if *held_by == handle(1)));
    assert_eq!((faults.applied(), faults.changes()), (2, 3));
    assert_eq!((live(&store, 1), live(&store, 2), live(&store, 3)), (true, false, true));
}

#[test]
fn c9_a_failed_transaction_fails_each_of_its_callers() {
    let (store, faults) = open();
    let fail = || faults.fail_applies(1, ErrorKind::Io, Side::Before);
    let outcomes = queued(&store, &faults, &adds(1..=10), fail);
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Some(ErrorKind::Io)), "{outcomes:?}");
    assert!((1..=10).all(|number| !live(&store, number)), "nothing of it is there");
    assert!(matches!(store.health().state, HealthState::Degraded { .. }));
    assert_eq!(faults.attempts(), 2, "no attempt is made that no caller asked for");
    store.add(shape(1), Wait::No).expect("nothing fails any more");
    assert!(matches!(store.health().state, HealthState::Ready));
}

/// Each caller gets the failure. What is committed stays, and the next transaction continues after it.
#[test]
fn i6_a_transaction_whose_answer_was_lost_is_not_repeated() {
    let (store, faults) = open();
    let lose = || faults.fail_applies(1, ErrorKind::Io, Side::After);
    let outcomes = queued(&store, &faults, &adds(1..=10), lose);
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Some(ErrorKind::Io)), "{outcomes:?}");
    assert!((1..=10).all(|number| live(&store, number)));
    let again = store.add(shape(4), Wait::No);
    assert!(matches!(again, Err(MutateError::Refused(Refusal::DuplicateKey { .. }))), "{again:?}");
    let next = store.add(shape(11), Wait::No).expect("nothing fails any more");
    assert_eq!(next.seq().get(), 12);
}

#[test]
fn c8_a_rejected_change_fails_its_caller_alone() {
    for named in [RejectedSeq::Reported, RejectedSeq::Omitted] {
        let (store, faults) = open();
        faults.reject_handle(&handle(4), named);
        let outcomes = queued(&store, &faults, &adds(1..=6), || ());
        for (number, outcome) in (1..=6).zip(&outcomes) {
            let rejected = kind(outcome) == Some(ErrorKind::Rejected);
            assert_eq!(rejected, number == 4, "{number}: {outcome:?}");
            assert_eq!(live(&store, number), number != 4);
        }
        let later = queued_again(&store, &faults, 7..=9);
        assert_eq!(later, 1, "later transactions are shared again");
    }
}

/// Returns in how many transactions these are added behind a stuck one.
fn queued_again(store: &Store, faults: &Faults, numbers: impl IntoIterator<Item = u64>) -> u64 {
    store.remove(&handle(0), Wait::No).expect("shape 0 is live");
    let before = faults.applied();
    let outcomes = queued(store, faults, &adds(numbers), || ());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    faults.applied() - before - 1
}

#[test]
fn c9_a_panic_in_a_transaction_answers_its_callers() {
    let (store, faults) = open();
    let outcomes = queued(&store, &faults, &adds(1..=5), || faults.panic_applies(1, Side::Before));
    assert!(outcomes.iter().all(|outcome| kind(outcome) == Some(ErrorKind::Panicked)), "{outcomes:?}");
    store.add(shape(1), Wait::No).expect("the store goes on");
    assert!(store.close(TIMEOUT).is_complete());
}

#[test]
fn c3_mutations_of_one_shape_follow_each_other() {
    let (store, faults) = open();
    let text = handle(1).to_string();
    let mutations = [
        Mutation::Add(shape(1)),
        Mutation::snapshot_complete(text.as_str()),
        Mutation::remove(text.as_str()),
        Mutation::Add(with_handle(1, 2)),
        Mutation::snapshot_started(text.as_str()),
        Mutation::Add(shape(3)),
    ];
    let outcomes = queued(&store, &faults, &mutations, || ());
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let metadata = store.metadata(&handle(1)).expect("memory does not fail").expect("live");
    assert_eq!(metadata.state, SnapshotState::Started);
    assert_eq!(store.handle_for(&key(1)).expect("memory does not fail"), None);
    assert_eq!(store.handle_for(&key(2)).expect("memory does not fail"), Some(handle(1)));
    assert_eq!(faults.applied(), 6, "shape 0, the first add with shape 3, and one for each other");
}

/// Once, the mark came before the add that waits for the removal of its key.
#[test]
fn c3_a_mutation_waits_for_one_of_its_shape_that_waits() {
    let (store, faults) = open();
    let [first, second] = [0, 1].map(|number| handle(number).to_string());
    let mutations = [
        Mutation::remove(first.as_str()),
        Mutation::Add(with_handle(1, 0)),
        Mutation::snapshot_complete(second.as_str()),
        Mutation::Add(with_handle(2, 2)),
        Mutation::remove(second.as_str()),
        Mutation::Add(with_handle(1, 3)),
        Mutation::Add(with_handle(4, 3)),
    ];
    let outcomes = queued(&store, &faults, &mutations, || ());
    assert!(outcomes[..6].iter().all(Result::is_ok), "{outcomes:?}");
    let duplicate = matches!(&outcomes[6], Err(MutateError::Refused(Refusal::DuplicateKey { .. })));
    assert!(duplicate, "the earlier one has the key: {outcomes:?}");
}

/// An observer that panics at each failure.
struct Panicking;

impl Observer for Panicking {
    fn failed(&self, _: &Error) {
        panic!("at a failure");
    }
}

/// Once, the caller whose failure was emitted was never answered.
#[test]
fn c9_an_observer_that_panics_at_a_failure_leaves_no_caller_waiting() {
    let faults = Faults::default();
    let below = FailingStore::with(MemoryStore::new(), faults.clone());
    let store = Direct::new(below, Limits::default(), Arc::new(Panicking)).expect("memory does not fail");
    let store = Arc::new(store);
    let fail = || faults.fail_applies(1, ErrorKind::Io, Side::Before);
    let outcomes = queued(&store, &faults, &adds(1..=5), fail);
    let kinds: Vec<_> = outcomes.iter().map(kind).collect();
    let expected = |kind: &Option<ErrorKind>| matches!(kind, Some(ErrorKind::Io | ErrorKind::Panicked));
    assert!(kinds.iter().all(expected), "{kinds:?}");
    store.add(shape(1), Wait::No).expect("the store goes on");
    assert!(store.close(TIMEOUT).is_complete());
}

#[test]
fn c2_one_of_many_concurrent_callers_adds_a_shape() {
    let (store, faults) = open();
    let gate = faults.block_apply(Side::Before);
    thread::scope(|scope| {
        scope.spawn(|| store.add(shape(0), Wait::No).expect("nothing fails"));
        gate.wait_until_blocked();
        let same: Vec<_> = (1..=20).map(|number| with_handle(number, 1)).collect();
        let mut waiting: Vec<_> = same.iter().map(|new| Box::pin(store.get_or_add_async(new))).collect();
        assert!(waiting.iter_mut().all(|one| is_pending(one.as_mut())));
        gate.release();
        let made: Vec<_> = waiting.into_iter().map(|one| block_on(one).expect("nothing fails")).collect();
        assert!(made.iter().all(|one| one.handle == handle(1) && one.receipt.is_durable()));
        assert_eq!(made.iter().filter(|one| one.added).count(), 1);
    });
    assert_eq!(faults.changes(), 2);
}

#[test]
fn c3_a_reset_removes_what_came_before_it_alone() {
    let (store, faults) = open();
    let mut mutations = adds(1..=3);
    mutations.push(Mutation::Reset);
    mutations.extend(adds([3, 4]));
    let outcomes = queued(&store, &faults, &mutations, || ());
    // Shape 3 is a duplicate until the reset, which is in front of it, is committed.
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!([0, 1, 2, 3, 4].map(|number| live(&store, number)), [false, false, false, true, true]);
}

#[test]
fn c14_a_dropped_future_that_is_queued_changes_nothing() {
    let (store, faults) = open();
    let (dropped, kept) = (Mutation::Add(shape(1)), adds([2]));
    let outcomes = queued(&store, &faults, &kept, || {
        let mut one = pin!(store.mutate_async(&dropped));
        assert!(is_pending(one.as_mut()));
    });
    assert!(outcomes[0].is_ok());
    assert_eq!((live(&store, 1), live(&store, 2)), (false, true));
}

#[test]
fn c10_close_waits_for_what_is_queued_and_refuses_the_rest() {
    let (store, faults) = open();
    let mut closing = None;
    let outcomes = queued(&store, &faults, &adds(1..=3), || {
        let store = Arc::clone(&store);
        closing = Some(thread::spawn(move || store.close(TIMEOUT)));
    });
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!(closing.expect("it began").join().expect("no panic").is_complete());
    assert_eq!(kind(&store.add(shape(4), Wait::No)), Some(ErrorKind::Closed));
    assert_eq!(kind(&block_on(store.mutate_async(&Mutation::Reset))), Some(ErrorKind::Closed));
}

/// Transactions are stuck one after the other; those of the first callers end with the second.
#[test]
fn i9_a_caller_waits_for_those_before_it_alone() {
    let (store, faults) = open();
    let gates = [0, 1, 2].map(|_| faults.block_apply(Side::Before));
    let [first, second, third] = gates;
    let (early, late) = (adds(1..=3), adds(4..=6));
    thread::scope(|scope| {
        scope.spawn(|| store.add(shape(0), Wait::No).expect("nothing fails"));
        first.wait_until_blocked();
        let queue = |mutations: &[Mutation]| -> Vec<Waiting<'_>> {
            let owned = mutations.to_vec();
            let futures = owned.into_iter().map(|mutation| {
                let store = Arc::clone(&store);
                let mut one: Waiting<'_> = Box::pin(async move { store.mutate_async(&mutation).await });
                assert!(is_pending(one.as_mut()));
                one
            });
            futures.collect()
        };
        let early = queue(&early);
        first.release();
        second.wait_until_blocked();
        let mut late = queue(&late);
        second.release();
        for one in early {
            block_on(one).expect("nothing fails");
        }
        third.wait_until_blocked();
        for one in &mut late {
            assert!(matches!(one.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        }
        third.release();
        for one in late {
            block_on(one).expect("nothing fails");
        }
    });
    assert_eq!((faults.applied(), faults.changes()), (3, 7));
}
