//! The metrics. Their names are stable: recorded in a snapshot and in a table of the crate docs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use metrics::Unit;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use shape_meta_core::{
    Activity, Checkout, DefinitionHash, Direct, Error, ErrorKind, Handle, Key, Limits, MemoryStore,
    MutateShapesExt, NewShape, NoopObserver, Observer, Relations, StoreControl, Wait,
};
use shape_meta_telemetry::{MetricsObserver, Reporter};

use crate::everything::{observe_everything, record_every_gauge};

struct Emitted {
    name: String,
    kind: &'static str,
    unit: Option<Unit>,
    text: String,
    labels: Vec<(String, String)>,
    value: String,
}

/// Whether a label is that of the failed checkouts of [`observe_everything`], whose duration is measured.
fn is_failed_checkout(label: &metrics::Label) -> bool {
    label.key() == "db.operation.name" && label.value() == "record"
}

/// Runs `run` with a recorder, and returns the recorded metrics.
fn record(run: impl FnOnce()) -> Vec<Emitted> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, run);
    let all = snapshotter.snapshot().into_vec().into_iter().map(|(key, unit, text, value)| {
        let key = key.key();
        let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
        let (kind, value) = match value {
            DebugValue::Counter(count) => ("counter", count.to_string()),
            DebugValue::Gauge(value) => ("gauge", value.to_string()),
            // These values come from the clock.
            DebugValue::Histogram(values)
                if key.name() == "shape_meta.activity.duration" || key.labels().any(is_failed_checkout) =>
            {
                assert!(values.iter().all(|seconds| (0.0..60.0).contains(&**seconds)), "{values:?}");
                ("histogram", format!("{} times", values.len()))
            }
            DebugValue::Histogram(values) => {
                ("histogram", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
        };
        Emitted {
            name: key.name().to_owned(),
            kind,
            unit,
            text: text.map(|text| text.to_string()).unwrap_or_default(),
            labels: labels.collect(),
            value,
        }
    });
    all.collect()
}

fn lines(emitted: &[Emitted]) -> Vec<String> {
    let line = |Emitted { name, labels, value, .. }: &Emitted| {
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{name} {{{}}} {value}", labels.join(", "))
    };
    let mut lines: Vec<_> = emitted.iter().map(line).collect();
    lines.sort();
    lines
}

fn all() -> Vec<Emitted> {
    record(|| {
        let observer = MetricsObserver::named("main");
        observe_everything(&observer);
        record_every_gauge(observer);
    })
}

#[test]
fn names_labels_and_values() {
    insta::assert_snapshot!(lines(&all()).join("\n"));
}

/// Kind, unit, labels and text of each metric, by name.
type Table = BTreeMap<String, (String, String, BTreeSet<String>, String)>;

fn emitted() -> Table {
    let mut table = Table::new();
    for Emitted { name, kind, unit, text, labels, .. } in all() {
        let unit = match unit {
            Some(Unit::Seconds) => "`s`",
            Some(Unit::Bytes) => "`By`",
            // The facade has no units for counted things.
            None => "",
            other => panic!("{name}: {other:?}"),
        };
        let row =
            table.entry(name).or_insert_with(|| (kind.to_owned(), unit.to_owned(), BTreeSet::new(), text));
        let mut keys: BTreeSet<_> = labels.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys.len(), labels.len(), "a duplicate label");
        assert!(keys.remove("stack"), "the name of the store is missing");
        row.2.extend(keys);
    }
    table
}

fn documented() -> Table {
    let rows = include_str!("../../src/metrics.md").lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, unit, labels, text] = cells[..] else { panic!("not five cells: {row}") };
        let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let unit = if unit.contains('{') { "" } else { unit };
        (name.trim_matches('`').to_owned(), (kind.to_owned(), unit.to_owned(), labels, text.to_owned()))
    })
    .collect()
}

#[test]
fn the_table_in_the_docs_equals_the_emitted_metrics() {
    assert_eq!(documented(), emitted());
}

#[test]
fn no_label_value_comes_from_a_shape() {
    for Emitted { name, labels, .. } in all() {
        for (key, value) in labels {
            let bounded = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(bounded, "{name}: {key}={value}");
        }
    }
}

#[test]
fn each_stack_has_its_own_label() {
    let emitted = record(|| {
        for stack in ["one", "other"] {
            let checkout = Checkout { label: "apply", queued: Duration::ZERO, active: 1 };
            MetricsObserver::named(stack).checkout(&checkout);
        }
    });
    assert_eq!(
        lines(&emitted),
        ["one", "other"].map(|stack| format!(
            "db.client.connection.wait_time {{stack={stack}, db.operation.name=apply, \
             db.client.connection.pool.name={stack}}} 0"
        ))
    );
}

#[test]
fn an_activity_that_panics_is_recorded_as_failed() {
    let emitted = record(|| {
        let observer = MetricsObserver::named("main");
        let panic = std::panic::catch_unwind(|| {
            let _span = observer.begin(Activity::Recovery);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(panic.is_err());
    });
    assert_eq!(
        lines(&emitted),
        ["shape_meta.activity.duration {stack=main, activity=recovery, error.type=panicked} 1 times"]
    );
}

#[test]
fn gauges_follow_the_store() {
    let store = Arc::new(
        Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver))
            .expect("a store in memory"),
    );
    let shape = NewShape {
        handle: Handle::new("1-2").expect("valid"),
        key: Key::new([7; 32]),
        hash: DefinitionHash::new(7),
        relations: Relations::default(),
        dependencies: Box::default(),
        indexed: true,
        definition: Arc::from([]),
        created_at: None,
    };
    store.add(shape, Wait::No).expect("new");
    let reporter = Reporter::default();
    let watched = Arc::clone(&store);
    reporter.watch(MetricsObserver::named("main"), move || Some(Arc::clone(&watched)));
    let gauges = || {
        let emitted = record(|| reporter.record());
        // Only the values other than zero.
        lines(&emitted).into_iter().filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>()
    };
    let shapes = "shape_meta.shapes {stack=main, indexed=true} 1";
    assert_eq!(gauges(), ["shape_meta.health {stack=main, state=ready} 1", shapes]);
    store.close(Duration::ZERO);
    assert_eq!(gauges(), ["shape_meta.health {stack=main, state=closed} 1"]);
}

#[test]
fn without_a_recorder_nothing_happens() {
    let observer = MetricsObserver::new();
    observe_everything(&observer);
    record_every_gauge(observer.clone());
    observer.stopped(&Error::new(ErrorKind::Fenced, "another owner"));
    assert!(!observer.wants_committed());
}
