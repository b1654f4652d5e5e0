//! The metrics equal the table in the docs and the counts of the admission.

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use shape_meta_admission::{Admission, AdmissionLimits, Kind};

/// Returns the table rows of the emitted metrics by name, and their values with labels.
fn emitted(admission: &Admission) -> (BTreeMap<String, String>, Vec<String>) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        Admission::describe_metrics();
        admission.record_metrics("main");
    });
    let (mut rows, mut values) = (BTreeMap::new(), Vec::new());
    for (key, unit, text, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let (kind, value) = match value {
            DebugValue::Counter(value) => ("counter", value as f64),
            DebugValue::Gauge(value) => ("gauge", *value),
            DebugValue::Histogram(_) => panic!("no histogram"),
        };
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let keys: Vec<_> = key.labels().map(|label| format!("`{}`", label.key())).collect();
        assert_eq!(keys[0], "`stack`");
        assert!(unit.is_none(), "the facade has no units for counted things");
        let (keys, text) = (keys[1..].join(", "), text.expect("a text"));
        let row = format!("| `{}` | {kind} | `{{request}}` | {keys} | {text} |", key.name());
        rows.insert(key.name().to_owned(), row);
        values.push(format!(
            "{} {} {value}",
            key.name().trim_start_matches("shape_meta.admission."),
            labels.join(" ")
        ));
    }
    values.sort();
    (rows, values)
}

#[test]
fn the_table_in_the_docs_equals_the_emitted_metrics() {
    let (rows, _) = emitted(&Admission::new(AdmissionLimits::default()));
    let documented = include_str!("../../src/metrics.md").lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeMap<_, _> =
        documented.map(|row| (row.split('`').nth(1).expect("a name").to_owned(), row.to_owned())).collect();
    assert_eq!(documented, rows);
}

#[test]
fn each_kind_has_its_own_values() {
    let limits = AdmissionLimits::from_json(r#"{"initial":1,"existing":2}"#).expect("valid");
    let admission = Admission::new(limits);
    let _held = admission.try_acquire(Kind::Initial).expect("below the limit");
    assert!(admission.try_acquire(Kind::Initial).is_err());
    drop(admission.try_acquire(Kind::Existing).expect("below the limit"));
    let (_, values) = emitted(&admission);
    assert_eq!(
        values,
        [
            "acquired stack=main kind=existing 1",
            "acquired stack=main kind=initial 1",
            "current stack=main kind=existing 0",
            "current stack=main kind=initial 1",
            "limit stack=main kind=existing 2",
            "limit stack=main kind=initial 1",
            "rejected stack=main kind=existing 0",
            "rejected stack=main kind=initial 1",
        ]
    );
}
