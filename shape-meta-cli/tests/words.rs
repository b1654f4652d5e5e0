//! JSON and text have the same words: what a person reads is found in a script under the same name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use shape_meta_core::{
    Batch, Change, Handle, NewShape, Relation, Seq, Shape, ShapeStore, SnapshotState, TableName, Timestamp,
};
use shape_meta_sqlite::DiskIndexes;

use crate::support::{Ran, directory, fill, open, path, run_with};

/// The keys of a JSON text at every depth, and whether they have a value other than zero, null and none.
fn keys(value: &Value, all: &mut BTreeMap<String, bool>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let is_something = *value != 0
                    && *value != Value::Null
                    && value.as_array().is_none_or(|list| !list.is_empty());
                *all.entry(key.clone()).or_default() |= is_something;
                keys(value, all);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, all)),
        _ => {}
    }
}

/// The words of a key as a person reads them. A text has units instead of `_bytes`,
/// and may speak of one instead of many.
fn words(key: &str) -> String {
    key.trim_end_matches("_bytes").replace("utf8", "utf-8").replace('_', " ").trim_end_matches('s').to_owned()
}

/// A command with its input, and the keys that its text leaves out.
struct Case {
    command: Vec<&'static str>,
    input: &'static str,
    only_in_json: &'static [&'static str],
}

fn case(command: &[&'static str], only_in_json: &'static [&'static str]) -> Case {
    Case { command: command.to_vec(), input: "", only_in_json }
}

const SHAPE: &str = "0002-1768476874000000";

#[test]
fn json_and_text_use_the_same_words() {
    let lines = "not-there\n\u{1}\n";
    let cases = [
        // The text shows a handle without calling it one.
        case(&["inspect"], &["handle"]),
        // The rest is in `show`.
        case(&["list"], &["key", "hash", "indexed", "dependencies", "definition", "definition_hex"]),
        case(&["show", SHAPE], &[]),
        case(&["show", "opaque-1"], &[]),
        // The text has the problems without a heading.
        case(&["verify", "--definitions", "shape"], &["first_problems"]),
        // A plan is `name: steps`, with a mark at a full scan, of which there is none.
        case(&["explain"], &["name", "sql", "steps", "full_scan"]),
        Case { input: lines, ..case(&["orphans"], &[]) },
        Case { input: lines, ..case(&["import"], &[]) },
        case(&["repair"], &[]),
        case(&["repair", "--force"], &[]),
    ];
    let mut different = Vec::new();
    for Case { command, input, only_in_json } in cases {
        let ran = |json: bool| {
            let directory = database();
            let mut arguments = vec![command[0], path(&directory)];
            arguments.extend(&command[1..]);
            if json {
                arguments.push("--json");
            }
            run_with(&arguments, input)
        };
        different.extend(differences(&command, only_in_json, &ran(true), &ran(false)));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Compares the two forms of an output. Returns the words that only one of them has.
pub(crate) fn differences(command: &[&str], only_in_json: &[&str], json: &Ran, text: &Ran) -> Vec<String> {
    let mut different = Vec::new();
    assert_eq!(json.code, text.code, "{command:?}: {}{}", json.err, text.err);
    let mut all = BTreeMap::new();
    for line in json.out.lines() {
        keys(&serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")), &mut all);
    }
    assert!(all.len() > 1, "{command:?}: {}", json.out);
    let text_in_lower_case = text.out.to_lowercase();
    // A text may leave out what is zero or empty.
    let shown = all.iter().filter(|(key, shown)| **shown && !only_in_json.contains(&key.as_str()));
    let missing: Vec<_> = shown
        .map(|(key, _)| words(key))
        .filter(|words| !text_in_lower_case.contains(words.as_str()))
        .collect();
    if !missing.is_empty() {
        different.push(format!("{command:?}: no {missing:?} in\n{}", text.out));
    }
    for key in only_in_json {
        assert!(all.contains_key(*key) || *key == "definition_hex", "{command:?}: no {key} in {}", json.out);
    }
    // And the other way: the names of a text are keys.
    let names: Vec<_> = match command[0] {
        "inspect" | "show" => text.out.lines().filter(|line| !line.starts_with(' ')).collect(),
        _ => Vec::new(),
    };
    let known: BTreeSet<_> = all.keys().map(|key| words(key)).collect();
    for line in names {
        let name = line.split("  ").next().expect("a name").to_lowercase();
        let name = name.trim_end_matches('s');
        // JSON leaves these out.
        let is_absent = line.ends_with("  unknown") || line.ends_with("  none");
        if !is_absent && !known.contains(name) {
            different.push(format!("{command:?}: no key for {name:?} in {}", json.out));
        }
    }
    if command[0] == "list" {
        let header = text.out.lines().next().expect("a header");
        // Table and filter are parts of the definition.
        for column in header.split("  ").map(str::trim).filter(|column| !column.is_empty()) {
            let is_known =
                known.contains(column.trim_end_matches('s')) || ["table", "filter"].contains(&column);
            assert!(is_known, "no key for {column:?} in {}", json.out);
        }
    }
    different
}

/// A closed database with twelve shapes that were read, one of another format, and damage.
fn database() -> tempfile::TempDir {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Maintained);
    fill(&store, 1..=12);
    let definition = Shape::new(TableName::new("public", "todos"), Relation::new(16_500)).pk(["id"]);
    let handle = Handle::new("opaque-1").expect("valid");
    let mut shape = NewShape::of(handle, &definition);
    shape.definition = b"\xff\xfe".as_slice().into();
    shape.dependencies = Box::new([shape.key]);
    let record = Arc::new(shape.record(Seq::new(13)));
    let changes = vec![Change::Add { record, state: SnapshotState::Complete }];
    store.apply(&Batch { changes, through: Seq::new(13) }).expect("applies");
    let reads: Vec<_> = (1..=12).map(|number| (Seq::new(number), Timestamp::now())).collect();
    store.last_read_store().expect("it has them").save(&reads).expect("saves");
    store.close().expect("closes");
    directory
}
