//! The gauges of every composition: they are right while a store is open, while it closes, and after it is
//! dropped.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use shape_meta::{
    HealthState, MetricsObserver, MutateShapesExt, NoopCleaner, Reporter, ShapeMeta, StoreControl, Wait,
    admission::{Drain, DrainRate},
};
use shape_meta_core::conformance::{FailingStore, Faults, Side, shape};
use tempfile::tempdir;

use shape_meta_harness::compositions::{ALL, Composition, FlushSchedule, PRODUCT, TIMEOUT, sqlite};

/// Returns the gauges by name and by the label that distinguishes gauges of one name.
fn gauges(reporter: &Reporter) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || reporter.record());
    let values = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let DebugValue::Gauge(value) = value else { panic!("not a gauge: {key:?}") };
        let key = key.key();
        let labels =
            key.labels().filter(|label| !matches!(label.key(), "stack" | "db.client.connection.pool.name"));
        let name = labels.fold(key.name().to_owned(), |name, label| format!("{name} {}", label.value()));
        (name, *value)
    });
    values.collect()
}

fn states(gauges: &BTreeMap<String, f64>) -> Vec<&str> {
    let states =
        gauges.iter().filter(|(name, value)| name.starts_with("shape_meta.health ") && **value == 1.0);
    states.map(|(name, _)| name.trim_start_matches("shape_meta.health ")).collect()
}

#[test]
fn every_composition_reports_its_gauges_until_it_is_closed() {
    for composition in ALL {
        let (directory, reporter) = (tempdir().expect("a directory"), Reporter::default());
        let store = composition.open(directory.path());
        assert!(gauges(&reporter).is_empty(), "there are no gauges before it is watched");
        let weak = store.downgrade();
        reporter.watch(MetricsObserver::named("main"), move || weak.upgrade());
        for number in 0..5 {
            store.add(shape(number), Wait::No).expect("there is capacity");
        }
        let open = gauges(&reporter);
        assert_eq!(states(&open), ["ready"], "{composition:?}");
        let shapes = open["shape_meta.shapes true"] + open["shape_meta.shapes false"];
        assert_eq!(shapes, 5.0, "{composition:?}");
        assert!(open["db.client.connection.max"] > 1.0, "{composition:?}");
        assert!(open["db.client.connection.count idle"] + open["db.client.connection.count used"] >= 1.0);
        assert_eq!(open["shape_meta.cache.bytes"] > 0.0, composition.cache.is_some(), "{composition:?}");
        assert!(open["shape_meta.database.bytes"] > 0.0, "{composition:?}");
        assert_eq!(open["shape_meta.cleanup.tasks"], 0.0, "{composition:?}");
        store.flush(TIMEOUT).expect("it is written");
        let size = |name| std::fs::metadata(directory.path().join(name)).expect("it is there").len() as f64;
        let written = gauges(&reporter);
        assert_eq!(written["shape_meta.database.bytes"], size("shape-meta.sqlite3"), "{composition:?}");
        assert_eq!(written["shape_meta.wal.bytes"], size("shape-meta.sqlite3-wal"), "{composition:?}");
        assert!(written["shape_meta.wal.bytes"] > 0.0, "{composition:?}");

        assert!(store.close(TIMEOUT).is_complete());
        let closed = gauges(&reporter);
        assert_eq!(states(&closed), ["closed"], "{composition:?}");
        let values =
            closed.iter().filter(|(name, value)| **value != 0.0 && !name.starts_with("shape_meta.health"));
        assert_eq!(values.count(), 0, "{composition:?}: {closed:?}");
        assert!(gauges(&reporter).is_empty(), "the closed state is reported once");
        drop(store);
        assert!(gauges(&reporter).is_empty(), "and not again");
    }
}

