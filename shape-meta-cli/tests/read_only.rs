//! Read-only commands, errors, help, completions and manual pages.

use std::fs;

use shape_meta_sqlite::DiskIndexes;

use crate::support::{
    DATABASE, READ_ONLY, directory, files, fill, open, path, run, run_with, stable, with_directory,
};

#[test]
fn prints_this() {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Maintained);
    fill(&store, 1..=12);
    let dir = path(&directory);
    for command in READ_ONLY {
        let input = "0001-1768476874000000\nnot-there\n";
        let ran = run_with(&with_directory(command, dir), input);
        assert_eq!(ran.code, i32::from(command[0] == "orphans"), "{command:?}: {}", ran.err);
        insta::assert_snapshot!(command[0], stable(&ran.out, &directory));
        let json = run_with(&with_directory(&[command, &["--json"]].concat(), dir), input);
        assert_eq!(json.code, ran.code, "{command:?}: text and JSON differ in the exit code");
        for line in json.out.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }
}

#[test]
fn filters_by_table_relation_and_state() {
    let directory = directory();
    let store = open(directory.path(), DiskIndexes::Omitted);
    fill(&store, 1..=20);
    let dir = path(&directory);
    let count = |arguments: &[&str]| run(&[&["export", dir], arguments].concat()).out.lines().count();
    assert_eq!(count(&[]), 20);
    assert_eq!(count(&["--table", "public.todos"]), 10);
    assert_eq!(count(&["--relation", "16501"]), 10);
    assert_eq!(count(&["--relation", "1"]), 0);
    assert_eq!(count(&["--state", "pending"]), 2);
    assert_eq!(count(&["--state", "started", "--table", "public.users"]), 0);
    assert_eq!(count(&["--unread-for", "1s"]), 20, "shapes that were never read match");
    assert_eq!(run(&["list", dir, "--json", "--limit", "3"]).out.lines().count(), 3);
    let shown = run(&["show", dir, "0005-1768476874000000", "--json"]);
    assert!(shown.out.contains(r#""created_seq":5,"#), "{}", shown.out);
}

/// With a live owner, after it has closed, and after it was killed: no byte of the database and of its WAL
/// changes. Only an empty WAL and its index may be created, which belong to the database.
#[test]
fn c11_read_only_commands_change_no_byte_of_a_database() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let owned = directory();
        let store = open(owned.path(), disk_indexes);
        fill(&store, 1..=50);
        let killed = directory();
        for (name, bytes) in files(owned.path()) {
            fs::write(killed.path().join(name), bytes).expect("writes");
        }
        let copied = directory();
        for name in [DATABASE.to_owned(), format!("{DATABASE}-wal")] {
            fs::write(copied.path().join(&name), &files(owned.path())[&name]).expect("writes");
        }
        let closed = directory();
        let other = open(closed.path(), disk_indexes);
        fill(&other, 1..=50);
        other.close().expect("closes");

        let index = format!("{DATABASE}-shm");
        for (state, directory) in
            [("owned", &owned), ("killed", &killed), ("copied", &copied), ("closed", &closed)]
        {
            let content = || {
                let mut files = files(directory.path());
                // The index has the marks of the readers. SQLite builds it anew from the WAL.
                files.remove(&index);
                files.retain(|name, bytes| !(name.ends_with("-wal") && bytes.is_empty()));
                files
            };
            let before = content();
            for command in READ_ONLY {
                let ran = run(&with_directory(command, path(directory)));
                assert!(ran.code <= 1, "{state} {command:?}: {}", ran.err);
                let after = content();
                let names = |files: &std::collections::BTreeMap<String, Vec<u8>>| {
                    files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect::<Vec<_>>()
                };
                assert!(before == after, "{state} {command:?}: {:?} {:?}", names(&before), names(&after));
            }
            let inspected = run(&["inspect", path(directory), "--json"]).out;
            assert!(inspected.contains(r#""shapes":50"#), "{state}: {inspected}");
            let alive = format!(r#""alive":{}"#, state == "owned");
            assert!(inspected.contains(&alive), "{state}: {inspected}");
        }
        fill(&store, 51..=60);
        store.close().expect("the owner is not disturbed");
    }
}

#[test]
fn reads_databases_of_version_1() {
    let directory = directory();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../shape-meta-sqlite/tests/fixtures/v1.sqlite3");
    fs::copy(fixture, directory.path().join(DATABASE)).expect("copies");
    let before = files(directory.path());
    for command in READ_ONLY {
        let ran = run(&with_directory(command, path(&directory)));
        let expected = i32::from(["show", "orphans"].contains(&command[0]) || command.contains(&"shape"));
        assert!(ran.code == expected, "{command:?}: {} {}", ran.out, ran.err);
    }
    assert_eq!(run(&["verify", path(&directory)]).code, 0);
    let mut after = files(directory.path());
    after.retain(|name, bytes| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty()));
    assert_eq!(after, before);
}

#[test]
fn errors_have_an_exit_code_and_a_message() {
    let empty = directory();
    let ran = run(&["inspect", path(&empty)]);
    assert_eq!(ran.code, 3);
    insta::assert_snapshot!("no_database", stable(&ran.err, &empty));

    let foreign = directory();
    fs::write(foreign.path().join(DATABASE), "no database").expect("writes");
    let ran = run(&["verify", path(&foreign)]);
    assert_eq!(ran.code, 3);
    insta::assert_snapshot!("not_a_database", stable(&ran.err, &foreign));

    let owned = directory();
    let _store = open(owned.path(), DiskIndexes::Maintained);
    for command in ["import", "repair"] {
        let ran = run(&[command, path(&owned)]);
        assert_eq!(ran.code, 4, "{}", ran.err);
        assert!(ran.err.contains("is already open"), "{}", ran.err);
    }
    assert_eq!(run(&["show", path(&owned), "unknown-handle"]).code, 1);
    assert_eq!(run(&["nonsense"]).code, 2);
    assert_eq!(run(&["list", path(&owned), "--unread-for", "soon"]).code, 2);
    assert_eq!(run(&["orphans", path(&owned), "/no/such/file"]).code, 2);
}

#[test]
fn completions_manual_pages_and_help_are_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("orphans"), "{shell}");
    }
    let man = run(&["man"]);
    assert!(man.code == 0 && man.out.contains(".TH shape-meta"), "{}", man.out);
    let pages = directory();
    assert_eq!(run(&["man", path(&pages)]).code, 0);
    let orphans =
        fs::read_to_string(pages.path().join("shape-meta-orphans.1")).expect("each command has a page");
    assert!(orphans.contains(".TH"), "{orphans}");
    let made = format!("{}/not/there", path(&pages));
    assert_eq!(run(&["man", &made]).code, 0, "the directory is made");
    assert!(fs::exists(format!("{made}/shape-meta.1")).expect("looks"));
    let missing = run(&["man", &format!("{}/shape-meta.1/none", path(&pages))]);
    assert!(missing.code == 6 && missing.err.contains("could not write the manual pages"), "{}", missing.err);
    insta::assert_snapshot!("help", run(&["--help"]).out);
}
