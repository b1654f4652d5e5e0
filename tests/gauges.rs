//! The gauges of every composition: right while it is open, while it closes, and when it is gone.

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

use shape_meta_harness::compositions::{ALL, Composition, Flushing, PATIENT, PRODUCT, sqlite};

/// What the gauges say: by name, with the label that tells two of one name apart.
fn gauges(reporter: &Reporter) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || reporter.record());
    let told = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let DebugValue::Gauge(value) = value else { panic!("not a gauge: {key:?}") };
        let key = key.key();
        let labels =
            key.labels().filter(|label| !matches!(label.key(), "stack" | "db.client.connection.pool.name"));
        let name = labels.fold(key.name().to_owned(), |name, label| format!("{name} {}", label.value()));
        (name, *value)
    });
    told.collect()
}

fn states(gauges: &BTreeMap<String, f64>) -> Vec<&str> {
    let states =
        gauges.iter().filter(|(name, value)| name.starts_with("shape_meta.health ") && **value == 1.0);
    states.map(|(name, _)| name.trim_start_matches("shape_meta.health ")).collect()
}

#[test]
fn every_composition_tells_what_it_holds_until_it_is_gone() {
    for composition in ALL {
        let (directory, reporter) = (tempdir().expect("a directory"), Reporter::default());
        let store = composition.open(directory.path());
        assert!(gauges(&reporter).is_empty(), "nothing is said before it is open");
        let weak = store.downgrade();
        reporter.watch(MetricsObserver::new("main"), move || weak.upgrade());
        for number in 0..5 {
            store.add(shape(number), Wait::No).expect("room");
        }
        let open = gauges(&reporter);
        assert_eq!(states(&open), ["ready"], "{composition:?}");
        let shapes = open["shape_meta.shapes true"] + open["shape_meta.shapes false"];
        assert_eq!(shapes, 5.0, "{composition:?}");
        assert!(open["db.client.connection.max"] > 1.0, "{composition:?}");
        assert!(open["db.client.connection.count idle"] + open["db.client.connection.count used"] >= 1.0);
        assert_eq!(open["shape_meta.cache.bytes"] > 0.0, composition.cache.is_some(), "{composition:?}");

        assert!(store.close(PATIENT).is_complete());
        let closed = gauges(&reporter);
        assert_eq!(states(&closed), ["closed"], "{composition:?}");
        assert_eq!(closed["shape_meta.pending.changes"], 0.0, "{composition:?}");

        drop(store);
        let gone = gauges(&reporter);
        assert_eq!(states(&gone), ["closed"], "{composition:?}");
        let told =
            gone.iter().filter(|(name, value)| **value != 0.0 && !name.starts_with("shape_meta.health"));
        assert_eq!(told.count(), 0, "{composition:?}: {gone:?}");
        assert!(gauges(&reporter).is_empty(), "and then never again");
    }
}

/// A write that hangs keeps the store from closing, and nobody from looking at it.
#[test]
fn the_gauges_wait_for_nobody_while_a_store_closes() {
    let (directory, reporter) = (tempdir().expect("a directory"), Reporter::default());
    let composition = PRODUCT.flushing(Flushing::Busy);
    let below = FailingStore::new(Arc::new(composition.below(directory.path())));
    let faults = below.faults().clone();
    let store = composition.builder().over(below).expect("it can be read");
    let weak = store.downgrade();
    reporter.watch(MetricsObserver::new("main"), move || weak.upgrade());

    let gate = faults.block_apply(Side::Before);
    store.add(shape(1), Wait::No).expect("room");
    gate.wait_until_blocked();
    store.add(shape(2), Wait::No).expect("room");
    thread::scope(|scope| {
        let closing = scope.spawn(|| store.close(PATIENT));
        let patience = Instant::now() + PATIENT;
        while !matches!(store.health().state, HealthState::Closing) && Instant::now() < patience {
            thread::yield_now();
        }
        let told = gauges(&reporter);
        assert_eq!(states(&told), ["closing"]);
        assert_eq!(told["shape_meta.pending.changes"], 2.0);
        assert!(told["shape_meta.pending.oldest_age"] > 0.0);
        drop(gate);
        assert!(closing.join().expect("no panic").is_complete());
    });
    let told = gauges(&reporter);
    assert_eq!((states(&told), told["shape_meta.pending.changes"]), (vec!["closed"], 0.0));
    drop(store);
    assert_eq!(states(&gauges(&reporter)), ["closed"]);
}

/// Sets the gauges all the time and looks whether what they say can be true, until it is told to stop.
struct Watcher {
    reporter: Reporter,
    rounds: AtomicU64,
    over: AtomicBool,
}

/// Shapes that a life of [`lives`] ever has.
const MOST: f64 = 30.0;

