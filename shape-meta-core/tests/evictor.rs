//! The evictor: hysteresis, pins, and shapes that are read while it works.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use shape_meta_core::{
    Direct, ErrorKind, EvictionStats, Evictor, EvictorOptions, Handle, Limits, MemoryStore, MutateError,
    MutateShapesExt, NoopObserver, Observer, ReadShapes, ReadShapesExt, StoreControl, Timestamp, Wait,
    conformance::{handle, shape},
};

type Store = Direct<MemoryStore>;

fn store() -> Arc<Store> {
    let store = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver));
    Arc::new(store.expect("memory"))
}

/// Options whose steps end by their number of shapes alone, however busy the machine is.
fn options() -> EvictorOptions {
    EvictorOptions::default().step_time(Duration::MAX)
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000 + second * 1_000_000)
}

/// Adds shapes that were last read at these seconds.
fn filled(reads: &[u64]) -> Arc<Store> {
    let store = store();
    for (number, second) in (0..).zip(reads) {
        store.add(shape(number), Wait::No).expect("it is new");
        assert!(store.touch(&handle(number), at(*second)).expect("memory"));
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A shape that is read after the search, a pinned one and one that was read lately are never removed.
    /// Of the others, none that was read later goes before one that was read earlier.
    #[test]
    fn c14_a_shape_that_was_read_since_never_goes(
        reads in prop::collection::vec(0..50_u64, 0..60),
        max in 0..40_u64,
        low in 0..40_u64,
        max_unread in prop::option::of(0..60_u64),
        min_unread in 0..40_u64,
        step in 1..70_usize,
        each_pinned in 2..9_u64,
        each_read in 2..9_u64,
    ) {
        let store = filled(&reads);
        let (seen, reads_since) = (Arc::clone(&store), AtomicU64::new(1));
        let read_meanwhile = |one: &Handle| (0..60).any(|number| number % each_read == 1 && *one == handle(number));
        let mut policy = options()
            .max_shapes(max)
            .low_water(low)
            .min_unread(Duration::from_secs(min_unread))
            .step_shapes(step)
            // Called between the search and the removals.
            .pinned_if(move |one| {
                if (0..60).any(|number| number % each_read == 1 && *one == handle(number)) {
                    // Later than the time with which the search has found it.
                    let after = reads_since.fetch_add(1, Ordering::Relaxed);
                    let read = Timestamp::from_micros(at(50).as_micros() + after);
                    seen.touch(one, read).expect("memory");
                }
                false
            });
        if let Some(most) = max_unread {
            policy = policy.max_unread(Duration::from_secs(most));
        }
        let evictor = Evictor::new(policy);
        let is_pinned = |number: u64| number.is_multiple_of(each_pinned);
        (0..60).filter(|number| is_pinned(*number)).for_each(|number| evictor.pin(handle(number)));
        // A step whose candidates were all read removes nothing, and a later one goes on.
        let (mut idle, mut removed) = (0, Vec::new());
        loop {
            let eviction = evictor.step_at(&*store, at(50));
            prop_assert!(eviction.error.is_none());
            prop_assert!(eviction.removed.len() <= step);
            idle = if eviction.removed.is_empty() { idle + 1 } else { 0 };
            prop_assert!(!eviction.more || idle == 0);
            removed.extend(eviction.removed);
            if idle > 60 {
                break;
            }
        }
        let second_of = |one: &Handle| (0..).zip(&reads).find(|(number, _)| *one == handle(*number)).map(|(_, at)| *at);
        let latest = removed.iter().filter_map(second_of).max();
        for one in &removed {
            prop_assert!(!read_meanwhile(one), "{one} was read");
            prop_assert!(!store.has_handle(one).expect("memory"));
        }
        let total = store.counts().expect("memory").total;
        prop_assert_eq!(total + removed.len() as u64, reads.len() as u64);
        if max_unread.is_none() {
            prop_assert!(removed.is_empty() || reads.len() as u64 > max);
            prop_assert!(removed.is_empty() || total >= low.min(max), "not below the low water");
        }
        for (number, second) in (0..).zip(&reads) {
            let is_live = store.has_handle(&handle(number)).expect("memory");
            if is_pinned(number) || number % each_read == 1 {
                prop_assert!(is_live, "{number}");
            } else if is_live {
                prop_assert!(latest.is_none_or(|latest| *second >= latest), "an older one stays: {number}");
                // Whatever is too old is gone.
                let unread = Duration::from_secs(50 - second);
                prop_assert!(max_unread.is_none_or(|most| unread <= Duration::from_secs(most)), "{number}");
            }
        }
    }
}

#[test]
fn a_maximum_is_enforced_with_hysteresis_in_bounded_steps() {
    let reads: Vec<_> = (0..100).collect();
    let store = filled(&reads);
    let evictor = Evictor::new(options().max_shapes(90).low_water(50).step_shapes(20));
    let step = || {
        let eviction = evictor.step_at(&*store, at(1_000));
        (eviction.removed.len(), eviction.stats.total, eviction.more)
    };
    assert_eq!(step(), (20, 80, true), "below the maximum, and not at the low water");
    assert_eq!(step(), (20, 60, true));
    assert_eq!(step(), (10, 50, false));
    assert_eq!(step(), (0, 50, false));
    for number in 200..240 {
        store.add(shape(number), Wait::No).expect("it is new");
        store.touch(&handle(number), at(500)).expect("memory");
    }
    assert_eq!(step(), (0, 90, false), "at the maximum");
    store.add(shape(300), Wait::No).expect("it is new");
    assert_eq!(step().1, 71, "above it");
    assert!(
        !store.has_handle(&handle(50)).expect("memory") && store.has_handle(&handle(99)).expect("memory")
    );
}

#[test]
fn shapes_that_were_never_read_age_from_their_creation_on_request() {
    for counts in [false, true] {
        let inner = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver));
        let store = inner.expect("memory").creation_counts_as_read(counts);
        for number in 0..10 {
            store.add(shape(number), Wait::No).expect("it is new");
        }
        let created_at = shape(3).created_at;
        let metadata = store.metadata(&handle(3)).expect("memory").expect("live");
        assert_eq!((metadata.created_at, metadata.last_read), (created_at, created_at.filter(|_| counts)));
        let eviction = Evictor::new(options().max_shapes(4).low_water(4)).step(&store);
        let expected = if counts { (6, 4, 0) } else { (0, 10, 6) };
        let stats = eviction.stats;
        assert_eq!((stats.removed, stats.total, stats.over_limit), expected);
    }
}

