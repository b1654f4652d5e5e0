//! Backup, export, import and orphans.

use std::sync::atomic::{AtomicBool, Ordering};

use shape_meta_core::ReadShapes;
use shape_meta_sqlite::DiskIndexes;

use crate::support::{directory, fill, open, path, run, run_with};

#[test]
fn a_backup_beside_a_busy_owner_is_a_database() {
    let (from, to) = (directory(), directory());
    let store = open(from.path(), DiskIndexes::Maintained);
    fill(&store, 1..=2_000);
    let copied = to.path().join("copy");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for through in (2_100..=20_000).step_by(100) {
                if done.load(Ordering::Acquire) {
                    return;
                }
                fill(&store, through - 99..=through);
            }
        });
        let ran = run(&["backup", path(&from), "--to", copied.to_str().expect("text"), "--json"]);
        done.store(true, Ordering::Release);
        assert_eq!(ran.code, 0, "{}", ran.err);
    });
    let again = run(&["backup", path(&from), "--to", copied.to_str().expect("text")]);
    assert_eq!(again.code, 3, "a database is never written over: {}", again.err);
    let verified = run(&["verify", copied.to_str().expect("text"), "--definitions", "shape"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    let backup = open(&copied, DiskIndexes::Maintained);
    let shapes = backup.counts().expect("reads").total;
    assert!(shapes >= 2_000 && shapes.is_multiple_of(100), "the moment between two batches: {shapes}");
}

#[test]
fn what_was_exported_can_be_imported() {
    let (from, to) = (directory(), directory());
    let store = open(from.path(), DiskIndexes::Maintained);
    fill(&store, 1..=30);
    let exported = run(&["export", path(&from)]);
    assert_eq!((exported.code, exported.out.lines().count()), (0, 30));

    let ran = run_with(&["import", path(&to), "--json"], &exported.out);
    assert_eq!((ran.code, ran.out.trim()), (0, r#"{"added":30,"left_out":0}"#), "{}", ran.err);
    let again = run(&["export", path(&to)]);
    let without_places = |text: &str| {
        text.lines()
            .map(|line| {
                let mut shape: serde_json::Value = serde_json::from_str(line).expect("JSON");
                shape.as_object_mut().expect("an object").remove("created");
                shape
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(without_places(&again.out), without_places(&exported.out));
    assert_eq!(run(&["verify", path(&to), "--definitions", "shape"]).code, 0);

    let more = format!("{}nonsense\n", exported.out.lines().next().expect("a line").to_owned() + "\n");
    let ran = run_with(&["import", path(&to), "--json"], &more);
    assert_eq!((ran.code, ran.out.trim()), (1, r#"{"added":0,"left_out":2}"#));
    insta::assert_snapshot!(ran.err);
}

#[test]
fn orphans_are_exact_both_ways() {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    fill(&store, 1..=20);
    let stored: Vec<_> = (5..=25).map(|number| format!("{number:04}-1768476874000000")).collect();
    let input = stored.join("\n") + "\n0005-1768476874000000\n\n";
    let ran = run_with(&["orphans", path(&directory), "-", "--json"], &input);
    assert_eq!(ran.code, 1);
    let told: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let expected = |numbers: std::ops::RangeInclusive<u64>| {
        numbers.map(|number| format!("{number:04}-1768476874000000")).collect::<Vec<_>>()
    };
    assert_eq!(told["orphans"], serde_json::json!(expected(21..=25)));
    assert_eq!(told["without_data"], serde_json::json!(expected(1..=4)));
    let all = expected(1..=20).join("\n");
    assert_eq!(run_with(&["orphans", path(&directory)], &all).code, 0);
}
