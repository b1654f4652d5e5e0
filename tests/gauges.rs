//! The gauges of every composition: right while it is open, while it closes, and when it is gone.

use std::{collections::BTreeMap, sync::Arc, thread, time::Instant};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use shape_meta::{
    ControlWrites, HealthState, MetricsObserver, MutateShapesExt, Reporter, Wait,
    conformance::{FailingStore, Side, shape},
};
use tempfile::tempdir;

use crate::compositions::{ALL, Flushing, PATIENT, PRODUCT};

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
