//! The names are a promise: they are written down here, and in a table of the crate's docs.

use std::collections::{BTreeMap, BTreeSet};

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
