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
    reporter.watch(MetricsObserver::named(stack), move || weak.upgrade());
    store
}

/// Returns the recorded health state of each stack.
fn states(run: impl FnOnce()) -> Vec<String> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, run);
    let states = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let label = |name| key.key().labels().find(|label| label.key() == name).map(|label| label.value());
        let is_set = matches!(value, DebugValue::Gauge(value) if *value == 1.0);
        (is_set && key.key().name() == "shape_meta.health")
            .then(|| format!("{} {}", label("stack").expect("a stack"), label("state").expect("a state")))
    });
    let mut states: Vec<_> = states.collect();
    states.sort();
    states
}

#[test]
fn each_store_is_reported_until_it_is_closed_or_dropped() {
    let reporter = Reporter::default();
    assert!(states(|| reporter.record()).is_empty(), "a store that is not open yet has no gauges");
    let (one, other) = (watched(&reporter, "one"), watched(&reporter, "other"));
    assert_eq!(states(|| reporter.record()), ["one ready", "other ready"]);
    one.close(Duration::ZERO);
    assert_eq!(states(|| reporter.record()), ["one closed", "other ready"]);
    assert_eq!(states(|| reporter.record()), ["other ready"], "a closed store is reported once");
    drop((one, other));
    assert_eq!(states(|| reporter.record()), ["other closed"], "once more");
    assert!(states(|| reporter.record()).is_empty(), "and then never again");
}

#[test]
fn a_store_is_not_kept_open() {
    let reporter = Reporter::default();
    let store = watched(&reporter, "main");
    reporter.record();
    assert_eq!(Arc::strong_count(&store), 1);
}

#[test]
fn a_store_reopened_under_its_name_replaces_the_old_one() {
    let reporter = Reporter::default();
    drop(watched(&reporter, "main"));
    let _again = watched(&reporter, "main");
    assert_eq!(states(|| reporter.record()), ["main ready"]);
}

/// Without names the maximum counts, and with one each has its own gauge. One that is gone leaves
/// zero.
#[test]
fn c16_the_staleness_of_standbys_is_reported() {
    let reporter = Reporter::default();
    let of_standby = |observer: MetricsObserver, seconds: &'static [u64]| {
        let mut left = seconds.iter().copied().map(Duration::from_secs);
        reporter.watch_standby(observer, move || left.next());
    };
    of_standby(MetricsObserver::new(), &[3, 1]);
    of_standby(MetricsObserver::new(), &[2, 7]);
    of_standby(MetricsObserver::named("one"), &[5]);
    let recorded = || {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || reporter.record());
        let all = snapshotter.snapshot().into_vec().into_iter();
        let mut gauges: Vec<_> = all
            .filter(|(key, ..)| key.key().name() == "shape_meta.standby.staleness")
            .map(|(key, _, _, value)| {
                let DebugValue::Gauge(value) = value else { panic!("not a gauge: {key:?}") };
                (key.key().labels().next().map(|label| label.value().to_owned()), *value)
            })
            .collect();
        gauges.sort_by(|one, other| one.0.cmp(&other.0));
        gauges
    };
    let one = || Some("one".to_owned());
    assert_eq!(recorded(), [(None, 3.0), (one(), 5.0)]);
    assert_eq!(recorded(), [(None, 7.0), (one(), 0.0)]);
    assert_eq!(recorded(), [(None, 0.0)]);
}

#[test]
fn a_source_can_be_added_while_others_are_called() {
    let reporter = Reporter::default();
    let added = Arc::new(Mutex::new(0));
    let (reporter_clone, of_source) = (reporter.clone(), Arc::clone(&added));
    reporter.add(move || {
        let count = Arc::clone(&of_source);
        reporter_clone.add(move || {
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
fn the_thread_records_repeatedly_until_it_is_dropped() {
    let reporter = Reporter::default();
    let (call, calls) = channel();
    reporter.add(move || call.send(()).is_ok());
    let thread = reporter.every(Duration::from_millis(1)).expect("a thread");
    for _ in 0..3 {
        calls.recv_timeout(Duration::from_secs(60)).expect("it is called");
    }
    drop(thread);
    while calls.try_recv().is_ok() {}
    assert_eq!(
        calls.try_recv(),
        Err(mpsc::TryRecvError::Empty),
        "the thread has ended, the reporter has not"
    );
    reporter.record();
    assert!(calls.try_recv().is_ok());
}

/// An interval of nothing does not keep a processor busy, and one without an end can be stopped.
#[test]
fn c7_extreme_intervals_neither_spin_nor_panic() {
    let reporter = Reporter::default();
    let count = Arc::new(Mutex::new(0_u32));
    let counted = Arc::clone(&count);
    reporter.add(move || {
        *counted.lock().expect("no panic") += 1;
        true
    });
    let started = std::time::Instant::now();
    let thread = reporter.every(Duration::ZERO).expect("a thread");
    while *count.lock().expect("no panic") < 5 {
        std::thread::yield_now();
    }
    assert!(started.elapsed() >= Duration::from_millis(5), "{:?}", started.elapsed());
    drop(thread);
    let thread = reporter.every(Duration::MAX).expect("a thread");
    drop(thread);
}