impl Watcher {
    fn watch(&self) {
        let mut before = None;
        while !self.over.load(Ordering::Relaxed) {
            let told = gauges(&self.reporter);
            let state = match &states(&told)[..] {
                [] => None,
                [state] => Some((*state).to_owned()),
                several => panic!("in {several:?} at once"),
            };
            let follows = match (before.as_deref(), state.as_deref()) {
                (None | Some("closed"), Some("ready")) | (Some("closed"), None) => true,
                (Some("ready"), Some("degraded")) | (Some("degraded"), Some("ready")) => true,
                (Some("ready" | "degraded"), Some("closing" | "closed")) => true,
                (Some("closing"), Some("closed")) => true,
                (before, after) => before == after,
            };
            assert!(follows, "{before:?}, and then {state:?}");
            before = state;

            let pending = told.get("shape_meta.pending.changes").copied().unwrap_or_default();
            let age = told.get("shape_meta.pending.oldest_age").copied().unwrap_or_default();
            assert!((0.0..=MOST).contains(&pending) && (0.0..60.0).contains(&age), "{told:?}");
            let shapes: f64 = ["true", "false"]
                .map(|indexed| told.get(&format!("shape_meta.shapes {indexed}")).copied().unwrap_or_default())
                .iter()
                .sum();
            assert!((0.0..=MOST).contains(&shapes), "{told:?}");
            let connections =
                |what: &str| told.get(&format!("db.client.connection.{what}")).copied().unwrap_or_default();
            let open = connections("count used") + connections("count idle");
            assert!(open <= connections("max"), "{told:?}");
            // Twice what there is room for would be a number that was below zero.
            assert!(connections("pending_requests") <= MOST, "{told:?}");
            self.rounds.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns when it has begun and ended a round since: so it waits for nothing that is under way.
    fn goes_on(&self) {
        let enough = self.rounds.load(Ordering::Acquire) + 2;
        let patience = Instant::now() + PATIENT;
        while self.rounds.load(Ordering::Acquire) < enough {
            assert!(Instant::now() < patience, "whoever sets the gauges waits for something");
            thread::yield_now();
        }
    }
}

/// A store is opened, worked with, hangs in a write, goes on, hangs while it closes, and goes; and then again.
fn lives(composition: Composition, watcher: &Watcher) {
    let directory = tempdir().expect("a directory");
    for life in 0..3 {
        let below = FailingStore::new(Arc::new(composition.below(directory.path())));
        let faults = below.faults().clone();
        let store = composition.over(below);
        watcher.goes_on();
        let weak = store.downgrade();
        watcher.reporter.watch(MetricsObserver::new("main"), move || weak.upgrade());
        let add =
            |number: u64| drop(store.add(shape(life * 10 + number), Wait::UpTo(PATIENT)).expect("room"));
        (0..5).for_each(add);
        watcher.goes_on();
        hangs(&faults, || add(5), || watcher.goes_on());
        (6..9).for_each(add);
        let add_and_close = || {
            add(9);
            assert!(store.close(PATIENT).is_complete());
        };
        hangs(&faults, add_and_close, || watcher.goes_on());
        watcher.goes_on();
        drop(store);
        watcher.goes_on();
    }
}

/// Does this while a write hangs that comes of it or is under way.
fn hangs(faults: &Faults, act: impl FnOnce() + Send, meanwhile: impl FnOnce()) {
    thread::scope(|scope| {
        // Opened also by a panic in here, or the scope would wait for ever.
        let gate = faults.block_apply(Side::Before);
        let acting = scope.spawn(act);
        gate.wait_until_blocked();
        meanwhile();
        drop(gate);
        acting.join().expect("no panic");
    });
}

#[test]
fn c10_the_gauges_are_right_all_the_time_and_wait_for_nobody() {
    for composition in ALL {
        let watcher = Watcher {
            reporter: Reporter::default(),
            rounds: AtomicU64::new(0),
            over: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            scope.spawn(|| watcher.watch());
            let lived = scope.spawn(|| lives(composition, &watcher)).join();
            watcher.over.store(true, Ordering::Relaxed);
            lived.unwrap_or_else(|_| panic!("{composition:?}"));
        });
    }
}

/// The same where the write hangs below, with the connection in use.
#[test]
fn the_gauges_do_not_wait_for_a_connection_that_hangs() {
    for composition in ALL {
        let (directory, reporter) = (tempdir().expect("a directory"), Reporter::default());
        let builder = ShapeMeta::builder(NoopCleaner).sqlite(sqlite().busy_timeout(PATIENT));
        let store = composition.stacked_by(builder).open(directory.path()).expect("a directory of our own");
        let weak = store.downgrade();
        reporter.watch(MetricsObserver::new("main"), move || weak.upgrade());

        let stranger =
            rusqlite::Connection::open(directory.path().join("shape-meta.sqlite3")).expect("a file");
        stranger.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        thread::scope(|scope| {
            scope.spawn(|| store.add(shape(1), Wait::No).expect("it waits for the stranger"));
            // An add may read before it writes, and such a read has its connection for a moment only. A gauge that
            // waited would wait until it is rolled back.
            let is_used = || gauges(&reporter)["db.client.connection.count used"] == 1.0;
            let patience = Instant::now() + PATIENT;
            while !(0..3).all(|_| is_used()) {
                assert!(Instant::now() < patience, "{composition:?}");
                thread::yield_now();
            }
            stranger.execute_batch("ROLLBACK").expect("it was begun");
        });
        assert!(store.close(PATIENT).is_complete());
    }
}

#[test]
fn who_is_shed_is_told_how_much_is_pending_and_how_fast_it_is_written() {
    let directory = tempdir().expect("a directory");
    let store = PRODUCT.flushing(Flushing::Stepped).open(directory.path());
    let weak = store.downgrade();
    (0..4).for_each(|number| drop(store.add(shape(number), Wait::No).expect("room")));
    assert_eq!(weak.drain(), Drain { pending: 4, per_second: 0.0 });
    store.flush(PATIENT).expect("it is written");
    let drain = weak.drain();
    assert!(drain.pending == 0 && drain.per_second > 0.0, "{drain:?}");
    drop(store);
    assert_eq!(weak.drain(), Drain::default());
}