/// A hanging write delays the close of a store, but not its gauges.
#[test]
fn gauges_do_not_wait_for_a_store_that_closes() {
    let (directory, reporter) = (tempdir().expect("a directory"), Reporter::default());
    let composition = PRODUCT.with_flush_schedule(FlushSchedule::Continuous);
    let below = FailingStore::new(Arc::new(composition.open_sqlite(directory.path())));
    let faults = below.faults().clone();
    let store = composition.builder().over(below).expect("it can be read");
    let weak = store.downgrade();
    reporter.watch(MetricsObserver::named("main"), move || weak.upgrade());

    let gate = faults.block_apply(Side::Before);
    store.add(shape(1), Wait::No).expect("there is capacity");
    gate.wait_until_blocked();
    store.add(shape(2), Wait::No).expect("there is capacity");
    thread::scope(|scope| {
        let closing = scope.spawn(|| store.close(TIMEOUT));
        let deadline = Instant::now() + TIMEOUT;
        while !matches!(store.health().state, HealthState::Closing) && Instant::now() < deadline {
            thread::yield_now();
        }
        let values = gauges(&reporter);
        assert_eq!(states(&values), ["closing"]);
        assert_eq!(values["shape_meta.pending.shapes"], 2.0);
        assert!(values["shape_meta.pending.oldest_age"] > 0.0);
        drop(gate);
        assert!(closing.join().expect("no panic").is_complete());
    });
    let values = gauges(&reporter);
    assert_eq!((states(&values), values["shape_meta.pending.shapes"]), (vec!["closed"], 0.0));
    drop(store);
    assert!(gauges(&reporter).is_empty());
}

/// Records the gauges constantly and checks that their values are possible, until `over` is set.
struct Watcher {
    reporter: Reporter,
    rounds: AtomicU64,
    over: AtomicBool,
}

/// The upper bound on the shapes of one [`run_lives`] call.
const MAX_SHAPES: f64 = 30.0;

