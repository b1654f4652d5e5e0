//! Without an interested subscriber nothing is emitted.

use std::{collections::BTreeMap, path::Path, time::Duration};

use shape_meta_core::{Activity, Error, ErrorKind, Handle, Observer, RecoveryStats, Refusal, Repaired, Seq};
use shape_meta_telemetry::TracingObserver;
use tracing::{Level, subscriber::NoSubscriber};

use crate::{
    capture::{capture, with_subscriber},
    everything::observe_everything,
};

#[test]
fn without_a_subscriber_no_span_and_no_change_is_emitted() {
    with_subscriber(NoSubscriber::new(), || {
        let observer = TracingObserver::new("main");
        assert!(observer.begin(Activity::Close).is_none());
        assert!(!observer.wants_committed());
    });
}

#[test]
fn only_enabled_levels_are_emitted() {
    let lines = capture(
        |metadata| *metadata.level() <= Level::WARN,
        || {
            let observer = TracingObserver::new("main");
            assert!(observer.begin(Activity::Close).is_none());
            assert!(!observer.wants_committed());
            observe_everything(&observer);
        },
    );
    let names: Vec<_> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(
        names,
        [
            "shape_meta.stopped",
            "shape_meta.rejected",
            "shape_meta.rejected",
            "shape_meta.quarantined",
            "shape_meta.repaired",
            "shape_meta.cleanup_failed",
            "shape_meta.orphans_found",
            "shape_meta.evicted",
            "shape_meta.retrying"
        ]
    );
}

#[test]
fn single_changes_can_be_excluded_from_the_debug_level() {
    let lines = capture(
        |metadata| metadata.target() != "shape_meta::change",
        || {
            let observer = TracingObserver::new("main");
            assert!(!observer.wants_committed());
            assert!(observer.begin(Activity::Flush { changes: 1, bytes: 1 }).is_some());
        },
    );
    assert!(lines[0].starts_with("span shape_meta.flush DEBUG"), "{lines:?}");
}

/// Failures in a row are warned of at a bounded rate, with their count. A clean start is not worth a line.
#[test]
fn c7_repeated_failures_are_logged_at_a_bounded_rate() {
    let observer = TracingObserver::new("main");
    let error = Error::new(ErrorKind::StorageFull, "the disk is full");
    let lines = capture(
        |metadata| *metadata.level() <= Level::INFO,
        || {
            for failures in 1..=1_000 {
                observer.retrying(&error, failures, Duration::from_secs(5));
            }
            observer.recovered(&RecoveryStats { valid: 5, removed: 0, took: Duration::ZERO });
        },
    );
    assert!((15..=25).contains(&lines.len()), "{}", lines.len());
    assert!(lines.iter().all(|line| line.contains("shape_meta.retrying WARN")), "{lines:?}");
    assert!(lines[3].contains("failures=8"), "{}", lines[3]);
}

/// Returns the number of lines of these levels for each event, if everything that can repeat is repeated.
fn repeated(level: Level) -> BTreeMap<String, usize> {
    let observer = TracingObserver::new("main");
    let lines = capture(
        move |metadata| *metadata.level() <= level && metadata.is_event(),
        || {
            let error = Error::new(ErrorKind::Fenced, "another owner");
            let handle = Handle::new("1-2").expect("valid");
            let mut repaired = Repaired::new("/x".into(), error.clone(), 990, Vec::new());
            repaired.took = Duration::ZERO;
            for _ in 0..1_000 {
                // One failure at a time: flushes that fail and succeed in turn.
                observer.retrying(&error, 1, Duration::ZERO);
                observer.cleanup_failed(&error, 1, Duration::ZERO);
                observer.orphans_found(1, std::slice::from_ref(&handle), true);
                observer.stopped(&error);
                observer.rejected(Some(&handle), &[Seq::new(1)], &error);
                observer.quarantined(Path::new("/x"), &error);
                observer.repaired(&repaired);
                observer.refused(&Refusal::InvalidHandle(Handle::new("").expect_err("empty")));
                observer.failed(&error);
            }
        },
    );
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.split(' ').nth(1).expect("a name").to_owned()).or_default() += 1;
    }
    counts
}

/// A machine that stops this test for a minute would let 20 more through.
#[test]
fn c7_every_event_that_can_repeat_has_a_bounded_rate() {
    let warnings = repeated(Level::WARN);
    assert_eq!(warnings.len(), 7, "{warnings:?}");
    assert!(warnings.values().all(|count| (20..60).contains(count)), "{warnings:?}");
    let debug = repeated(Level::DEBUG);
    assert_eq!(debug.len(), 9, "{debug:?}");
    for name in ["shape_meta.refused", "shape_meta.failed"] {
        assert!((20..60).contains(&debug[name]), "{debug:?}");
    }
    let all = repeated(Level::TRACE);
    assert!(all.values().all(|count| *count == 1_000), "each is there at a lower level: {all:?}");
}
