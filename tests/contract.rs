//! Checks that docs/contract.md and the sources agree.

use std::{collections::BTreeSet, fs};

use crate::sources::{root, sources};

fn contract() -> String {
    fs::read_to_string(root().join("docs/contract.md")).expect("it can be read")
}

/// Returns the texts between backquotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_cited_test_and_file_exists() {
    let (contract, sources) = (contract(), sources(&["rs"]));
    let functions: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.text.split("fn ").skip(1))
        .map(|rest| {
            rest.split(|next: char| !next.is_alphanumeric() && next != '_').next().unwrap_or_default()
        })
        .collect();
    let is_name = |cited: &str| {
        let snake = |next: char| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_';
        cited.contains('_') && cited.chars().all(snake) && !cited.ends_with('_')
    };
    let mut names = 0;
    for cited in quoted(&contract) {
        if is_name(cited) {
            names += 1;
            assert!(functions.contains(cited), "docs/contract.md cites {cited:?}, which is no function");
        } else if !cited.contains([' ', '=']) && (cited.ends_with('/') || cited.ends_with(".rs")) {
            let prefixes = ["", "shape-meta-", "testing/", "tests/"];
            let exists = prefixes.iter().any(|prefix| root().join(format!("{prefix}{cited}")).exists());
            assert!(exists, "docs/contract.md cites {cited:?}, which does not exist");
        }
    }
    assert!(names > 20, "only {names} names were found in docs/contract.md");
}

#[test]
fn every_line_and_every_invariant_has_a_row() {
    let contract = contract();
    let lines = (1..=13).chain([15]).map(|number| format!("C{number}"));
    let numbers = lines.chain((1..=9).map(|number| format!("I{number}")));
    for line in numbers {
        let row = contract.lines().find(|row| row.starts_with(&format!("| {line} |")));
        let row = row.unwrap_or_else(|| panic!("docs/contract.md has no row for {line}"));
        assert!(quoted(row).len() > 1 || line.starts_with('I'), "{line} cites too few tests: {row}");
    }
}

/// The test file that measures the time that passes, and so has to sleep.
const SLEEPS: &str = "shape-meta-sqlite/tests/checkouts.rs";

/// I7: a test waits for a step, a gate or a signal, and never for time to pass.
#[test]
fn i7_tests_do_not_sleep() {
    let sleep = concat!("thread::", "sleep(");
    for source in sources(&["rs"]) {
        let path = &source.path;
        let is_test = path.iter().any(|part| part == "tests" || part == "conformance");
        let is_test = is_test && !path.ends_with(SLEEPS);
        assert!(!is_test || !source.text.contains(sleep), "{} sleeps", path.display());
    }
}
