//! Read-only commands next to an owner: the output is one moment of the database, or the exit code says why
//! not.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use shape_meta_core::{Batch, Change, NoopObserver, ReadShapes, Seq, ShapeStore, SnapshotState};
use shape_meta_sqlite::{ConnectionLimit, DiskIndexes, Durability, Mode, SqliteOptions, SqliteStore};

use crate::support::{DATABASE, READ_ONLY, directory, fill, open, path, run, shape, with_directory};

fn options() -> SqliteOptions {
    SqliteOptions::default().durability(Durability::ProcessCrash).disk_indexes(DiskIndexes::Omitted)
}

fn open_with(directory: &Path, options: SqliteOptions) -> SqliteStore {
    SqliteStore::open(directory, options, Arc::new(NoopObserver)).expect("the store opens")
}

/// Adds shape `number` as pending, marks the one before it complete, and removes an old one: each batch
/// changes old and new rows, and the database does not grow.
fn trickle(store: &SqliteStore, number: u64) {
    let record = Arc::new(shape(number).record(Seq::new(number)));
    let entry_of = |number| Arc::clone(&shape(number).record(Seq::new(number)).entry);
    let changes = [
        Change::Add { record, state: SnapshotState::Pending },
        Change::Mark { entry: entry_of(number - 1), state: SnapshotState::Complete },
        Change::Remove { entry: entry_of(number - 500) },
    ];
    store.apply(&Batch { changes: changes.into(), through: Seq::new(number) }).expect("the batch applies");
}

/// Makes 25 backups next to an owner that writes all the time, and checks each of them.
fn backups_during_writes(store: &SqliteStore, from: &str) {
    fill(store, 1..=1_000);
    let done = AtomicBool::new(false);
    let to = directory();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 1_000;
            while !done.load(Ordering::Acquire) {
                number += 1;
                trickle(store, number);
            }
        });
        for number in 0..25 {
            let copy = to.path().join(number.to_string());
            let copy = copy.to_str().expect("text");
            let ran = run(&["backup", from, "--to", copy, "--json"]);
            let verified = run(&["verify", copy, "--definitions", "shape"]);
            if ran.code != 0 || verified.code != 0 {
                done.store(true, Ordering::Release);
                panic!("backup {number}: {} {}, verify: {}{}", ran.code, ran.err, verified.out, verified.err);
            }
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn c6_backups_during_trickling_writes_are_whole() {
    let from = directory();
    backups_during_writes(&open_with(from.path(), options()), path(&from));
}

/// An owner above its connection limit closes its writer after each batch, and the WAL is gone with it.
#[test]
fn c6_backups_with_an_owner_above_its_limit_are_whole() {
    let (from, other) = (directory(), directory());
    let limit = ConnectionLimit::new(1);
    let _other = open_with(other.path(), options().connection_limit(&limit));
    backups_during_writes(&open_with(from.path(), options().connection_limit(&limit)), path(&from));
}

#[test]
fn c11_every_command_with_an_exclusive_owner_exits_with_4() {
    let (from, to) = (directory(), directory());
    let store = open_with(from.path(), options().mode(Mode::Exclusive));
    fill(&store, 1..=20);
    let copy = to.path().join("copy");
    let backup: &[&str] = &["backup", "--to", copy.to_str().expect("text")];
    for command in READ_ONLY.into_iter().chain([backup, &["import"], &["repair"]]) {
        let ran = run(&with_directory(command, path(&from)));
        assert_eq!(ran.code, 4, "{command:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("owns it") || ran.err.contains("live owner"), "{command:?}: {}", ran.err);
    }
    assert!(!copy.join(DATABASE).exists(), "no torn backup is left");
    fill(&store, 21..=30);
    assert_eq!(store.counts().expect("reads").total, 30, "the owner is not disturbed");
}

/// Starts a copy of the files of a live store, as a kill would leave them.
fn killed(store: &Path) -> tempfile::TempDir {
    let killed = directory();
    // Another process copies: this one must not open the files of its own store.
    let copied = Command::new("cp").arg("-r").arg(store.join(".")).arg(killed.path()).status().expect("runs");
    assert!(copied.success());
    killed
}

#[test]
fn c6_commands_work_after_a_kill_with_a_wal_of_32_bytes() {
    let from = directory();
    let store = open_with(from.path(), options());
    fill(&store, 1..=20);
    store.close().expect("closes");
    let store = open_with(from.path(), options());
    let state = killed(from.path());
    for length in [0, 1, 31, 32, 33, 56] {
        let wal = state.path().join(format!("{DATABASE}-wal"));
        let bytes = fs::read(&wal).expect("reads");
        let directory = killed(state.path());
        fs::write(directory.path().join(format!("{DATABASE}-wal")), &bytes[..length.min(bytes.len())])
            .expect("writes");
        for command in READ_ONLY {
            let ran = run(&with_directory(command, path(&directory)));
            let expected = i32::from(command[0] == "orphans");
            assert_eq!(ran.code, expected, "{length} bytes, {command:?}: {}", ran.err);
        }
        let out = run(&["inspect", path(&directory), "--json"]).out;
        assert!(out.contains(r#""shapes":20"#), "{length} bytes: {out}");
    }
    drop(store);
}

#[test]
fn c6_a_killed_creation_is_named_as_what_it_is() {
    let from = directory();
    let hot = rusqlite_hot_journal(from.path());
    for command in READ_ONLY {
        let ran = run(&with_directory(command, path(&from)));
        assert_eq!(ran.code, 3, "{command:?}: {}", ran.err);
        assert!(ran.err.contains("creation of the database"), "{command:?}: {}", ran.err);
        assert!(ran.err.contains("is not finished"), "{command:?}: {}", ran.err);
    }
    assert_eq!(fs::read(from.path().join(DATABASE)).expect("reads"), hot, "no byte changed");
    let store = open(from.path(), DiskIndexes::Omitted);
    fill(&store, 1..=3);
    assert_eq!(run(&["verify", path(&from)]).code, 0, "opening a store completes it");
}

/// Leaves what a kill inside the first transaction of a creation leaves: pages of the database, and a journal
/// that empties it. Returns the bytes of the database.
fn rusqlite_hot_journal(directory: &Path) -> Vec<u8> {
    let database = directory.join(DATABASE);
    let mut bytes = vec![0; 8_192];
    bytes[..16].copy_from_slice(b"SQLite format 3\0");
    bytes[16..24].copy_from_slice(&[0x10, 0, 1, 1, 0, 64, 32, 32]);
    bytes[28..32].copy_from_slice(&2_u32.to_be_bytes());
    fs::write(&database, &bytes).expect("writes");
    // The header of a journal with no record, for a database that had no page.
    let mut journal = vec![0; 512];
    journal[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    journal[20..24].copy_from_slice(&512_u32.to_be_bytes());
    journal[24..28].copy_from_slice(&4_096_u32.to_be_bytes());
    fs::write(directory.join(format!("{DATABASE}-journal")), journal).expect("writes");
    bytes
}
