//! Calls every method of an observer.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use shape_meta_core::{
    Activity, Change, Checkin, Checkout, DefinitionHash, DurabilityWait, Entry, Error, ErrorKind,
    EvictionStats, FlushStats, Handle, Key, Latencies, NotDurable, Observer, OpenStats, PublishStats,
    RecoveryStats, Refusal, Relations, Repaired, Seq,
};

pub(crate) fn observe_everything(observer: &dyn Observer) {
    let path = Path::new("/var/lib/shapes");
    let error = Error::new(ErrorKind::StorageFull, "the disk is full").with_source("SQLITE_FULL");
    let handle = Handle::new("1-2").expect("valid");
    let entry = Arc::new(Entry::new(
        Seq::new(3),
        handle.clone(),
        Key::new([7; 32]),
        DefinitionHash::new(7),
        Relations::default(),
        false,
    ));
    let ms = Duration::from_millis;

    let activities = [
        Activity::Open { path },
        Activity::Recovery,
        Activity::Clean { shapes: 2 },
        Activity::Refresh,
        Activity::Promote { path },
        Activity::SaveReads,
        Activity::Close,
        Activity::Flush { changes: 3, bytes: 700 },
        Activity::Checkout { label: "record" },
    ];
    let names: BTreeSet<_> = activities.iter().map(Activity::name).collect();
    assert_eq!(names, Activity::NAMES.into());
    for activity in activities {
        drop(observer.begin(activity));
        if let Some(span) = observer.begin(activity) {
            span.end(None);
        }
        let span = observer.begin(activity);
        observer.checkout(&Checkout { label: "apply", queued: ms(1), active: 2 });
        if let Some(span) = span {
            span.end(Some(&error));
        }
    }

    if let Some(span) = observer.begin(Activity::Checkout { label: "record" }) {
        span.end(Some(&Error::new(ErrorKind::Busy, "no connection became free")));
    }

    observer.stopped(&error);
    observer.rejected(Some(&handle), &[Seq::new(3), Seq::new(9)], &error);
    observer.rejected(None, &[], &error);
    observer.quarantined(path, &error);
    let mut repaired = Repaired::new(path.to_owned(), error.clone(), 990, Vec::new());
    (repaired.vanished, repaired.took) = (10, ms(40));
    observer.repaired(&repaired);
    observer.cleanup_failed(&error, 2, ms(200));
    observer.orphans_found(23, std::slice::from_ref(&handle), true);
    let mut evicted = EvictionStats::default();
    (evicted.removed, evicted.total, evicted.newest_unread, evicted.took) = (7, 90, Some(ms(60_000)), ms(3));
    observer.evicted(&evicted, None);
    (evicted.spared, evicted.pinned, evicted.over_limit) = (1, 2, 4);
    observer.evicted(&evicted, Some(&error.clone().into()));
    observer.retrying(&error, 4, ms(250));
    observer.opened(&OpenStats { shapes: 1_000_000, took: ms(900) });
    observer.recovered(&RecoveryStats { valid: 5, removed: 1, took: ms(2) });
    observer.flushed(&FlushStats { mutations: 5, changes: 3, bytes: 700, took: ms(1), oldest: ms(20) });
    observer.refused(&Refusal::InvalidHandle(Handle::new("").expect_err("empty")));
    observer.failed(&error);
    let mut latencies = Latencies::default();
    [1, 1, 3].into_iter().for_each(|took| latencies.record(Duration::from_micros(took)));
    observer.acknowledged(&latencies);
    observer.awaited(&DurabilityWait { took: ms(20), error: None });
    observer.awaited(&DurabilityWait { took: ms(500), error: Some(NotDurable::TimedOut.name()) });
    observer.committed(&Change::Remove { entry });
    observer.committed(&Change::Reset);
    observer.published(&PublishStats { changes: 3, took: ms(1) });
    observer.checkout(&Checkout { label: "apply", queued: Duration::MAX, active: 2 });
    observer.checkin(&Checkin { label: "apply", queued: ms(1), used: ms(3), active: 1, error: None });
    observer.checkin(&Checkin {
        label: "apply",
        queued: ms(0),
        used: ms(9),
        active: 0,
        error: Some(ErrorKind::Io),
    });
}

/// Sets every gauge of a named store: those of one that is gone.
#[cfg(feature = "metrics")]
pub(crate) fn record_every_gauge(observer: shape_meta_telemetry::MetricsObserver) {
    let reporter = shape_meta_telemetry::Reporter::default();
    reporter.watch(observer, || None::<shape_meta_core::Direct<shape_meta_core::MemoryStore>>);
    reporter.record();
}
