//! Events that observers receive.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Activity, AttemptContext, Change, DurabilityWait, Error, ErrorKind, FlushStats, Latencies, MemoryStore,
    MutateError, MutateShapes, MutateShapesExt, Mutation, Observer, ReadShapesExt, Refusal, Span,
    StoreControl, Wait,
    conformance::{FailingStore, Side},
};

use crate::support::{LONG_TIMEOUT, handles, shape};

type Store = Buffered<FailingStore<Arc<MemoryStore>>>;

/// Records events.
#[derive(Default)]
struct Log {
    untimed: bool,
    lines: Mutex<Vec<String>>,
    latencies: Mutex<Vec<Latencies>>,
    awaited: Mutex<Vec<DurabilityWait>>,
}

impl Log {
    fn record(&self, line: impl Into<String>) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.into());
    }

    /// Takes the events recorded since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Log {
    fn refused(&self, refusal: &Refusal) {
        self.record(format!("refused {}", refusal.name()));
    }

    fn failed(&self, error: &Error) {
        self.record(format!("failed {}", error.kind().name()));
    }

    fn wants_acknowledged(&self) -> bool {
        !self.untimed
    }

    fn acknowledged(&self, latencies: &Latencies) {
        self.record(format!("acknowledged {}", latencies.count()));
        self.latencies.lock().expect("no panic").push(latencies.clone());
    }

    fn awaited(&self, awaited: &DurabilityWait) {
        self.awaited.lock().expect("no panic").push(*awaited);
    }

    fn flushed(&self, flush: &FlushStats) {
        self.record(format!("flushed {}", flush.mutations));
    }
}

fn over(options: BufferOptions, observer: Arc<dyn Observer>) -> Store {
    let below = FailingStore::new(Arc::new(MemoryStore::new()));
    Buffered::new(below, options.background_flush(false), observer).expect("memory does not fail")
}

fn logged(options: BufferOptions) -> (Store, Arc<Log>) {
    let log = Arc::<Log>::default();
    (over(options, Arc::clone(&log) as _), log)
}

#[test]
fn c7_a_caller_that_waits_is_refused_once_when_it_gives_up() {
    let (store, log) = logged(BufferOptions::default().max_pending_shapes(1));
    store.add(shape("h", 1), Wait::No).expect("below the bound");
    assert!(store.add(shape("i", 2), Wait::UpTo(Duration::from_millis(1))).is_err());
    assert_eq!(log.take(), ["refused overloaded"]);
    assert!(store.get_or_add(&shape("i", 2), Wait::UpTo(Duration::ZERO)).is_err());
    assert_eq!(log.take(), ["refused overloaded"]);
    assert!(store.add(shape("i", 2), Wait::No).is_err());
    assert_eq!(log.take(), ["refused overloaded"]);
    assert!(store.add(shape("h", 2), Wait::UpTo(LONG_TIMEOUT)).is_err());
    assert_eq!(log.take(), ["refused duplicate_handle"], "the duplicate comes first");
}

#[test]
fn c7_a_caller_that_waits_and_is_accepted_was_not_refused() {
    let (store, log) = logged(BufferOptions::default().max_pending_shapes(1));
    store.add(shape("h", 1), Wait::No).expect("below the bound");
    let waiting = |since| AttemptContext { first_tried: since, is_final: false };
    let add = Mutation::Add(shape("i", 2));
    let outcome = store.attempt(&add, waiting(None));
    assert!(matches!(outcome, Err(MutateError::Refused(Refusal::Overloaded { .. }))), "{outcome:?}");
    assert!(store.attempt_get_or_add(&shape("i", 2), waiting(None)).is_err());
    assert!(log.take().is_empty());
    store.flush_once().expect("memory does not fail");
    let long_ago = Instant::now().checked_sub(Duration::from_secs(5)).expect("the clock is older than that");
    store.attempt(&add, waiting(Some(long_ago))).expect("below the bound");
    store.flush_once().expect("memory does not fail");
    assert_eq!(log.take(), ["acknowledged 1", "flushed 1", "acknowledged 1", "flushed 1"]);
    let latencies = log.latencies.lock().expect("no panic");
    assert!(latencies[0].quantile(1.0) < Duration::from_secs(4), "{latencies:?}");
    assert!(latencies[1].quantile(1.0) > Duration::from_secs(4), "includes the wait: {latencies:?}");
}

