//! The metric series of a process that opens and closes many stores, with the exporter of Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use metrics_util::MetricKindMask;
use shape_meta::{
    MetricsObserver, MutateShapesExt, NoopCleaner, ReadShapes, Reporter, ShapeMeta, StoreControl, Wait,
};
use shape_meta_core::conformance::shape;
use tempfile::tempdir;

use shape_meta_harness::compositions::{FlushSchedule, PRODUCT, TIMEOUT, sqlite};

const STORES: u64 = 200;

fn exporter(idle_timeout: Option<Duration>) -> PrometheusRecorder {
    let mut exporter = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .idle_timeout(MetricKindMask::ALL, idle_timeout);
    for (name, bounds) in MetricsObserver::histograms() {
        exporter =
            exporter.set_buckets_for_metric(Matcher::Full(name.into()), bounds).expect("it has bounds");
    }
    exporter.build_recorder()
}

/// Opens a store, which is watched, and uses it. Its flushes run on this thread, which has the recorder.
fn open_and_use(directory: &Path, observer: &MetricsObserver, reporter: &Reporter) -> ShapeMeta {
    let builder = ShapeMeta::builder(NoopCleaner).observer(Arc::new(observer.clone())).sqlite(sqlite());
    let composition = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
    let store = composition.apply_to(builder).open(directory).expect("a directory of our own");
    let weak = store.downgrade();
    reporter.watch(observer.clone(), move || weak.upgrade());
    let receipt = store.add(shape(1), Wait::No).expect("there is capacity");
    assert!(store.add(shape(1), Wait::No).is_err());
    store.flush(TIMEOUT).expect("it is written");
    receipt.wait_durable(TIMEOUT).expect("it is");
    store.record(shape(1).handle.as_str()).expect("it reads");
    store
}

/// Returns the value of each series.
fn scrape(recorder: &PrometheusRecorder, reporter: &Reporter) -> BTreeMap<String, f64> {
    reporter.record();
    let text = recorder.handle().render();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Whether a series is a counter or a part of a histogram, and may not decrease.
fn is_monotonic(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    let is_gauge = name == "db_client_connection_count";
    !is_gauge && ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
}

fn check_monotonic(before: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) {
    for (series, value) in before.iter().filter(|(series, _)| is_monotonic(series)) {
        let current = now.get(series).unwrap_or_else(|| panic!("{series} is gone"));
        assert!(current >= value, "{series}: {current} after {value}");
    }
}

#[test]
fn c7_series_do_not_grow_with_the_number_of_stores() {
    let (recorder, reporter) = (exporter(None), Reporter::default());
    metrics::with_local_recorder(&recorder, || {
        let mut before = BTreeMap::new();
        let mut of_few = None;
        let kept = tempdir().expect("a directory");
        let open = open_and_use(kept.path(), &MetricsObserver::new(), &reporter);
        for number in 0..STORES {
            let directory = tempdir().expect("a directory");
            // An observer for each store, or one for all, is the same.
            let store = open_and_use(directory.path(), &MetricsObserver::new(), &reporter);
            let with_both = scrape(&recorder, &reporter);
            assert_eq!(with_both[r#"shape_meta_health{state="ready"}"#], 2.0);
            check_monotonic(&before, &with_both);
            // Some are dropped without being closed.
            if number % 3 > 0 {
                assert!(store.close(TIMEOUT).is_complete());
            }
            drop(store);
            before = scrape(&recorder, &reporter);
            check_monotonic(&with_both, &before);
            let series: BTreeSet<_> = before.keys().cloned().collect();
            match &of_few {
                None if number == 3 => of_few = Some(series),
                None => {}
                Some(of_few) => assert_eq!(&series, of_few, "store {number}"),
            }
        }
        assert_eq!(before[r#"shape_meta_health{state="ready"}"#], 1.0);
        assert_eq!(before["shape_meta_mutations_flushed_total"], (STORES + 1) as f64);
        assert!(before.keys().all(|series| !series.contains("stack=")));
        assert!(before.len() < 800, "{} series", before.len());
        assert!(open.close(TIMEOUT).is_complete());
        let closed = scrape(&recorder, &reporter);
        check_monotonic(&before, &closed);
        let left: Vec<_> =
            closed.iter().filter(|(series, value)| !is_monotonic(series) && **value != 0.0).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

/// With the shortest idle time-out, the exporter forgets what was not recorded between two scrapes.
#[test]
fn c7_nothing_of_a_closed_named_store_remains() {
    let (recorder, reporter) = (exporter(Some(Duration::from_nanos(1))), Reporter::default());
    metrics::with_local_recorder(&recorder, || {
        let kept = tempdir().expect("a directory");
        let _open = open_and_use(kept.path(), &MetricsObserver::named("kept"), &reporter);
        let unnamed = tempdir().expect("a directory");
        let first = open_and_use(unnamed.path(), &MetricsObserver::new(), &reporter);
        assert!(first.close(TIMEOUT).is_complete());
        let mut before = scrape(&recorder, &reporter);
        before.retain(|series, _| series.split('{').next().is_some_and(|name| name.ends_with("_total")));
        assert!(before.keys().any(|series| series.contains(r#"stack="kept""#)), "{before:?}");
        assert!(before.contains_key("shape_meta_mutations_flushed_total"), "{before:?}");
        for number in 0..STORES {
            let directory = tempdir().expect("a directory");
            let name = format!("tenant-{number}");
            let of_store = format!(r#"stack="{name}""#);
            let store = open_and_use(directory.path(), &MetricsObserver::named(name), &reporter);
            let scraped = scrape(&recorder, &reporter);
            assert!(scraped.keys().any(|series| series.contains(&of_store)));
            check_monotonic(&before, &scraped);
            let is_dropped = number % 3 == 0;
            let store = (!is_dropped).then(|| {
                assert!(store.close(TIMEOUT).is_complete());
                store
            });
            // The first two may still see what was recorded while it was closed.
            for _ in 0..2 {
                scrape(&recorder, &reporter);
            }
            let scraped = scrape(&recorder, &reporter);
            let left: Vec<_> = scraped.keys().filter(|series| series.contains(&of_store)).collect();
            assert!(left.is_empty(), "{left:?}");
            // Counters of an open store are kept although nothing happens to it.
            check_monotonic(&before, &scraped);
            drop(store);
        }
        let scraped = scrape(&recorder, &reporter);
        assert!(scraped.keys().all(|series| !series.contains("tenant-")));
        assert_eq!(scraped[r#"shape_meta_health{stack="kept",state="ready"}"#], 1.0);
    });
}
