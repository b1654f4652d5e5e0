//! The names are stable: recorded in a snapshot and in a table of the crate docs.

use std::collections::{BTreeMap, BTreeSet};

use shape_meta_core::{Activity, Observer};
use shape_meta_telemetry::TracingObserver;

use crate::{capture::capture, everything::observe_everything};

fn all() -> Vec<String> {
    capture(|_| true, || observe_everything(&TracingObserver::new("main")))
}

#[test]
fn names_levels_and_fields() {
    insta::assert_snapshot!(all().join("\n"));
}

/// Level and fields by name, as they are emitted.
fn emitted() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut names: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in all() {
        let words: Vec<_> = line.split(' ').collect();
        let (what, name) = (words[0], words[1]);
        let emitted = names.entry(name.to_owned()).or_default();
        if what == "span" || what == "event" {
            assert!(matches!(words[3], "shape_meta" | "shape_meta::change"), "{line}");
            emitted.0 = words[2].to_owned();
        }
        let is_field = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase()) && !word.contains(['"', '<', '('])
        };
        let fields = words.iter().filter_map(|word| word.split_once('=')).map(|(field, _)| field);
        emitted.1.extend(fields.filter(|field| is_field(field) && *field != "message").map(str::to_owned));
    }
    names
}

/// Level and fields of each span and event in the table of the docs, by name.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = include_str!("../../src/names.md").lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, level, fields] = cells[..] else { panic!("not three cells: {row}") };
        let fields = fields.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), (level.to_owned(), fields))
    })
    .collect()
}

#[test]
fn the_table_in_the_docs_equals_the_emitted_names() {
    assert_eq!(documented(), emitted());
}

/// A name could otherwise be missing both in the table and in `observe_everything`.
#[test]
fn every_name_in_the_code_is_in_the_table() {
    let sources = [include_str!("../../src/spans.rs"), include_str!("../../src/events.rs")];
    let literals = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let named: BTreeSet<_> = literals.filter(|literal| literal.starts_with("shape_meta.")).collect();
    let documented = documented();
    assert_eq!(named, documented.keys().map(String::as_str).collect());
}

#[test]
fn a_span_that_ends_in_a_panic_is_recorded_as_failed() {
    let lines = capture(
        |_| true,
        || {
            let observer = TracingObserver::new("main");
            let panic = std::panic::catch_unwind(|| {
                let _span = observer.begin(Activity::Recovery);
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(panic.is_err());
        },
    );
    assert_eq!(lines[1..], ["record shape_meta.recovery error.type=\"panicked\"", "end shape_meta.recovery"]);
}
