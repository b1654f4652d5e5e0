//! C14: what each method may wait for, in its documentation and in the table of docs/async.md.

use std::{collections::HashSet, fs, path::Path};

/// The traits of callers, and the types that have methods of their own.
const FILES: [&str; 7] = [
    "shape-meta-core/src/traits/read.rs",
    "shape-meta-core/src/traits/read_ext.rs",
    "shape-meta-core/src/traits/mutate.rs",
    "shape-meta-core/src/traits/mutate_ext.rs",
    "shape-meta-core/src/traits/control.rs",
    "shape-meta-core/src/waits/wait_ext.rs",
    "src/standby.rs",
];

/// Methods of results, which read what they have.
const PLAIN: [&str; 3] = ["most_recent", "age", "is_complete"];

/// A documented method: its name, whether it is a future, and its documentation.
struct Method {
    name: String,
    is_future: bool,
    docs: String,
}

/// Returns the documented methods: those of a trait, or the public ones of a type.
fn methods(path: &str, source: &str) -> Vec<Method> {
    let starts: &[&str] = match path.starts_with("src/") {
        true => &["pub fn ", "pub async fn "],
        false => &["fn "],
    };
    let mut docs = String::new();
    let mut found = Vec::new();
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if let Some(text) = code.strip_prefix("///") {
            docs.push_str(text);
        } else if !code.starts_with("#[") {
            let signature = starts.iter().find_map(|start| code.strip_prefix(start));
            if let Some(signature) = signature.filter(|_| line.starts_with("    ") && !docs.is_empty()) {
                let name = signature.split(['(', '<']).next().unwrap_or_default().to_owned();
                let rest = lines.clone().take_while(|line| !line.trim_end().ends_with(['{', ';']));
                let whole: String = [line].into_iter().chain(rest).chain(lines.peek().copied()).collect();
                let is_future = code.contains("async fn") || whole.contains("impl Future");
                found.push(Method { name, is_future, docs: docs.clone() });
            }
            docs.clear();
        }
    }
    found
}

#[test]
fn c14_every_method_says_whether_it_blocks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file of the repository");
    let page = read("docs/async.md");
    let tables = page.split("## What blocks").nth(1).and_then(|rest| rest.split("## Sharing").next());
    let tables = tables.expect("the page has both headings");
    // Every second part is between backticks.
    let code = tables.split('`').skip(1).step_by(2);
    let listed: HashSet<&str> =
        code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in FILES {
        for Method { name, is_future, docs } in methods(path, &read(path)) {
            if PLAIN.contains(&name.as_str()) {
                continue;
            }
            seen += 1;
            let is_listed = listed.contains(name.trim_end_matches("_async")) || name.ends_with("_async");
            if !is_listed || !(is_future || docs.contains("Blocks:")) {
                wrong.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(seen > 60, "only {seen} methods are found");
    assert!(
        wrong.is_empty(),
        "these are not in docs/async.md, or do not say what they block for: {wrong:#?}"
    );
}
