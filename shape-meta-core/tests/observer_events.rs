//! The events that the direct composition emits, and the health that it reports.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use shape_meta_core::{
    Activity, Change, CloseReport, Counts, Degradation, Direct, DurabilityWait, Error, ErrorKind, FlushStats,
    HealthState, Latencies, Limits, MemoryStore, MutateShapesExt, NoopObserver, Observer, Pending, Refusal,
    Span, StoreControl, Wait,
    conformance::{FailingStore, Side, handle, shape, store::record},
};

#[derive(Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, line: String) {
        self.0.lock().expect("no thread panics while it holds the lock").push(line);
    }
}

struct LogSpan(Arc<Mutex<Vec<String>>>);

impl Span for LogSpan {
    fn end(self: Box<Self>, error: Option<&Error>) {
        let how = if error.is_some() { "failed" } else { "done" };
        self.0.lock().expect("no thread panics while it holds the lock").push(how.to_owned());
    }
}

impl Observer for Log {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        self.note(match activity {
            Activity::Flush { changes, bytes } => format!("flush of {changes} with {bytes} bytes"),
            other => other.name().to_owned(),
        });
        Some(Box::new(LogSpan(Arc::clone(&self.0))))
    }

    fn flushed(&self, flush: &FlushStats) {
        assert_eq!((flush.mutations, flush.changes, flush.oldest), (1, 1, flush.took));
        self.note("flushed".to_owned());
    }

    fn refused(&self, refusal: &Refusal) {
        self.note(format!("refused {}", refusal.name()));
    }

    fn failed(&self, error: &Error) {
        self.note(format!("failed {}", error.kind().name()));
    }

    fn wants_acknowledged(&self) -> bool {
        true
    }

    fn acknowledged(&self, latencies: &Latencies) {
        self.note(format!("acknowledged {}", latencies.count()));
    }

    fn awaited(&self, awaited: &DurabilityWait) {
        self.note(format!("awaited {:?}", awaited.error));
    }

    fn stopped(&self, error: &Error) {
        self.note(format!("stopped {}", error.kind().name()));
    }

    fn wants_committed(&self) -> bool {
        true
    }

    fn committed(&self, change: &Change) {
        self.note(format!("committed {}", change.name()));
    }
}

fn flush_of_an_add() -> String {
    format!("flush of 1 with {} bytes", record(&shape(1), 1).memory())
}

type Store = Direct<FailingStore<MemoryStore>>;

fn logged() -> (Store, impl Fn() -> Vec<String>) {
    let log = Log::default();
    let lines = Arc::clone(&log.0);
    let below = FailingStore::new(MemoryStore::new());
    let store = Direct::new(below, Limits::default(), Arc::new(log)).expect("memory does not fail");
    (store, move || std::mem::take(&mut *lines.lock().expect("no thread panics while it holds the lock")))
}

#[test]
fn each_change_is_a_flush_of_its_own() {
    let (store, events) = logged();
    let receipt = store.add(shape(1), Wait::No).expect("the shape is new");
    assert_eq!(events(), [&*flush_of_an_add(), "done", "committed add", "flushed", "acknowledged 1"]);
    receipt.wait_durable(Duration::ZERO).expect("the mutation is durable");
    assert_eq!(events(), ["awaited None"]);
    store.get_or_add(&shape(1), Wait::No).expect("the shape is found");
    assert!(events().is_empty(), "the call changed nothing");
    assert!(store.add(shape(1), Wait::No).is_err());
    assert_eq!(events(), ["refused duplicate_key"]);
    store.remove(&handle(1), Wait::No).expect("the shape is live");
    assert_eq!(events()[0], "flush of 1 with 0 bytes", "a removal shares the existing entry");
}

#[test]
fn c9_failures_are_emitted_and_reported_by_health() {
    let (store, events) = logged();
    store.inner().faults().fail_applies(2, ErrorKind::StorageFull, Side::Before);
    for failures in 1..=2 {
        assert!(store.add(shape(1), Wait::No).is_err());
        assert_eq!(events(), [&*flush_of_an_add(), "failed", "failed storage_full"]);
        match store.health().state {
            HealthState::Degraded { why: Degradation::Failing { failures: counted, error }, .. } => {
                assert_eq!((counted, error.kind()), (failures, ErrorKind::StorageFull));
            }
            other => panic!("{other:?}"),
        }
    }
    store.add(shape(1), Wait::No).expect("no fault is left");
    let health = store.health();
    assert!(health.is_ready() && matches!(health.state, HealthState::Ready), "{health:?}");
    assert_eq!(health.last_error.map(|last| last.error.kind()), Some(ErrorKind::StorageFull));
}

