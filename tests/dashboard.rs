//! Checks the dashboard and the alerts: every metric and label in their queries is in the tables of the docs,
//! which other tests compare with the emitted metrics. Also checks what Grafana requires of the dashboard.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde_json::{Value, json};
use shape_meta::{
    Evictor, EvictorOptions, MetricsObserver, MutateShapesExt, NoopCleaner, ReadShapes, ReadShapesExt,
    Reporter, ShapeMeta, StoreControl, Wait,
    admission::{Admission, AdmissionLimits},
};
use shape_meta_core::conformance::shape;
use tempfile::tempdir;

use shape_meta_harness::compositions::{FlushSchedule, PRODUCT, TIMEOUT, sqlite};

/// Returns the series in the tables of the docs: the labels by the series' name in Prometheus.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let tables = [
        include_str!("../shape-meta-telemetry/src/metrics.md"),
        include_str!("../shape-meta-admission/src/metrics.md"),
    ];
    let rows = tables.iter().flat_map(|table| table.lines()).filter(|line| line.starts_with("| `"));
    let mut series = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, unit, labels, _] = cells[..] else { panic!("not five cells: {row}") };
        let flat = |name: &str| name.replace('.', "_");
        let mut name = flat(name.trim_matches('`'));
        // The exporter adds the unit to a name without one.
        let unit = match unit {
            "`s`" => "seconds",
            "`By`" => "bytes",
            _ => "",
        };
        if !name.ends_with(unit) {
            name = format!("{name}_{unit}");
        }
        let mut labels: BTreeSet<_> = labels.split('`').skip(1).step_by(2).map(flat).collect();
        labels.insert("stack".to_owned());
        match kind {
            "gauge" => drop(series.insert(name, labels)),
            "counter" => drop(series.insert(format!("{name}_total"), labels)),
            "histogram" => {
                series.insert(format!("{name}_sum"), labels.clone());
                series.insert(format!("{name}_count"), labels.clone());
                labels.insert("le".to_owned());
                series.insert(format!("{name}_bucket"), labels);
            }
            other => panic!("unknown kind of metric: {other}"),
        }
    }
    series
}

/// Returns the metrics of a query with the labels in their braces, and the labels of its groupings.
fn query_labels(expression: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let (mut metrics, mut grouped) = (Vec::new(), Vec::new());
    let mut rest = expression;
    while let Some(at) = rest.find(is_word) {
        rest = &rest[at..];
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let words = |text: &str| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
        if word == "by" {
            let inside =
                after.split_once('(').and_then(|(_, inside)| inside.split_once(')')).expect("by (..)");
            grouped.extend(words(inside.0));
            rest = inside.1;
        } else if word.starts_with("shape_meta_") || word.starts_with("db_client_") {
            let mut labels = Vec::new();
            if let Some(inside) = after.strip_prefix('{') {
                let (inside, after) = inside.split_once('}').expect("braces are closed");
                labels = words(inside)
                    .iter()
                    .map(|one| one[..one.find(['=', '!']).expect("a test")].into())
                    .collect();
                rest = after;
            }
            metrics.push((word.to_owned(), labels));
        }
    }
    (metrics, grouped)
}

fn check(place: &str, expression: &str, shown: &[String]) -> usize {
    let series = series();
    // Prometheus adds these labels to every series of a target.
    let of_target = |label: &str| matches!(label, "job" | "instance");
    let (metrics, grouped) = query_labels(expression);
    for (metric, queried) in &metrics {
        let labels = series.get(metric).unwrap_or_else(|| panic!("{place}: there is no {metric}"));
        for label in queried.iter().chain(&grouped).chain(shown).filter(|label| !of_target(label)) {
            assert!(labels.contains(label), "{place}: {metric} has no label {label}");
        }
    }
    assert!(!metrics.is_empty(), "{place}: no metric in the query {expression}");
    metrics.len()
}

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../docs/grafana/shape-meta.json")).expect("it is JSON")
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().unwrap_or_else(|| panic!("no list of {key}"))
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_else(|| panic!("no text under {key}"))
}