impl Watcher {
    fn watch(&self) {
        let mut before = None;
        while !self.over.load(Ordering::Relaxed) {
            let values = gauges(&self.reporter);
            let state = match &states(&values)[..] {
                [] => None,
                [state] => Some((*state).to_owned()),
                several => panic!("several states at once: {several:?}"),
            };
            let is_valid = match (before.as_deref(), state.as_deref()) {
                (None | Some("closed"), Some("ready")) | (Some("closed"), None) => true,
                (Some("ready"), Some("degraded")) | (Some("degraded"), Some("ready")) => true,
                (Some("ready" | "degraded"), Some("closing" | "closed")) => true,
                (Some("closing"), Some("closed")) => true,
                (before, after) => before == after,
            };
            assert!(is_valid, "state {state:?} after {before:?}");
            before = state;

            let pending = values.get("shape_meta.pending.shapes").copied().unwrap_or_default();
            let age = values.get("shape_meta.pending.oldest_age").copied().unwrap_or_default();
            assert!((0.0..=MAX_SHAPES).contains(&pending) && (0.0..60.0).contains(&age), "{values:?}");
            let shapes: f64 = ["true", "false"]
                .map(|indexed| {
                    values.get(&format!("shape_meta.shapes {indexed}")).copied().unwrap_or_default()
                })
                .iter()
                .sum();
            assert!((0.0..=MAX_SHAPES).contains(&shapes), "{values:?}");
            let connections =
                |what: &str| values.get(&format!("db.client.connection.{what}")).copied().unwrap_or_default();
            let open = connections("count used") + connections("count idle");
            assert!(open <= connections("max"), "{values:?}");
            // A number that had dropped below zero would be far above this bound.
            assert!(connections("pending_requests") <= MAX_SHAPES, "{values:?}");
            self.rounds.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns after a whole round of the watcher that began after this call. So the watcher is not blocked.
    fn wait_for_a_round(&self) {
        let target = self.rounds.load(Ordering::Acquire) + 2;
        let deadline = Instant::now() + TIMEOUT;
        while self.rounds.load(Ordering::Acquire) < target {
            assert!(Instant::now() < deadline, "recording the gauges is blocked");
            thread::yield_now();
        }
    }
}

/// Runs three lives of a store: it is opened, used, hangs in a write, resumes, hangs while it closes, and is
/// dropped.
fn run_lives(composition: Composition, watcher: &Watcher) {
    let directory = tempdir().expect("a directory");
    for life in 0..3 {
        let below = FailingStore::new(Arc::new(composition.open_sqlite(directory.path())));
        let faults = below.faults().clone();
        let store = composition.over(below);
        watcher.wait_for_a_round();
        let weak = store.downgrade();
        watcher.reporter.watch(MetricsObserver::named("main"), move || weak.upgrade());
        let add = |number: u64| {
            drop(store.add(shape(life * 10 + number), Wait::UpTo(TIMEOUT)).expect("there is capacity"))
        };
        (0..5).for_each(add);
        watcher.wait_for_a_round();
        while_a_write_hangs(&faults, || add(5), || watcher.wait_for_a_round());
        (6..9).for_each(add);
        let add_and_close = || {
            add(9);
            assert!(store.close(TIMEOUT).is_complete());
        };
        while_a_write_hangs(&faults, add_and_close, || watcher.wait_for_a_round());
        watcher.wait_for_a_round();
        drop(store);
        watcher.wait_for_a_round();
    }
}

/// Runs `act`, and `meanwhile` while a write of `act` hangs.
fn while_a_write_hangs(faults: &Faults, act: impl FnOnce() + Send, meanwhile: impl FnOnce()) {
    thread::scope(|scope| {
        // A panic here also releases the gate. Otherwise the scope would never end.
        let gate = faults.block_apply(Side::Before);
        let acting = scope.spawn(act);
        gate.wait_until_blocked();
        meanwhile();
        drop(gate);
        acting.join().expect("no panic");
    });
}

#[test]
fn c10_gauges_are_always_right_and_never_wait() {
    for composition in ALL {
        let watcher = Watcher {
            reporter: Reporter::default(),
            rounds: AtomicU64::new(0),
            over: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            scope.spawn(|| watcher.watch());
            let lived = scope.spawn(|| run_lives(composition, &watcher)).join();
            watcher.over.store(true, Ordering::Relaxed);
            lived.unwrap_or_else(|_| panic!("{composition:?}"));
        });
    }
}

/// The same with a write that hangs in SQLite and uses a connection.
#[test]
fn gauges_do_not_wait_for_a_hanging_connection() {
    for composition in ALL {
        let (directory, reporter) = (tempdir().expect("a directory"), Reporter::default());
        let builder = ShapeMeta::builder(NoopCleaner).sqlite(sqlite().busy_timeout(TIMEOUT));
        let store = composition.apply_to(builder).open(directory.path()).expect("a directory of our own");
        let weak = store.downgrade();
        reporter.watch(MetricsObserver::named("main"), move || weak.upgrade());

        let other_connection =
            rusqlite::Connection::open(directory.path().join("shape-meta.sqlite3")).expect("a file");
        other_connection.execute_batch("BEGIN IMMEDIATE").expect("there is no other writer");
        thread::scope(|scope| {
            scope.spawn(|| store.add(shape(1), Wait::No).expect("it waits for the other connection"));
            // An add may read before it writes, and such a read uses its connection only briefly. Three
            // samples in a row show the write. A gauge that waited would deadlock with the rollback below.
            let is_used = || gauges(&reporter)["db.client.connection.count used"] == 1.0;
            let deadline = Instant::now() + TIMEOUT;
            while !(0..3).all(|_| is_used()) {
                assert!(Instant::now() < deadline, "{composition:?}");
                thread::yield_now();
            }
            other_connection.execute_batch("ROLLBACK").expect("it was begun");
        });
        assert!(store.close(TIMEOUT).is_complete());
    }
}

#[test]
fn a_shed_request_learns_the_backlog_and_its_drain_rate() {
    let directory = tempdir().expect("a directory");
    let store = PRODUCT.with_flush_schedule(FlushSchedule::Manual).open(directory.path());
    let weak = store.downgrade();
    (0..4).for_each(|number| drop(store.add(shape(number), Wait::No).expect("there is capacity")));
    assert_eq!(weak.drain(), Drain { pending: 4, per_second: 0.0 });
    store.flush(TIMEOUT).expect("it is written");
    let drain = weak.drain();
    assert!(drain.pending == 0 && drain.per_second > 0.0, "{drain:?}");
    drop(store);
    assert_eq!(weak.drain(), Drain::default());
}
