//! Checks the wording and layout of sources, docs and snapshots: standard terms, the width of comments, and
//! the length of test names.

use std::{collections::BTreeMap, fs, path::Path};

use crate::sources::{Source, root, sources};

/// Words and phrases that the project does not use, and what to write in their place. A match is a whole word
/// or a whole phrase without regard to case, also across a line break. The parts of an identifier with
/// underscores are words.
const WORDS: &[(&str, &str)] = &[
    ("whoever", "the component: the flusher, a standby, the caller"),
    ("whomever", "the component: the flusher, a standby, the caller"),
    ("somebody", "the component, or another process"),
    ("someone", "the component, or another process"),
    ("anybody", "the component, or another process"),
    ("nobody", "no component, no caller"),
    ("everybody", "every component, every caller"),
    ("place in the order", "sequence number"),
    ("the order has come", "durable watermark, last sequence number"),
    ("so many", "the number of ..., this many"),
    ("so long", "this time, as long as, while"),
    ("told", "reported, emitted, recorded, configured"),
    ("tells", "reports, describes, prints"),
    ("to tell", "to report, to distinguish"),
    ("heard", "received, observed"),
    ("beside", "next to, during, with, in parallel, join"),
    ("besides", "in addition"),
    ("mischief", "corruption, fault"),
    ("mischiefs", "corruptions, faults"),
    ("poison", "rejected"),
    ("poisoned", "rejected"),
    ("culprit", "the rejected mutation"),
    ("stalest", "least recently used"),
    ("the turn", "epoch, flush lock, round"),
    ("its turn", "epoch, flush lock, round"),
    ("patience", "back-off, time-out, deadline"),
    ("stranger", "another connection, another process"),
    ("strangers", "other connections, other processes"),
    ("sees to it", "ensures"),
    ("as it were", "leave it out"),
    ("is asked", "reads, looks up"),
    ("of the moment", "current, short-lived"),
    ("comes to nothing", "has no effect, is rejected"),
];

/// Names of the standard library that contain a listed word.
const STD_NAMES: &[&str] = &["PoisonError", "clear_poison", "TryLockError::Poisoned"];

/// This file is exempt, because it contains the list.
const THIS_FILE: &str = "tests/word_list.rs";

/// The longest name of a test.
const MAX_NAME: usize = 65;

/// A violation: the file, the line number and a description.
type Violation = (String, usize, String);

#[test]
fn only_standard_terms_are_used() {
    let kinds = ["rs", "md", "toml", "snap", "json", "yml", "yaml", "html", "run"];
    let sources = sources(&kinds);
    let sources = sources.iter().filter(|source| source.path != Path::new(THIS_FILE));
    assert_none(sources.flat_map(listed_words).collect());
}

#[test]
fn comments_and_markdown_fit_the_width() {
    let width = max_width();
    let sources = sources(&["rs", "md", "toml"]);
    assert_none(sources.iter().flat_map(|source| wide_lines(source, width)).collect());
}

#[test]
fn function_names_are_short() {
    let sources = sources(&["rs"]);
    let long = sources.iter().flat_map(|source| {
        let names = functions(&source.text).filter(|(_, name)| name.len() > MAX_NAME);
        names.map(|(line, name)| {
            let text = format!("{name} has {} characters; the limit is {MAX_NAME}", name.len());
            (source.path.display().to_string(), line, text)
        })
    });
    assert_none(long.collect());
}

/// Panics with all violations, and their number in each directory.
fn assert_none(violations: Vec<Violation>) {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut text = String::new();
    for (path, line, description) in &violations {
        let end = path
            .match_indices('/')
            .nth(1)
            .or(path.match_indices('/').next())
            .map_or(path.len(), |(at, _)| at);
        *counts.entry(&path[..end]).or_default() += 1;
        text += &format!("{path}:{line}: {description}\n");
    }
    assert!(violations.is_empty(), "{text}{} violations: {counts:#?}", violations.len());
}