#[test]
fn every_panel_queries_existing_metrics() {
    let dashboard = dashboard();
    let panels = list(&dashboard, "panels");
    for panel in panels {
        for target in list(panel, "targets") {
            let shown = text(target, "legendFormat").split("{{").skip(1);
            let shown: Vec<_> =
                shown.map(|part| part.split_once("}}").expect("closed").0.to_owned()).collect();
            check(text(panel, "title"), text(target, "expr"), &shown);
        }
    }
    for variable in list(&dashboard["templating"], "list") {
        if variable["type"] == "query" {
            check("a variable", text(variable, "definition"), &[]);
        }
    }
    assert_eq!(panels.len(), 20, "every one was checked");
}

/// Panics if Grafana would reject the dashboard or show it wrongly.
fn check_dashboard(dashboard: &Value) {
    for key in ["title", "uid"] {
        assert!(!text(dashboard, key).is_empty());
    }
    let variables = list(&dashboard["templating"], "list");
    let kind_of = |name: &str| variables.iter().find(|one| one["name"] == name).map(|one| text(one, "type"));
    assert_eq!((kind_of("datasource"), kind_of("stack")), (Some("datasource"), Some("query")));
    let uses_the_selected_source = |of: &Value, place: &str| {
        let source = &of["datasource"];
        assert!(source["type"] == "prometheus" && source["uid"] == "${datasource}", "{place}: {source}");
    };

    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is used twice");
        assert!(!text(panel, "description").is_empty(), "{title}");
        assert!(matches!(text(panel, "type"), "timeseries" | "state-timeline"), "{title}: its type");
        uses_the_selected_source(panel, title);

        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a position"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: outside of the grid, which is 24 wide");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title}: overlaps another panel");
        }

        let defaults = &panel["fieldConfig"]["defaults"];
        let unit = text(defaults, "unit");
        assert!(matches!(unit, "s" | "bytes" | "short" | "ops" | "reqps"), "{title}: the unit {unit}");
        assert!(defaults["custom"].is_object() && panel["fieldConfig"]["overrides"].is_array(), "{title}");
        let legend = &panel["options"]["legend"];
        assert!(legend["showLegend"].is_boolean() && legend["calcs"].is_array(), "{title}");

        let mut references = BTreeSet::new();
        let targets = list(panel, "targets");
        assert!(!targets.is_empty(), "{title}: it has no query");
        for target in targets {
            uses_the_selected_source(target, title);
            assert!(references.insert(text(target, "refId")), "{title}: a refId is used twice");
            assert!(
                text(target, "legendFormat").contains("{{stack}}"),
                "{title}: the legend does not name the stack"
            );
            check_query(title, text(target, "expr"), unit);
        }
    }
}

/// Panics if Prometheus would accept the query but return a meaningless result.
fn check_query(title: &str, expression: &str, unit: &str) {
    let depth = expression.bytes().try_fold(0_u32, |depth, byte| match byte {
        b'(' | b'{' | b'[' => Some(depth + 1),
        b')' | b'}' | b']' => depth.checked_sub(1),
        _ => Some(depth),
    });
    assert_eq!(depth, Some(0), "{title}: brackets: {expression}");
    let (metrics, grouped) = query_labels(expression);
    let quantile = expression.contains("histogram_quantile(");
    for (metric, labels) in &metrics {
        assert!(labels.iter().any(|label| label == "stack"), "{title}: {metric} is not filtered by stack");
        let counts = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end))
            && metric != "db_client_connection_count";
        // Counters of rare events are shown as totals.
        let rare =
            ["stops", "quarantines", "repair_lost", "recovery_removed", "orphans_found", "activity_duration"]
                .iter()
                .any(|name| metric.contains(name));
        let rated = expression.contains("rate(") || expression.contains("increase(");
        assert!(rated == (counts && !rare), "{title}: {metric}: a rate of a gauge, or a counter without one");
        assert!(!rated || expression.contains("[$__rate_interval]"), "{title}: a rate over a fixed interval");
        assert_eq!(quantile, metric.ends_with("_bucket"), "{title}: a quantile needs buckets");
        let seconds = quantile && metric.contains("_seconds_");
        let seconds = seconds || !rated && (metric.ends_with("_seconds") || metric.ends_with("_seconds_sum"));
        assert_eq!(seconds, unit == "s", "{title}: {metric} in {unit}");
        let bytes = !rated && metric.ends_with("_bytes");
        assert_eq!(bytes, unit == "bytes", "{title}: {metric} in {unit}");
    }
    assert!(!quantile || grouped.iter().any(|label| label == "le"), "{title}: a quantile without le");
}

