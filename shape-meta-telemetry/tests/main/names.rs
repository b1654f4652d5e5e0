//! The names are a promise: they are written down here, and in a table of the crate's docs.

use std::collections::{BTreeMap, BTreeSet};

use shape_meta_core::{Activity, Observer};
use shape_meta_telemetry::TracingObserver;

use crate::{capture::capture, everything::tell_everything};

fn all() -> Vec<String> {
    capture(|_| true, || tell_everything(&TracingObserver::new("main")))
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
        let told = names.entry(name.to_owned()).or_default();
        if what == "span" || what == "event" {
            assert!(matches!(words[3], "shape_meta" | "shape_meta::change"), "{line}");
            told.0 = words[2].to_owned();
        }
        let known = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase()) && !word.contains(['"', '<', '('])
        };
        let fields = words.iter().filter_map(|word| word.split_once('=')).map(|(field, _)| field);
        told.1.extend(fields.filter(|field| known(field) && *field != "message").map(str::to_owned));
    }
    names
}

/// The same, as the table in the docs says it.
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
fn the_table_in_the_docs_is_what_is_emitted() {
    assert_eq!(documented(), emitted());
}

/// So that no name can be forgotten both in the table and where everything is told.
#[test]
fn every_name_in_the_code_is_in_the_table() {
    let sources = [include_str!("../../src/spans.rs"), include_str!("../../src/events.rs")];
    let literals = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let named: BTreeSet<_> = literals.filter(|literal| literal.starts_with("shape_meta.")).collect();
    let documented = documented();
    assert_eq!(named, documented.keys().map(String::as_str).collect());
}

#[test]
fn a_span_that_ends_in_a_panic_has_failed() {
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
