//! What the dashboard and the alerts ask for exists: each metric and each label that they name is in the tables of
//! the docs, which other tests compare with what is emitted.

use std::collections::{BTreeMap, BTreeSet};

/// The tables of the docs: labels by the name that Prometheus knows a series by.
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
        // What an exporter adds, unless the name says it.
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
            other => panic!("no kind: {other}"),
        }
    }
    series
}

/// The metrics of an expression, with the labels that its braces ask for, and the labels that it groups by.
fn asked(expression: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
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
    // What Prometheus itself adds to every series of a target.
    let of_target = |label: &str| matches!(label, "job" | "instance");
    let (metrics, grouped) = asked(expression);
    for (metric, asked) in &metrics {
        let labels = series.get(metric).unwrap_or_else(|| panic!("{place}: there is no {metric}"));
        for label in asked.iter().chain(&grouped).chain(shown).filter(|label| !of_target(label)) {
            assert!(labels.contains(label), "{place}: {metric} has no label {label}");
        }
    }
    assert!(!metrics.is_empty(), "{place}: asks for nothing: {expression}");
    metrics.len()
}

#[test]
fn every_panel_asks_for_what_there_is() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../docs/grafana/shape-meta.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is there twice");
        assert!(panel["gridPos"]["w"].is_u64() && panel["description"].is_string(), "{title}");
        for target in panel["targets"].as_array().expect("targets") {
            let legend = target["legendFormat"].as_str().expect("a legend");
            let shown: Vec<_> = legend
                .split("{{")
                .skip(1)
                .map(|part| part.split_once("}}").expect("closed").0.to_owned())
                .collect();
            check(title, target["expr"].as_str().expect("an expression"), &shown);
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        if variable["type"] == "query" {
            check("a variable", variable["definition"].as_str().expect("a query"), &[]);
        }
    }
    assert_eq!(panels.len(), 18, "all of them were looked at");
}

#[test]
fn every_alert_asks_for_what_there_is() {
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
    assert_eq!(alerts, 10, "all of them were looked at");
}

#[test]
fn what_is_not_there_is_found_out() {
    assert_eq!(
        check("good", r#"rate(shape_meta_mutations_refused_total{reason="overloaded"}[1m]) > 0"#, &[]),
        1
    );
    for bad in [
        "shape_meta_nothing",
        "shape_meta_pending_changes_total",
        r#"shape_meta_pending_changes{handle="x"}"#,
        "sum by (handle) (shape_meta_pending_changes)",
    ] {
        assert!(std::panic::catch_unwind(|| check("bad", bad, &[])).is_err(), "{bad}");
    }
}