#[test]
fn a_pin_ends_and_a_search_by_a_predicate_is_bounded() {
    let store = filled(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let evictor = Evictor::new(options().max_shapes(1).low_water(1));
    (0..8).for_each(|number| evictor.pin(handle(number)));
    let eviction = evictor.step(&*store);
    assert_eq!((eviction.removed.len(), eviction.stats.over_limit, eviction.more), (0, 7, false));
    evictor.unpin(&handle(5));
    assert_eq!(evictor.step(&*store).removed, [handle(5)]);

    // The predicate pins all of them. It is called for three times the wanted shapes at most.
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let policy = options().max_shapes(5).low_water(5).pinned_if(move |_| {
        *counted.lock().expect("no thread panicked") += 1;
        true
    });
    let eviction = Evictor::new(policy).step(&*store);
    assert_eq!((eviction.removed.len(), eviction.stats.pinned), (0, 6));
    assert_eq!(*calls.lock().expect("no thread panicked"), 6);
}

/// Keeps what was emitted.
#[derive(Default)]
struct Seen(Mutex<Vec<(EvictionStats, Option<String>)>>);

impl Observer for Seen {
    fn evicted(&self, evicted: &EvictionStats, error: Option<&MutateError>) {
        let mut seen = self.0.lock().expect("no thread panicked");
        seen.push((*evicted, error.map(ToString::to_string)));
    }
}

#[test]
fn c9_a_step_that_fails_says_what_it_has_done() {
    let store = filled(&[1, 2, 3]);
    let seen = Arc::new(Seen::default());
    let evictor = Evictor::new(options().max_shapes(2).low_water(2)).observer(seen.clone());
    assert_eq!(evictor.step(&*store).removed, [handle(0)]);
    assert!(evictor.step(&*store).removed.is_empty());
    store.add(shape(9), Wait::No).expect("it is new");
    store.close(Duration::from_secs(9));
    let eviction = evictor.step(&*store);
    let Some(MutateError::Failed(error)) = eviction.error else { panic!("it fails") };
    assert_eq!((error.kind(), eviction.more), (ErrorKind::Closed, false));
    let seen = seen.0.lock().expect("no thread panicked");
    let kinds: Vec<_> = seen.iter().map(|(stats, error)| (stats.removed, error.is_some())).collect();
    assert_eq!(kinds, [(1, false), (0, true)], "a step that did nothing is not emitted");
}
