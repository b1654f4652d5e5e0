//! What observers are told.

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

use crate::support::{PATIENT, handles, shape};

type Store = Buffered<FailingStore<Arc<MemoryStore>>>;

/// Writes down what it is told.
#[derive(Default)]
struct Log {
    untimed: bool,
    lines: Mutex<Vec<String>>,
    latencies: Mutex<Vec<Latencies>>,
    awaited: Mutex<Vec<DurabilityWait>>,
}

impl Log {
    fn note(&self, line: impl Into<String>) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.into());
    }

    /// What was told since this was last asked.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Log {
    fn refused(&self, refusal: &Refusal) {
        self.note(format!("refused {}", refusal.name()));
    }

    fn failed(&self, error: &Error) {
        self.note(format!("failed {}", error.kind().name()));
    }

    fn wants_acknowledged(&self) -> bool {
        !self.untimed
    }

    fn acknowledged(&self, latencies: &Latencies) {
        self.note(format!("acknowledged {}", latencies.count()));
        self.latencies.lock().expect("no panic").push(latencies.clone());
    }

    fn awaited(&self, awaited: &DurabilityWait) {
        self.awaited.lock().expect("no panic").push(*awaited);
    }

    fn flushed(&self, flush: &FlushStats) {
        self.note(format!("flushed {}", flush.mutations));
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
fn c7_a_caller_that_waits_for_room_is_refused_once_when_it_gives_up() {
    let (store, log) = logged(BufferOptions::default().max_pending_shapes(1));
    store.add(shape("h", 1), Wait::No).expect("room");
    assert!(store.add(shape("i", 2), Wait::UpTo(Duration::from_millis(1))).is_err());
    assert_eq!(log.take(), ["refused overloaded"]);
    assert!(store.get_or_add(&shape("i", 2), Wait::UpTo(Duration::ZERO)).is_err());
    assert_eq!(log.take(), ["refused overloaded"]);
    assert!(store.add(shape("i", 2), Wait::No).is_err());
    assert_eq!(log.take(), ["refused overloaded"]);
    assert!(store.add(shape("h", 2), Wait::UpTo(PATIENT)).is_err());
    assert_eq!(log.take(), ["refused duplicate_handle"], "no room is not what is wrong with it");
}

#[test]
fn c7_who_has_got_room_in_the_end_was_never_refused() {
    let (store, log) = logged(BufferOptions::default().max_pending_shapes(1));
    store.add(shape("h", 1), Wait::No).expect("room");
    let waiting = |since| AttemptContext { first_tried: since, is_final: false };
    let add = Mutation::Add(shape("i", 2));
    let outcome = store.attempt(&add, waiting(None));
    assert!(matches!(outcome, Err(MutateError::Refused(Refusal::Overloaded { .. }))), "{outcome:?}");
    assert!(store.attempt_get_or_add(&shape("i", 2), waiting(None)).is_err());
    assert!(log.take().is_empty());
    store.flush_once().expect("memory does not fail");
    let long_ago = Instant::now().checked_sub(Duration::from_secs(5)).expect("the clock is older than that");
    store.attempt(&add, waiting(Some(long_ago))).expect("room");
    store.flush_once().expect("memory does not fail");
    assert_eq!(log.take(), ["acknowledged 1", "flushed 1", "acknowledged 1", "flushed 1"]);
    let told = log.latencies.lock().expect("no panic");
    assert!(told[0].quantile(1.0) < Duration::from_secs(4), "{told:?}");
    assert!(told[1].quantile(1.0) > Duration::from_secs(4), "the wait for room is in it: {told:?}");
}

#[test]
fn how_long_mutations_took_is_told_once_a_flush_also_if_that_fails() {
    let (store, log) = logged(BufferOptions::default());
    store.add(shape("h", 1), Wait::No).expect("room");
    store.mark_snapshot_started("h", Wait::No).expect("live");
    store.mark_snapshot_started("h", Wait::No).expect("so already");
    store.reset(Wait::No).expect("room");
    store.add(shape("i", 2), Wait::No).expect("room");
    store.inner().faults().fail_applies(2, ErrorKind::StorageFull, Side::Before);
    for _ in 0..3 {
        let _ = store.flush_once();
    }
    assert_eq!(log.take(), ["acknowledged 4", "flushed 4"]);
}

#[test]
fn where_nobody_wants_to_know_nothing_is_measured() {
    let log = Arc::new(Log { untimed: true, ..Log::default() });
    let store = over(BufferOptions::default(), Arc::clone(&log) as _);
    store.add(shape("h", 1), Wait::No).expect("room");
    store.flush_once().expect("memory does not fail");
    assert_eq!(log.take(), ["flushed 1"]);
}

#[test]
fn a_mutation_that_the_store_cannot_take_has_failed() {
    let (store, log) = logged(BufferOptions::default());
    store.inner().faults().fail_reads(1, ErrorKind::Io);
    assert!(store.add(shape("h", 1), Wait::No).is_err());
    assert_eq!(log.take(), ["failed io"]);
    store.close(PATIENT);
    assert!(store.add(shape("h", 1), Wait::UpTo(PATIENT)).is_err());
    assert_eq!(log.take(), ["failed closed"]);
}

#[test]
fn c6_waiting_for_a_receipt_is_told() {
    let (store, log) = logged(BufferOptions::default());
    let receipt = store.add(shape("h", 1), Wait::No).expect("room");
    let _ = receipt.wait_durable(Duration::from_millis(1));
    store.flush_once().expect("memory does not fail");
    receipt.wait_durable(PATIENT).expect("written");
    let awaited = log.awaited.lock().expect("no panic");
    assert_eq!(awaited.iter().map(|one| one.error).collect::<Vec<_>>(), [Some("timed_out"), None]);
    assert!(awaited[0].took >= Duration::from_millis(1), "{awaited:?}");
}

/// Panics at the n-th thing that it is told.
struct Panics {
    at: usize,
    told: AtomicUsize,
}

impl Panics {
    fn tell(&self) {
        if self.told.fetch_add(1, Ordering::Relaxed) == self.at {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}

impl Observer for Panics {
    fn begin(&self, _: Activity<'_>) -> Option<Box<dyn Span>> {
        self.tell();
        None
    }

    fn wants_acknowledged(&self) -> bool {
        true
    }

    fn acknowledged(&self, _: &Latencies) {
        self.tell();
    }

    fn wants_committed(&self) -> bool {
        self.tell();
        true
    }

    fn committed(&self, _: &Change) {
        self.tell();
    }

    fn flushed(&self, _: &FlushStats) {
        self.tell();
    }
}

/// An observer that panicked as a flush began took the batch with it: the next flush replaced the sealed generation,
/// and what was in it was lost though acknowledged.
#[test]
fn c9_a_panic_of_an_observer_loses_nothing_of_the_flush_that_it_observes() {
    for at in 0..7 {
        let store = over(BufferOptions::default(), Arc::new(Panics { at, told: AtomicUsize::new(0) }));
        let first = store.add(shape("h", 1), Wait::No).expect("room");
        store.add(shape("i", 2), Wait::No).expect("room");
        let flush = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.flush_once()));
        let panicked = flush().is_err();
        assert_eq!(panicked, at < 6, "{at}: two begins, then two commits and the end of it");
        store.add(shape("j", 3), Wait::No).expect("room");
        for _ in 0..2 {
            let _ = flush();
        }
        assert_eq!(store.pending().mutations, 0, "{at}");
        assert!(first.is_durable());
        assert_eq!(handles(store.inner().inner()), ["h", "i", "j"], "{at}");
        assert!(store.has_handle("h").expect("memory does not fail"));
    }
}