#[test]
fn the_dashboard_is_valid_for_grafana() {
    check_dashboard(&dashboard());
}

#[test]
fn an_invalid_dashboard_is_detected() {
    let expression = "/panels/1/targets/0/expr";
    let bad = [
        ("/templating/list/1/name", json!("stacks")),
        ("/panels/3/id", json!(1)),
        ("/panels/3/type", json!("graph")),
        ("/panels/3/datasource/uid", json!("prometheus")),
        ("/panels/3/description", json!("")),
        ("/panels/3/gridPos/x", json!(8)),
        ("/panels/3/gridPos/w", json!(25)),
        ("/panels/3/fieldConfig/defaults/unit", json!("operations")),
        ("/panels/3/options/legend/showLegend", json!("no")),
        ("/panels/3/targets", json!([])),
        ("/panels/3/targets/0/refId", json!("B")),
        ("/panels/3/targets/0/legendFormat", json!("made durable")),
        (expression, json!(r#"shape_meta_pending_oldest_age_seconds"#)),
        (expression, json!(r#"(shape_meta_pending_oldest_age_seconds{stack=~"$stack"}"#)),
        (
            expression,
            json!(r#"rate(shape_meta_pending_oldest_age_seconds{stack=~"$stack"}[$__rate_interval])"#),
        ),
        (expression, json!(r#"shape_meta_flush_retries_total{stack=~"$stack"}"#)),
        (expression, json!(r#"shape_meta_pending_bytes{stack=~"$stack"}"#)),
        (
            expression,
            json!(
                r#"histogram_quantile(0.5, sum by (stack) (rate(shape_meta_flush_duration_seconds_bucket{stack=~"$stack"}[$__rate_interval])))"#
            ),
        ),
        (
            expression,
            json!(
                r#"histogram_quantile(0.5, sum by (le) (rate(shape_meta_flush_duration_seconds_bucket{stack=~"$stack"}[1m])))"#
            ),
        ),
    ];
    for (place, value) in bad {
        let mut dashboard = dashboard();
        let found = dashboard.pointer_mut(place).unwrap_or_else(|| panic!("{place}: no such pointer"));
        assert_ne!(*found, value, "{place}");
        *found = value.clone();
        assert!(std::panic::catch_unwind(|| check_dashboard(&dashboard)).is_err(), "{place}: {value}");
    }
}

/// The exporter writes the names and labels that the tests above assume.
#[test]
fn the_exporter_writes_the_documented_series() {
    let directory = tempdir().expect("a directory");
    let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
    for (name, bounds) in MetricsObserver::histograms() {
        exporter =
            exporter.set_buckets_for_metric(Matcher::Full(name.into()), bounds).expect("it has bounds");
    }
    let recorder = exporter.build_recorder();
    let scraped = metrics::with_local_recorder(&recorder, || {
        Admission::describe_metrics();
        let observer = MetricsObserver::named("main");
        let builder = ShapeMeta::builder(NoopCleaner).observer(Arc::new(observer.clone())).sqlite(sqlite());
        // The flush runs on this thread, which has the recorder.
        let composition = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
        let store = composition.apply_to(builder).open(directory.path()).expect("a directory of our own");
        let receipt = store.add(shape(1), Wait::No).expect("room");
        assert!(store.add(shape(1), Wait::No).is_err());
        store.flush(TIMEOUT).expect("it is written");
        receipt.wait_durable(TIMEOUT).expect("it is");
        store.record(shape(1).handle.as_str()).expect("it reads");
        assert!(store.touch_now(&shape(1).handle).expect("it is cached"));
        let evictor =
            Evictor::new(EvictorOptions::default().max_shapes(0)).observer(Arc::new(observer.clone()));
        assert_eq!(evictor.step(&store).removed.len(), 1);
        let (reporter, weak) = (Reporter::default(), store.downgrade());
        reporter.watch(observer, move || weak.upgrade());
        reporter.record();
        Admission::new(AdmissionLimits::default()).record_metrics("main");
        assert!(store.close(TIMEOUT).is_complete());
        recorder.handle().render()
    });

    assert!(!scraped.contains(shape(1).handle.as_str()), "no label names a shape");
    let documented = series();
    let mut found = BTreeSet::new();
    for line in scraped.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, rest) = line.split_once('{').unwrap_or_else(|| panic!("without labels: {line}"));
        let (labels, _) = rest.rsplit_once('}').expect("closed");
        let allowed = documented.get(name).unwrap_or_else(|| panic!("no table documents {name}"));
        for label in labels.split(',').map(|label| label.split_once('=').expect("a label").0) {
            assert!(allowed.contains(label), "{name} has no label {label}");
        }
        found.insert(name);
    }
    // The remaining metrics belong to faults, which a healthy store does not have.
    let missing: Vec<_> = documented.keys().filter(|name| !found.contains(name.as_str())).collect();
    assert_eq!(
        missing,
        [
            "db_client_connection_timeouts_total",
            "shape_meta_changes_rejected_total",
            "shape_meta_cleanup_failures_total",
            "shape_meta_evictions_short_total",
            "shape_meta_flush_retries_total",
            "shape_meta_mutations_failed_total",
            "shape_meta_orphans_found_total",
            "shape_meta_orphans_waiting",
            "shape_meta_quarantines_total",
            "shape_meta_repair_lost_total",
            "shape_meta_stops_total",
        ]
    );
}

#[test]
fn every_alert_queries_existing_metrics() {
    let mut lines = include_str!("../docs/prometheus/alerts.yml").lines().map(str::trim).peekable();
    let (mut alert, mut alerts) = ("", 0);
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alert = name;
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            let mut expression = expression.to_owned();
            if expression == ">-" {
                expression.clear();
                while let Some(more) =
                    lines.next_if(|line| !line.starts_with("labels:") && !line.starts_with("for:"))
                {
                    expression += more;
                }
            }
            check(alert, &expression, &["stack".to_owned()]);
            alerts += 1;
        }
    }
    assert_eq!(alerts, 13, "every one was checked");
}

#[test]
fn an_unknown_metric_or_label_is_detected() {
    assert_eq!(
        check("good", r#"rate(shape_meta_mutations_refused_total{reason="overloaded"}[1m]) > 0"#, &[]),
        1
    );
    for bad in [
        "shape_meta_nothing",
        "shape_meta_pending_shapes_total",
        r#"shape_meta_pending_shapes{handle="x"}"#,
        "sum by (handle) (shape_meta_pending_shapes)",
    ] {
        assert!(std::panic::catch_unwind(|| check("bad", bad, &[])).is_err(), "{bad}");
    }
}

/// Every value of `db.operation.name` is documented.
#[test]
fn every_operation_is_documented() {
    let code = include_str!("../shape-meta-sqlite/src/connection/operation.rs");
    let labels: BTreeSet<_> = code.split('"').skip(1).step_by(2).collect();
    let docs = include_str!("../docs/telemetry.md");
    let (_, after) = docs.split_once("The operations are ").expect("the docs list them");
    let (listed, _) = after.split_once("\n\n").expect("a paragraph");
    assert_eq!(listed.split('`').skip(1).step_by(2).collect::<BTreeSet<_>>(), labels);
}
