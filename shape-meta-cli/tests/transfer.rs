//! `backup`, `export`, `import` and `orphans`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use shape_meta_core::ReadShapes;
use shape_meta_sqlite::DiskIndexes;

use crate::support::{directory, fill, open, path, run, run_with};

#[test]
fn a_backup_under_a_writing_owner_is_a_consistent_database() {
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
    let second = run(&["backup", path(&from), "--to", copied.to_str().expect("text")]);
    assert_eq!(second.code, 3, "a backup never overwrites a database: {}", second.err);
    let verify = run(&["verify", copied.to_str().expect("text"), "--definitions", "shape"]);
    assert_eq!(verify.code, 0, "{}{}", verify.out, verify.err);
    let backup = open(&copied, DiskIndexes::Maintained);
    let shapes = backup.counts().expect("reads").total;
    assert!(shapes >= 2_000 && shapes.is_multiple_of(100), "the backup holds whole batches: {shapes} shapes");
}

/// The import waits for ten minutes, in which a file can be put back. It says so.
#[cfg(unix)]
#[test]
fn c9_an_import_says_that_it_waits_for_the_disk() {
    let (from, to) = (directory(), directory());
    fill(&open(from.path(), DiskIndexes::Maintained), 1..=2);
    let export = run(&["export", path(&from)]);
    let mut lines = export.out.lines();
    let mut child = Command::new(env!("CARGO_BIN_EXE_shape-meta"))
        .args(["import", path(&to)])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut input = child.stdin.take().expect("standard input is piped");
    let mut send = |line: Option<&str>| writeln!(input, "{}", line.expect("a line")).expect("it reads");
    send(lines.next());
    let deadline = Instant::now() + Duration::from_secs(60);
    // The first shape is written, so the files are open.
    while run(&["list", path(&to)]).out.lines().count() < 2 && Instant::now() < deadline {}
    fs::remove_file(to.path().join("shape-meta.sqlite3-wal")).expect("it is there");
    send(lines.next());
    let note = BufReader::new(child.stderr.take().expect("it is piped")).lines().next();
    let note = note.expect("it prints before it ends").expect("UTF-8");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(note.contains("are tried again"), "{note}");
}

/// The clock of the machine that wrote the lines was ahead, or a line is damaged.
#[test]
fn c1_an_imported_time_in_the_future_counts_as_now() {
    let (from, to) = (directory(), directory());
    fill(&open(from.path(), DiskIndexes::Maintained), 1..=2);
    let export = run(&["export", path(&from)]);
    let mut lines = String::new();
    for (line, at) in export.out.lines().zip([u64::MAX, 7]) {
        let mut shape: serde_json::Value = serde_json::from_str(line).expect("JSON");
        shape["last_read"] = at.into();
        lines += &format!("{shape}\n");
    }
    let ran = run_with(&["import", path(&to)], &lines);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let now = shape_meta_core::Timestamp::now().as_micros();
    let copy = run(&["export", path(&to)]);
    let times: Vec<_> = copy
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["last_read"].as_u64())
        .collect();
    assert!(times[0].is_some_and(|at| at <= now) && times[1] == Some(7), "{times:?}");
    let listed = run(&["list", path(&to), "--unread-for", "1d"]);
    assert!(listed.out.contains("2-") && !listed.out.contains("1-"), "{}", listed.out);
}

#[test]
fn an_export_can_be_imported() {
    let (from, to) = (directory(), directory());
    let store = open(from.path(), DiskIndexes::Maintained);
    fill(&store, 1..=30);
    let export = run(&["export", path(&from)]);
    assert_eq!((export.code, export.out.lines().count()), (0, 30));

    let ran = run_with(&["import", path(&to), "--json"], &export.out);
    let expected = r#"{"added":30,"skipped":0,"skipped_as":{"invalid":0,"not_utf8":0,"refused":0}}"#;
    assert_eq!((ran.code, ran.out.trim()), (0, expected), "{}", ran.err);
    let copy = run(&["export", path(&to)]);
    let without_seqs = |text: &str| {
        text.lines()
            .map(|line| {
                let mut shape: serde_json::Value = serde_json::from_str(line).expect("JSON");
                shape.as_object_mut().expect("an object").remove("created_seq");
                shape
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(without_seqs(&copy.out), without_seqs(&export.out));
    assert_eq!(run(&["verify", path(&to), "--definitions", "shape"]).code, 0);

    let more = format!("{}nonsense\n", export.out.lines().next().expect("a line").to_owned() + "\n");
    let ran = run_with(&["import", path(&to), "--json"], &more);
    let expected = r#"{"added":0,"skipped":2,"skipped_as":{"invalid":1,"not_utf8":0,"refused":1}}"#;
    assert_eq!((ran.code, ran.out.trim()), (1, expected));
    insta::assert_snapshot!("skipped_lines", ran.err);
}

#[test]
fn orphans_and_missing_data_are_exact() {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    fill(&store, 1..=20);
    let stored: Vec<_> = (5..=25).map(|number| format!("{number:04}-1768476874000000")).collect();
    let input = stored.join("\n") + "\n0005-1768476874000000\n\n";
    let ran = run_with(&["orphans", path(&directory), "-", "--json"], &input);
    assert_eq!(ran.code, 1);
    let report: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let expected = |numbers: std::ops::RangeInclusive<u64>| {
        numbers.map(|number| format!("{number:04}-1768476874000000")).collect::<Vec<_>>()
    };
    assert_eq!(report["orphans"], serde_json::json!(expected(21..=25)));
    assert_eq!(report["missing_data"], serde_json::json!(expected(1..=4)));
    let all = expected(1..=20).join("\n");
    assert_eq!(run_with(&["orphans", path(&directory)], &all).code, 0);
}