#[test]
fn latencies_are_reported_once_per_flush_even_if_it_fails() {
    let (store, log) = logged(BufferOptions::default());
    store.add(shape("h", 1), Wait::No).expect("below the bound");
    store.mark_snapshot_started("h", Wait::No).expect("live");
    store.mark_snapshot_started("h", Wait::No).expect("live");
    store.reset(Wait::No).expect("below the bound");
    store.add(shape("i", 2), Wait::No).expect("below the bound");
    store.inner().faults().fail_applies(2, ErrorKind::StorageFull, Side::Before);
    for _ in 0..3 {
        let _ = store.flush_once();
    }
    assert_eq!(log.take(), ["acknowledged 4", "flushed 4"]);
}

#[test]
fn latencies_are_measured_only_if_the_observer_wants_them() {
    let log = Arc::new(Log { untimed: true, ..Log::default() });
    let store = over(BufferOptions::default(), Arc::clone(&log) as _);
    store.add(shape("h", 1), Wait::No).expect("below the bound");
    store.flush_once().expect("memory does not fail");
    assert_eq!(log.take(), ["flushed 1"]);
}

#[test]
fn a_mutation_that_fails_below_or_after_close_is_reported() {
    let (store, log) = logged(BufferOptions::default());
    store.inner().faults().fail_reads(1, ErrorKind::Io);
    assert!(store.add(shape("h", 1), Wait::No).is_err());
    assert_eq!(log.take(), ["failed io"]);
    store.close(LONG_TIMEOUT);
    assert!(store.add(shape("h", 1), Wait::UpTo(LONG_TIMEOUT)).is_err());
    assert_eq!(log.take(), ["failed closed"]);
}

#[test]
fn c6_a_wait_for_durability_is_reported() {
    let (store, log) = logged(BufferOptions::default());
    let receipt = store.add(shape("h", 1), Wait::No).expect("below the bound");
    let _ = receipt.wait_durable(Duration::from_millis(1));
    store.flush_once().expect("memory does not fail");
    receipt.wait_durable(LONG_TIMEOUT).expect("written");
    let awaited = log.awaited.lock().expect("no panic");
    assert_eq!(awaited.iter().map(|one| one.error).collect::<Vec<_>>(), [Some("timed_out"), None]);
    assert!(awaited[0].took >= Duration::from_millis(1), "{awaited:?}");
}

/// Panics at the n-th event.
struct Panics {
    at: usize,
    events: AtomicUsize,
}

impl Panics {
    fn count(&self) {
        if self.events.fetch_add(1, Ordering::Relaxed) == self.at {
            std::panic::resume_unwind(Box::new("the test lets this observer panic"));
        }
    }
}

impl Observer for Panics {
    fn begin(&self, _: Activity<'_>) -> Option<Box<dyn Span>> {
        self.count();
        None
    }

    fn wants_acknowledged(&self) -> bool {
        true
    }

    fn acknowledged(&self, _: &Latencies) {
        self.count();
    }

    fn wants_committed(&self) -> bool {
        self.count();
        true
    }

    fn committed(&self, _: &Change) {
        self.count();
    }

    fn flushed(&self, _: &FlushStats) {
        self.count();
    }
}

/// Once, a panic as a flush began lost acknowledged changes: the next flush replaced the sealed generation.
#[test]
fn c9_a_panic_of_an_observer_loses_nothing_of_a_flush() {
    for at in 0..7 {
        let store = over(BufferOptions::default(), Arc::new(Panics { at, events: AtomicUsize::new(0) }));
        let first = store.add(shape("h", 1), Wait::No).expect("below the bound");
        store.add(shape("i", 2), Wait::No).expect("below the bound");
        let flush = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.flush_once()));
        let panicked = flush().is_err();
        assert_eq!(panicked, at < 6, "{at}: a flush of two changes has six events");
        store.add(shape("j", 3), Wait::No).expect("below the bound");
        for _ in 0..2 {
            let _ = flush();
        }
        assert_eq!(store.pending().mutations, 0, "{at}");
        assert!(first.is_durable());
        assert_eq!(handles(store.inner().inner()), ["h", "i", "j"], "{at}");
        assert!(store.has_handle("h").expect("memory does not fail"));
    }
}