#[test]
fn c9_mutations_without_a_write_do_not_change_health() {
    let (store, _) = logged();
    store.add(shape(1), Wait::No).expect("the shape is new");
    store.inner().faults().fail_applies(1, ErrorKind::StorageFull, Side::Before);
    assert!(store.add(shape(2), Wait::No).is_err());
    assert!(!store.get_or_add(&shape(1), Wait::No).expect("the shape is found").added);
    let state = store.health().state;
    assert!(matches!(state, HealthState::Degraded { .. }), "no write succeeded since: {state:?}");
    store.add(shape(2), Wait::No).expect("no fault is left");
    assert!(matches!(store.health().state, HealthState::Ready));
}

#[test]
fn c10_close_is_emitted_once() {
    let (store, events) = logged();
    store.close(Duration::from_secs(60));
    assert_eq!(events(), ["close", "save_reads", "done", "done"]);
    store.close(Duration::ZERO);
    assert!(events().is_empty());
}

#[test]
fn c11_the_stop_of_a_fenced_owner_is_emitted_once() {
    let (store, events) = logged();
    store.inner().faults().fail_applies(2, ErrorKind::Fenced, Side::Before);
    assert!(store.add(shape(1), Wait::No).is_err());
    assert_eq!(events(), [&*flush_of_an_add(), "failed", "failed fenced", "stopped fenced"]);
    assert!(store.add(shape(1), Wait::No).is_err());
    assert_eq!(events(), [&*flush_of_an_add(), "failed", "failed fenced"]);
    let health = store.health();
    assert!(matches!(health.state, HealthState::Fenced { .. }), "{health:?}");
    assert!(!health.is_ready() && !health.is_live());
    store.close(Duration::from_secs(60));
    events();
    assert!(store.add(shape(1), Wait::No).is_err());
    assert_eq!(events(), ["failed closed"]);
}

#[test]
fn c9_a_stop_after_a_repair_is_emitted_again() {
    let (store, events) = logged();
    for _ in 0..2 {
        store.inner().faults().fail_applies(1, ErrorKind::Corrupt, Side::Before);
        assert!(store.add(shape(1), Wait::No).is_err());
        assert_eq!(events().last().map(String::as_str), Some("stopped corrupt"));
        store.repair().expect("the repair succeeds");
        assert!(matches!(store.health().state, HealthState::Ready));
    }
}

#[test]
fn c10_health_reports_closing_and_then_closed() {
    let (store, _) = logged();
    let gate = store.inner().faults().block_apply(Side::Before);
    thread::scope(|scope| {
        let adding = scope.spawn(|| store.add(shape(1), Wait::No).is_ok());
        gate.wait_until_blocked();
        let closing = scope.spawn(|| store.close(Duration::from_secs(60)));
        while !matches!(store.health().state, HealthState::Closing) {
            thread::yield_now();
        }
        gate.release();
        assert!(adding.join().expect("no thread panics"));
        assert!(closing.join().expect("no thread panics").is_complete());
    });
    assert!(matches!(store.health().state, HealthState::Closed));
    let refused = store.repair().expect_err("the store is closed");
    assert_eq!(refused.kind(), ErrorKind::Closed);
}

#[test]
fn c10_a_report_is_complete_if_everything_was_written() {
    assert!(CloseReport { flushed: 7, ..CloseReport::default() }.is_complete());
    assert!(!CloseReport { unwritten: 1, ..CloseReport::default() }.is_complete());
}

#[test]
fn the_noop_observer_costs_nothing() {
    assert!(!NoopObserver.wants_acknowledged() && !NoopObserver.wants_committed());
    assert!(NoopObserver.begin(Activity::Recovery).is_none());
}

#[test]
fn coalesced_counts_mutations_without_a_change() {
    let coalesced =
        |mutations, changes| FlushStats { mutations, changes, ..FlushStats::default() }.coalesced();
    assert_eq!([coalesced(7, 4), coalesced(2, 2), coalesced(1, 2)], [3, 0, 0]);
}

#[test]
fn usage_reports_values_for_gauges() {
    let (store, _) = logged();
    for number in 1..=3 {
        store.add(shape(number), Wait::No).expect("the shape is new");
    }
    assert_eq!(store.usage().shapes, Some(Counts { total: 3, indexed: 1 }));
    assert_eq!((store.drain_rate(), store.pending()), (0.0, Pending::default()));
}

#[test]
fn c9_health_reads_as_a_sentence() {
    let (store, _) = logged();
    assert_eq!(store.health().to_string(), "ready");
    store.inner().faults().fail_applies(1, ErrorKind::Corrupt, Side::Before);
    let _ = store.add(shape(1), Wait::No);
    let health = store.health();
    assert!(health.to_string().starts_with("stopped: "), "{health}");
    assert!(!health.is_ready() && health.is_live(), "its memory may hold mutations that the file does not");
    let names = [HealthState::Ready, health.state.clone(), HealthState::Closing, HealthState::Closed];
    assert!(names.iter().all(|state| HealthState::NAMES.contains(&state.name())));
}