/// Returns the listed words and phrases of a file.
fn listed_words(source: &Source) -> Vec<Violation> {
    let words: Vec<(usize, String)> = (1..)
        .zip(source.text.lines())
        .flat_map(|(number, line)| {
            let line = STD_NAMES.iter().fold(line.to_owned(), |line, name| line.replace(name, ""));
            let words = line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
            words.map(|word| (number, word.to_lowercase())).collect::<Vec<_>>()
        })
        .collect();
    let mut found = Vec::new();
    for (phrase, replacement) in WORDS {
        let phrase_words: Vec<&str> = phrase.split(' ').collect();
        for window in words.windows(phrase_words.len()) {
            if window.iter().map(|(_, word)| word.as_str()).eq(phrase_words.iter().copied()) {
                let text = format!("{phrase:?}; use: {replacement}");
                found.push((source.path.display().to_string(), window[0].0, text));
            }
        }
    }
    found
}

/// Returns the comment lines or Markdown lines of a file that are too wide. Exempt are rows of tables, code
/// blocks, headings, and lines that cannot be broken, such as a link.
fn wide_lines(source: &Source, width: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(source.text.lines()) {
        let Some(text) = comment(source.kind(), line) else {
            in_code = false;
            continue;
        };
        if text.starts_with("```") {
            in_code = !in_code;
        }
        let columns = line.chars().count();
        let is_exempt = in_code || text.starts_with(['|', '#']) || !is_breakable(line, text, width);
        if columns > width && !is_exempt {
            let text = format!("{columns} columns; the limit is {width}");
            found.push((source.path.display().to_string(), number, text));
        }
    }
    found
}

/// Returns the text of a line of prose without its marker. `None` for code.
fn comment<'a>(kind: &str, line: &'a str) -> Option<&'a str> {
    let line = line.trim();
    match kind {
        "md" => Some(line),
        "toml" => line.strip_prefix('#').map(str::trim_start),
        _ => line.strip_prefix("//").map(|text| text.trim_start_matches(['/', '!']).trim_start()),
    }
}

/// Returns whether the text has a space before the limit, apart from a marker of a list.
fn is_breakable(line: &str, text: &str, width: usize) -> bool {
    let text = text.strip_prefix("- ").unwrap_or(text);
    let prefix = line.chars().count() - text.chars().count();
    text.chars().take(width.saturating_sub(prefix)).any(|letter| letter == ' ') && !text.starts_with('[')
}

/// Returns the names of all functions with their lines.
fn functions(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let line = line.trim_start();
        let rest = line.strip_prefix("fn ").or_else(|| line.split_once(" fn ").map(|(_, rest)| rest))?;
        let end = rest.find(|next: char| !next.is_alphanumeric() && next != '_')?;
        (!line.starts_with("//")).then_some((number, &rest[..end]))
    })
}

fn max_width() -> usize {
    let rustfmt = fs::read_to_string(root().join("rustfmt.toml")).expect("it can be read");
    let line = rustfmt.lines().find_map(|line| line.strip_prefix("max_width"));
    let value = line.and_then(|line| line.trim().strip_prefix('=')).expect("rustfmt.toml has max_width");
    value.trim().parse().expect("a number")
}

mod detection {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn words_are_found_across_lines_and_in_identifiers() {
        let found = |text: &str| listed_words(&source("a.rs", text)).len();
        assert_eq!(found("/// The place\n    /// in the order of a mutation."), 1);
        assert_eq!(found("fn a_fault_is_told() {}"), 1);
        assert_eq!(found("Nobody waits"), 1);
        assert_eq!(found("use std::sync::PoisonError; // threshold, hearsay"), 0);
    }

    #[test]
    fn wide_prose_is_found_and_exempt_lines_are_not() {
        let wide = "word ".repeat(10);
        let found = |path: &str, text: &str| wide_lines(&source(path, text), 40).len();
        assert_eq!(found("a.rs", &format!("    /// {wide}")), 1);
        assert_eq!(found("a.rs", &format!("let text = \"{wide}\";")), 0);
        assert_eq!(found("a.md", &wide), 1);
        assert_eq!(found("a.md", &format!("| {wide} |")), 0);
        assert_eq!(found("a.md", &format!("```\n{wide}\n```")), 0);
        assert_eq!(found("a.md", &format!("- https://example.org/{}", "x".repeat(40))), 0);
    }

    #[test]
    fn names_of_functions_are_read() {
        let names: Vec<_> = functions("fn one() {}\n    pub(crate) fn two<T>() {}\n// fn three()").collect();
        assert_eq!(names, [(1, "one"), (2, "two")]);
    }
}
