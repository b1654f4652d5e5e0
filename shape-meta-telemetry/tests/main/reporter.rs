//! The gauges of many stores, without a thread for each.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, channel},
    },
    time::Duration,
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use shape_meta_core::{Direct, Limits, MemoryStore, NoopObserver, StoreControl};
use shape_meta_telemetry::{MetricsObserver, Reporter};

fn store() -> Arc<Direct<MemoryStore>> {
    Arc::new(
        Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver))
            .expect("a store in memory"),
    )
}

fn watched(reporter: &Reporter, stack: &'static str) -> Arc<Direct<MemoryStore>> {
    let store = store();
    let weak = Arc::downgrade(&store);
    reporter.watch(MetricsObserver::new(stack), move || weak.upgrade());
    store
}

/// The state that each stack is told to be in.
fn states(run: impl FnOnce()) -> Vec<String> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, run);
    let told = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let label = |name| key.key().labels().find(|label| label.key() == name).map(|label| label.value());
        let is_so = matches!(value, DebugValue::Gauge(value) if *value == 1.0);
        (is_so && key.key().name() == "shape_meta.health")
            .then(|| format!("{} {}", label("stack").expect("a stack"), label("state").expect("a state")))
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

#[test]
fn each_store_is_told_of_while_it_is_there() {
    let reporter = Reporter::default();
    assert!(states(|| reporter.record()).is_empty(), "a store that is not open yet says nothing");
    let (one, other) = (watched(&reporter, "one"), watched(&reporter, "other"));
    assert_eq!(states(|| reporter.record()), ["one ready", "other ready"]);
    one.close(Duration::ZERO);
    assert_eq!(states(|| reporter.record()), ["one closed", "other ready"]);
    drop((one, other));
    assert_eq!(states(|| reporter.record()), ["one closed", "other closed"], "once more");
    assert!(states(|| reporter.record()).is_empty(), "and then never");
}

#[test]
fn a_store_is_not_kept_open() {
    let reporter = Reporter::default();
    let store = watched(&reporter, "main");
    reporter.record();
    assert_eq!(Arc::strong_count(&store), 1);
}

#[test]
fn one_that_is_opened_again_under_its_name_is_the_one_that_counts() {
    let reporter = Reporter::default();
    drop(watched(&reporter, "main"));
    let _again = watched(&reporter, "main");
    assert_eq!(states(|| reporter.record()), ["main ready"]);
}

#[test]
fn one_may_be_added_while_others_are_asked() {
    let reporter = Reporter::default();
    let added = Arc::new(Mutex::new(0));
    let (of_reporter, of_source) = (reporter.clone(), Arc::clone(&added));
    reporter.add(move || {
        let count = Arc::clone(&of_source);
        of_reporter.add(move || {
            *count.lock().expect("no panic") += 1;
            true
        });
        false
    });
    for expected in 0..3 {
        reporter.record();
        assert_eq!(*added.lock().expect("no panic"), expected);
    }
}

#[test]
fn a_source_that_panics_does_not_silence_the_others() {
    let reporter = Reporter::default();
    reporter.add(|| std::panic::resume_unwind(Box::new("on purpose")));
    let _store = watched(&reporter, "main");
    for _ in 0..2 {
        assert_eq!(states(|| reporter.record()), ["main ready"]);
    }
}

#[test]
fn the_thread_asks_again_and_again_until_it_is_dropped() {
    let reporter = Reporter::default();
    let (asked, asks) = channel();
    reporter.add(move || asked.send(()).is_ok());
    let thread = reporter.every(Duration::from_millis(1)).expect("a thread");
    for _ in 0..3 {
        asks.recv_timeout(Duration::from_secs(60)).expect("it asks");
    }
    drop(thread);
    while asks.try_recv().is_ok() {}
    assert_eq!(asks.try_recv(), Err(mpsc::TryRecvError::Empty), "the thread is gone, the reporter is not");
    reporter.record();
    assert!(asks.try_recv().is_ok());
}
