//! Without an interested subscriber nothing is emitted.

use std::time::Duration;

use shape_meta_core::{Activity, Error, ErrorKind, Observer, RecoveryStats};
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
