//! C13, one line of history: copied, restored, swapped and recreated files are noticed before anything is
//! written or served as current.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use shape_meta_core::{
    Error, ErrorKind, NoopObserver, ReadShapes, Seq, ShapeStore, ShapeStoreExt, SnapshotState, Timestamp,
    TrustedState,
};
use shape_meta_sqlite::{
    ConnectionLimit, Inspector, Mode, OnLiveOwner, SqliteOptions, SqliteStandby, SqliteStore,
};

use crate::support::{self, add, batch};

/// Runs a command in another process: a process that closes a file gives up all its locks on it.
fn shell(directory: &Path, command: &str) {
    let status = Command::new("sh").args(["-ec", command]).current_dir(directory).status();
    assert!(status.expect("there is a shell").success(), "{command}");
}

fn apply(store: &impl ShapeStore, number: u64) -> Result<(), Error> {
    store.apply(&batch(number, [add(number, SnapshotState::Complete)]))
}

/// Applies a batch until its error no longer changes: a file that was moved is noticed by the first attempt,
/// and the one that is there now by the next.
fn refused(store: &impl ShapeStore, number: u64) -> Error {
    let first = apply(store, number).expect_err("the database is not ours any more");
    assert!(matches!(first.kind(), ErrorKind::Io | ErrorKind::Fenced), "{first}");
    let second = apply(store, number).expect_err("the database is not ours any more");
    let third = apply(store, number).expect_err("the database is not ours any more");
    assert_eq!(second.to_string(), third.to_string());
    second
}

fn standby(directory: &Path) -> SqliteStandby {
    SqliteStandby::open(directory, support::options(), Arc::new(NoopObserver)).expect("the standby opens")
}

/// Loads all shapes, as a mirror above does, and returns their numbers and the last sequence number.
fn load(store: &impl ShapeStore) -> (Vec<u64>, Seq) {
    let mut all = Vec::new();
    let last = store.load(&mut |entry| all.push(entry.created().get())).expect("loads");
    (all, last)
}

fn ids(directory: &Path) -> (Vec<u8>, Vec<u8>) {
    let connection = support::raw_connection(directory);
    connection
        .query_row("SELECT database_id, opening_id FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("reads")
}

/// The states in which an owner meets another file: at work, and with its connections closed.
fn rest(store: &SqliteStore, rests: bool) {
    if rests {
        store.close_idle();
    }
}

/// Closes the second owner in the mode in which it keeps the database locked, after a write of the first.
fn closed_if_exclusive(first: &SqliteStore, second: SqliteStore, mode: Mode) -> Option<SqliteStore> {
    if mode == Mode::Wal {
        return Some(second);
    }
    apply(first, 20).expect_err("its file has lost its name");
    let error = apply(first, 20).expect_err("the other owner has it locked");
    assert_eq!(error.kind(), ErrorKind::Busy);
    second.close().expect("closes");
    None
}

#[test]
fn c13_a_former_owner_is_fenced_after_a_restore() {
    for (mode, rests) in [(Mode::Wal, false), (Mode::Wal, true), (Mode::Exclusive, false)] {
        let (top, options) = (support::directory(), support::options().mode(mode));
        let live = top.path().join("live");
        let store = support::open(&live, options.clone());
        support::fill(&store, 1..=3);
        store.close().expect("closes");
        shell(top.path(), "cp -r live backup");

        let first = support::open(&live, options.clone());
        support::fill(&first, 4..=4);
        rest(&first, rests);
        // The operator takes it for dead, and puts the backup in its place, with another lock file.
        shell(top.path(), "rm -r live; cp -r backup live");
        let second = support::open(&live, options.clone());
        assert_eq!(second.report().epoch, first.report().epoch, "an epoch repeats");
        support::fill(&second, 4..=9);

        let second = closed_if_exclusive(&first, second, mode);
        // The sequence number is above all that the second owner has.
        let error = refused(&first, 20);
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert!(error.to_string().contains("restored copy"), "{error}");
        let second = second.unwrap_or_else(|| support::open(&live, options.clone()));
        support::fill(&second, 10..=12);
        drop((first, second));
        let store = support::open(&live, options);
        assert_eq!(support::live(&store), (1..=12).collect::<Vec<_>>());
        let problems = || {
            let mut problems = Vec::new();
            let inspector = Inspector::open(&live).expect("opens");
            inspector.verify(None, &mut |problem| problems.push(problem)).expect("reads");
            problems
        };
        drop(store);
        assert_eq!(problems(), Vec::<String>::new());
    }
}

#[test]
fn c13_a_restore_over_the_same_file_is_noticed() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    store.close().expect("closes");
    shell(directory.path(), "cp shape-meta.sqlite3 backup");
    let first = support::open(directory.path(), support::options());
    rest(&first, true);
    // The bytes are overwritten, and the file keeps its identity.
    shell(directory.path(), "cat backup > shape-meta.sqlite3; rm shape-meta.lock");
    let error = refused(&first, 4);
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("has not been opened yet"), "{error}");
    let second = support::open(directory.path(), support::options());
    support::fill(&second, 4..=5);
    assert_eq!(refused(&first, 6).kind(), ErrorKind::Fenced);
    assert_eq!(support::live(&second), [1, 2, 3, 4, 5]);
}

#[test]
fn c13_a_directory_made_anew_is_another_database() {
    for (rests, command) in
        [(false, "mv d aside"), (true, "mv d aside"), (false, "rm -r d"), (true, "rm -r d")]
    {
        for mode in [Mode::Wal, Mode::Exclusive] {
            let (top, options) = (support::directory(), support::options().mode(mode));
            let path = top.path().join("d");
            let first = support::open(&path, options.clone());
            rest(&first, rests);
            shell(top.path(), command);
            let second = support::open(&path, options.clone());
            assert_eq!(second.report().epoch, first.report().epoch, "an epoch repeats");
            let second = closed_if_exclusive(&first, second, mode);
            let error = refused(&first, 7);
            assert_eq!(error.kind(), ErrorKind::Fenced, "{command}: {error}");
            assert!(error.to_string().contains("another database is at this path"), "{error}");
            let second = second.unwrap_or_else(|| support::open(&path, options.clone()));
            support::fill(&second, 1..=2);
            assert_eq!(support::live(&second), [1, 2]);
            drop((first, second));
            assert_eq!(support::live(&support::open(&path, options)), [1, 2]);
        }
    }
}

#[test]
fn c13_swapped_tenants_write_and_read_nothing_of_each_other() {
    let limit = ConnectionLimit::new(1);
    for (rests, options) in [
        (false, support::options()),
        (true, support::options()),
        (false, support::options().connection_limit(&limit)),
    ] {
        let top = support::directory();
        let [one, two] = ["one", "two"].map(|name| support::open(&top.path().join(name), options.clone()));
        support::fill(&one, 1..=3);
        support::fill(&two, 1..=9);
        for store in [&one, &two] {
            rest(store, rests);
            store.close_idle_readers();
        }
        shell(top.path(), "mv one x; mv two one; mv x two");
        for store in [&one, &two] {
            // A reader that is opened now would show the other tenant's shapes.
            let read = store.counts().expect_err("the database is another one");
            assert_eq!(read.kind(), ErrorKind::Io, "{read}");
            assert!(read.to_string().contains("replaced"), "{read}");
            let error = refused(store, 20);
            assert_eq!(error.kind(), ErrorKind::Fenced);
            assert!(error.to_string().contains("another database"), "{error}");
        }
        shell(top.path(), "mv one x; mv two one; mv x two");
        support::fill(&one, 4..=4);
        support::fill(&two, 10..=10);
        assert_eq!([&one, &two].map(|store| support::live(store).len()), [4, 10]);
    }
}

#[test]
fn c13_a_renamed_parent_fails_commits_until_it_is_back() {
    let top = support::directory();
    let store = support::open(&top.path().join("a/b"), support::options());
    support::fill(&store, 1..=3);
    shell(top.path(), "mv a c");
    assert_eq!(refused(&store, 4).kind(), ErrorKind::Io);
    assert!(!top.path().join("a").exists(), "nothing is created");
    shell(top.path(), "mv c a");
    support::fill(&store, 4..=5);
    assert_eq!(support::live(&store), [1, 2, 3, 4, 5]);
}

#[cfg(unix)]
#[test]
fn c13_a_link_to_another_directory_is_another_database() {
    for rests in [false, true] {
        let top = support::directory();
        shell(top.path(), "mkdir one two; ln -s one link");
        let link = top.path().join("link");
        let one = support::open(&link, support::options());
        support::fill(&one, 1..=3);
        rest(&one, rests);
        shell(top.path(), "ln -sfn two link");
        let two = support::open(&link, support::options());
        support::fill(&two, 1..=1);
        assert_eq!(refused(&one, 4).kind(), ErrorKind::Fenced);
        assert_eq!(support::live(&two), [1]);
        shell(top.path(), "ln -sfn one link");
        support::fill(&one, 4..=4);
        assert_eq!(support::live(&one), [1, 2, 3, 4]);
    }
}

#[test]
fn c13_a_copy_made_while_live_is_refused_when_it_is_put_back() {
    for rests in [false, true] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=3);
        shell(directory.path(), "mkdir copy; cp shape-meta.sqlite3* copy");
        support::fill(&store, 4..=6);
        rest(&store, rests);
        shell(directory.path(), "mkdir aside; mv shape-meta.sqlite3* aside; cp copy/* .");
        let error = refused(&store, 7);
        assert_eq!(error.kind(), ErrorKind::Io, "the copy has no owner, and the right file can be put back");
        assert!(error.to_string().contains("older copy"), "{error}");
        shell(directory.path(), "rm shape-meta.sqlite3*; mv aside/* .");
        support::fill(&store, 7..=8);
        drop(store);
        assert_eq!(support::live(&support::open(directory.path(), support::options())).len(), 8);
    }
}

#[test]
fn c13_a_lost_or_replaced_wal_is_noticed() {
    for command in [
        "mv shape-meta.sqlite3-wal aside",
        "rm shape-meta.sqlite3-wal",
        "mv shape-meta.sqlite3-wal aside; cp aside shape-meta.sqlite3-wal",
        "mv shape-meta.sqlite3-wal aside; : > shape-meta.sqlite3-wal",
    ] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=3);
        shell(directory.path(), command);
        let error = apply(&store, 4).expect_err("the WAL has lost its name");
        assert_eq!(error.kind(), ErrorKind::Io, "{command}: {error}");
        assert!(error.to_string().contains("-wal"), "{error}");
        if command.contains("aside") {
            shell(directory.path(), "mv aside shape-meta.sqlite3-wal");
            apply(&store, 4).expect("the WAL is back");
        } else {
            assert_repairs(&store);
        }
        drop(store);
        let store = support::open(directory.path(), support::options());
        assert!(support::live(&store).contains(&4), "{command}: what is confirmed is durable");
    }
}

/// A reader that was open before has the files by their descriptors, and shows the commit.
#[test]
fn c13_a_commit_into_a_lost_file_does_not_count_as_committed() {
    for command in ["rm shape-meta.sqlite3-wal", "rm shape-meta.sqlite3", "mv shape-meta.sqlite3-wal aside"] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=3);
        let scan = store.scan().expect("a reader is open");
        drop(scan);
        shell(directory.path(), command);
        apply(&store, 4).expect_err("the file has lost its name");
        assert!(store.last_seq().is_err(), "{command}");
    }
}

/// Repairs the database from the shapes 1 to 3, and adds shape 4.
fn assert_repairs(store: &SqliteStore) {
    let entries = Vec::from_iter((1..=3).map(|number| support::record(number).entry.clone()));
    let trusted = TrustedState { entries: Some(&entries), last_seq: Some(Seq::new(3)) };
    store.rebuild_from(trusted).expect("the same remedy as for a lost database");
    apply(store, 4).expect("the database is repaired");
}

#[test]
fn c13_a_wal_that_is_cut_or_overwritten_in_place_is_noticed() {
    let older = "cat older-wal > shape-meta.sqlite3-wal";
    let restore = format!("cat older > shape-meta.sqlite3; {older}");
    for command in [
        ": > shape-meta.sqlite3-wal",
        "truncate -s -100 shape-meta.sqlite3-wal",
        older,
        &restore,
        &format!("{restore}; rm shape-meta.sqlite3-shm"),
    ] {
        for reads in [false, true] {
            let directory = support::directory();
            let store = support::open(directory.path(), support::options());
            support::fill(&store, 1..=2);
            shell(directory.path(), "cp shape-meta.sqlite3 older; cp shape-meta.sqlite3-wal older-wal");
            let scan = reads.then(|| store.scan().expect("opens"));
            support::fill(&store, 3..=3);
            shell(directory.path(), command);
            let error = apply(&store, 4).expect_err(command);
            assert_eq!(error.kind(), ErrorKind::Io, "{command}: {error}");
            apply(&store, 4).expect_err("it stays so");
            drop(scan);
            assert_repairs(&store);
            drop(store);
            let store = support::open(directory.path(), support::options());
            assert!(support::live(&store).contains(&4), "{command}: what is confirmed is durable");
        }
    }
}

#[test]
fn c13_an_older_file_next_to_our_wal_is_noticed() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let checkpoint = || {
        let connection = support::raw_connection(directory.path());
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.query_row(truncate, [], |_| Ok(())).expect("checkpoints");
    };
    support::fill(&store, 1..=2);
    checkpoint();
    shell(directory.path(), "cp shape-meta.sqlite3 older");
    support::fill(&store, 3..=200);
    checkpoint();
    // The WAL has the row with the identities and the latest sequence number, and lacks most shapes.
    support::fill(&store, 201..=201);
    shell(directory.path(), "mv shape-meta.sqlite3 aside; mv older shape-meta.sqlite3");
    for _ in 0..3 {
        assert_eq!(apply(&store, 202).expect_err("a mixture").kind(), ErrorKind::Io);
    }
    shell(directory.path(), "mv aside shape-meta.sqlite3");
    apply(&store, 202).expect("the database is back");
    drop(store);
    assert_eq!(support::live(&support::open(directory.path(), support::options())).len(), 202);
}

#[test]
fn c13_a_wal_that_another_program_has_truncated_is_whole() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    let connection = support::raw_connection(directory.path());
    let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 = connection.query_row(truncate, [], |row| row.get(0)).expect("checkpoints");
    assert_eq!(busy, 0);
    support::fill(&store, 4..=200);
    drop(store);
    assert_eq!(support::live(&support::open(directory.path(), support::options())).len(), 200);
}

/// Runs one statement through another SQLite.
fn sql(directory: &Path, statement: &str) {
    let connection = support::raw_connection(directory);
    connection.execute_batch(statement).expect(statement);
}

#[test]
fn c13_an_older_copy_written_into_the_file_is_noticed() {
    let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
    for (mode, reads, rests) in [
        (Mode::Wal, false, false),
        (Mode::Wal, true, false),
        (Mode::Wal, true, true),
        (Mode::Exclusive, false, false),
    ] {
        for own_checkpoint in [false, true] {
            let directory = support::directory();
            let options = support::options().mode(mode);
            let store = support::open(directory.path(), options.clone());
            let checkpoint = || match own_checkpoint || mode == Mode::Exclusive {
                true => store.maintain().expect("checkpoints"),
                false => sql(directory.path(), truncate),
            };
            support::fill(&store, 1..=2);
            checkpoint();
            shell(directory.path(), "cp shape-meta.sqlite3 older");
            support::fill(&store, 3..=200);
            checkpoint();
            shell(directory.path(), "cp shape-meta.sqlite3 right");
            let scan = reads.then(|| store.scan().expect("opens"));
            if mode == Mode::Wal {
                // The WAL has the row with the identities and the latest number, and lacks most shapes.
                support::fill(&store, 201..=201);
            }
            // With the scan, this leaves the WAL.
            rest(&store, rests);
            let at = if mode == Mode::Wal { 202 } else { 201 };
            shell(directory.path(), "cp shape-meta.sqlite3 right; cat older > shape-meta.sqlite3");
            let case = format!("{mode:?}, read {reads}, at rest {rests}, own checkpoint {own_checkpoint}");
            for _ in 0..3 {
                assert_eq!(apply(&store, at).expect_err(&case).kind(), ErrorKind::Io, "{case}");
            }
            store.maintain().expect_err("nor is it checkpointed");
            drop(scan);
            shell(directory.path(), "cat right > shape-meta.sqlite3");
            apply(&store, at).expect(&case);
            drop(store);
            let live = support::live(&support::open(directory.path(), options));
            assert_eq!(live, (1..=at).collect::<Vec<_>>(), "{case}");
        }
    }
}

#[test]
fn c13_a_file_that_was_overwritten_is_repaired_from_memory() {
    for command in
        ["cat older > shape-meta.sqlite3", ": > shape-meta.sqlite3", "cat older-wal > shape-meta.sqlite3"]
    {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=2);
        shell(directory.path(), "cp shape-meta.sqlite3-wal older-wal");
        store.maintain().expect("checkpoints");
        shell(directory.path(), "cp shape-meta.sqlite3 older");
        support::fill(&store, 3..=3);
        store.maintain().expect("checkpoints");
        shell(directory.path(), command);
        assert_eq!(apply(&store, 4).expect_err(command).kind(), ErrorKind::Io, "{command}");
        assert_repairs(&store);
        store.maintain().expect("checkpoints");
        apply(&store, 5).expect("the new file is known");
        drop(store);
        let live = support::live(&support::open(directory.path(), support::options()));
        assert!(live.ends_with(&[4, 5]), "{command}: what is confirmed is durable");
    }
}

#[test]
fn c13_a_close_moves_no_wal_into_an_overwritten_file() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=2);
    store.maintain().expect("checkpoints");
    shell(directory.path(), "cp shape-meta.sqlite3 older");
    support::fill(&store, 3..=200);
    store.maintain().expect("checkpoints");
    support::fill(&store, 201..=201);
    shell(directory.path(), "cp shape-meta.sqlite3 right; cat older > shape-meta.sqlite3");
    assert_eq!(store.close().expect_err("the file is an older one").kind(), ErrorKind::Io);
    store.close().expect("it is closed");
    shell(directory.path(), "cmp older shape-meta.sqlite3; cat right > shape-meta.sqlite3");
    assert_eq!(support::live(&support::open(directory.path(), support::options())).len(), 201);
}

#[test]
fn c13_what_another_program_may_do_to_the_file_fails_no_commit() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let mut number = 0;
    for rests in [false, true] {
        for reads in [false, true] {
            for change in
                ["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "ANALYZE"]
            {
                for command in [
                    "true",
                    "touch shape-meta.sqlite3",
                    "cp -p shape-meta.sqlite3 x; cat x > shape-meta.sqlite3",
                ] {
                    support::fill(&store, number + 1..=number + 20);
                    let scan = reads.then(|| store.scan().expect("opens"));
                    sql(directory.path(), change);
                    rest(&store, rests);
                    shell(directory.path(), command);
                    support::fill(&store, number + 21..=number + 40);
                    number += 40;
                    drop(scan);
                }
            }
        }
    }
    drop(store);
    assert_eq!(support::live(&support::open(directory.path(), support::options())).len() as u64, number);
}

#[test]
fn c13_every_write_path_is_fenced_by_each_identity() {
    for change in [
        "opening_id = randomblob(16)",
        "database_id = randomblob(16)",
        "epoch = epoch + 1",
        "opening_id = x'', database_id = x''",
    ] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=3);
        let connection = support::raw_connection(directory.path());
        connection.execute(&format!("UPDATE meta SET {change}, checksum = NULL"), []).expect("writes");
        let dump = || -> Vec<String> {
            let sql = "SELECT hex(database_id) || hex(opening_id) || epoch || last_seq FROM meta
                       UNION ALL SELECT handle FROM shape UNION ALL SELECT handle FROM cleanup";
            let mut statement = connection.prepare(sql).expect("valid");
            statement.query_map([], |row| row.get(0)).expect("reads").map(|row| row.expect("reads")).collect()
        };
        let before = dump();
        let writes: [(&str, Result<(), Error>); 6] = [
            ("apply", apply(&store, 4)),
            ("recover", store.recover().map(drop)),
            ("add_orphans", store.add_orphans(&[support::record(1).handle().clone()])),
            ("save_reads", store.save_reads(&[(Seq::new(1), Timestamp::now())])),
            ("maintain", store.maintain()),
            ("repair", store.rebuild_from(TrustedState::default()).map(drop)),
        ];
        for (path, outcome) in writes {
            assert_eq!(outcome.expect_err(path).kind(), ErrorKind::Fenced, "{path} after {change}");
        }
        assert_eq!(dump(), before, "{change}");
        assert_eq!(fs::read_dir(directory.path()).expect("reads").count(), 4, "no file is moved");
    }
}

#[test]
fn c13_a_backup_gets_an_identity_of_its_own() {
    let (directory, copies) = (support::directory(), support::directory());
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    let [first, second] = ["first", "second"].map(|name| copies.path().join(name));
    Inspector::open(directory.path()).expect("opens").backup(&first, |_, _| {}).expect("the backup succeeds");
    assert_eq!(ids(&first), (vec![], vec![]));
    shell(copies.path(), "cp -r first second");
    let databases: Vec<_> = [&first, &second]
        .map(|path| {
            let store = support::open(path, support::options());
            assert_eq!(support::live(&store), [1, 2, 3]);
            store.close().expect("closes");
            ids(path).0
        })
        .into_iter()
        .chain([ids(directory.path()).0])
        .collect();
    assert!(databases.iter().all(|id| id.len() == 16));
    assert!(databases[0] != databases[1] && databases[1] != databases[2] && databases[0] != databases[2]);
    support::fill(&owner, 4..=4);
}

#[test]
fn c13_a_rebuilt_database_gets_another_identity() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    let before = ids(directory.path());
    owner.rebuild_from(TrustedState::default()).expect("the repair succeeds");
    let repaired = ids(directory.path());
    assert!(repaired.0 != before.0 && repaired.1 != before.1);
    assert_eq!(support::live(&owner), [1, 2, 3], "the readers are of the new database");
    owner.close_idle();
    support::fill(&owner, 4..=5);
    owner.close().expect("closes");

    // A quarantine at open.
    shell(directory.path(), "printf x | dd of=shape-meta.sqlite3 bs=1 seek=8195 conv=notrunc 2>/dev/null");
    let options = support::options().integrity_check(shape_meta_sqlite::IntegrityCheck::Everything);
    let store = support::open(directory.path(), options);
    assert!(store.report().quarantined.is_some());
    assert!(ids(directory.path()).0 != repaired.0);
}

#[test]
fn c13_a_failed_repair_leaves_the_owner_its_database() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    // The name of the new database is taken by a directory.
    shell(directory.path(), "mkdir shape-meta.sqlite3-salvaging");
    owner.rebuild_from(TrustedState::default()).expect_err("it cannot be written");
    support::fill(&owner, 4..=5);
    assert_eq!(support::live(&owner), [1, 2, 3, 4, 5]);
    shell(directory.path(), "rmdir shape-meta.sqlite3-salvaging");
    owner.rebuild_from(TrustedState::default()).expect("the repair succeeds");
    support::fill(&owner, 6..=6);
    assert_eq!(support::live(&owner).len(), 6);
}

#[test]
fn c13_a_standby_is_incremental_across_a_hand_over() {
    let directory = support::directory();
    let options = || support::options().on_live_owner(OnLiveOwner::Fence);
    let mut owner = support::open(directory.path(), options());
    support::fill(&owner, 1..=10);
    let standby = standby(directory.path());
    let (_, mut last) = load(&standby);
    let mut kept = Vec::new();
    for number in 11..=30 {
        match number % 4 {
            // The owner closes, and another one opens.
            0 => {
                owner.close().expect("closes");
                owner = support::open(directory.path(), options());
            }
            // The owner is fenced.
            1 => kept.push(std::mem::replace(&mut owner, support::open(directory.path(), options()))),
            // The next owner writes nothing.
            2 => drop(std::mem::replace(&mut owner, support::open(directory.path(), options()))),
            _ => {}
        }
        apply(&owner, number).expect("it is the owner");
        if number % 3 == 0 {
            let delta = standby.changes_since(last).expect("reads").expect("the line goes on");
            assert_eq!(delta.added.len() as u64, number - last.get());
            last = delta.through;
        }
    }
    drop((owner, kept));
    standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
    assert!(standby.changes_since(last).expect("reads").is_some(), "the line goes on");
    apply(&standby, 31).expect("it is the owner");
    assert_eq!(standby.changes_since(last).expect("reads").map(|delta| delta.added.len()), Some(1));
}

/// A database with copies of three moments of two openings, and a standby that has seen the last one.
struct Restored {
    top: tempfile::TempDir,
    live: PathBuf,
    standby: SqliteStandby,
    last: Seq,
}

impl Restored {
    fn new() -> Self {
        let top = support::directory();
        let live = top.path().join("live");
        let owner = support::open(&live, support::options());
        support::fill(&owner, 1..=5);
        owner.close().expect("closes");
        shell(top.path(), "cp -r live at5");
        let owner = support::open(&live, support::options());
        support::fill(&owner, 6..=10);
        shell(top.path(), "cp -r live at10");
        support::fill(&owner, 11..=15);
        let standby = standby(&live);
        let (all, last) = load(&standby);
        assert_eq!(all.len(), 15);
        drop(owner);
        Self { top, live, standby, last }
    }

    /// Puts a copy in place of the live database.
    fn restore(&self, copy: &str) {
        shell(self.top.path(), &format!("rm -r live; cp -r {copy} live"));
    }

    fn assert_reloads(&mut self, expected: &[u64], what: &str) {
        assert!(self.standby.changes_since(self.last).expect("reads").is_none(), "{what}: another line");
        assert!(self.standby.changes_since(self.last).expect("reads").is_none(), "{what}: until it reloads");
        let (all, last) = load(&self.standby);
        assert_eq!(all, expected, "{what}");
        assert_eq!(support::live_of(&self.standby), expected, "{what}");
        self.last = last;
        assert!(self.standby.changes_since(self.last).expect("reads").is_some(), "{what}: incremental again");
    }
}

#[test]
fn c13_a_standby_reloads_after_a_restore() {
    // Restored older than the standby; the next owner stays behind it, meets it, or passes it.
    for (copy, through) in [("at5", 5), ("at5", 8), ("at5", 15), ("at5", 30), ("at10", 15), ("at10", 40)] {
        let mut restored = Restored::new();
        restored.restore(copy);
        let owner = support::open(&restored.live, support::options());
        let first = owner.last_seq().expect("reads").get() + 1;
        if first <= through {
            // Other shapes under the same sequence numbers.
            let adds = (first..=through).map(|number| {
                let record = shape_meta_core::conformance::shape(number + 1_000).record(Seq::new(number));
                shape_meta_core::Change::Add { record: Arc::new(record), state: SnapshotState::Complete }
            });
            owner.apply(&batch(through, adds)).expect("the batch applies");
        }
        let what = format!("{copy}, then up to {through}");
        restored.assert_reloads(&(1..=through).collect::<Vec<_>>(), &what);
        // A hand-over on the new line is incremental.
        drop(owner);
        let owner = support::open(&restored.live, support::options());
        apply(&owner, through + 1).expect("it is the owner");
        let delta = restored.standby.changes_since(restored.last).expect("reads");
        assert_eq!(delta.map(|delta| delta.added.len()), Some(1), "{what}");
    }
}

/// The file keeps its identity of the file system, and the readers of the standby have it open.
#[test]
fn c13_a_standby_reloads_after_its_file_was_overwritten() {
    for (copy, shapes) in [("at5", 5), ("at10", 10)] {
        for is_read in [true, false] {
            for has_owner in [false, true] {
                let mut restored = Restored::new();
                if is_read {
                    assert_eq!(support::live_of(&restored.standby).len(), 15);
                }
                let name = "shape-meta.sqlite3";
                let command =
                    format!("cat {copy}/{name} > live/{name}; rm -f live/{name}-wal live/{name}-shm");
                shell(restored.top.path(), &command);
                if has_owner {
                    // The owner is of this process, whose connections to one file share what they know of its
                    // WAL.
                    restored.standby.check_source().expect("reads");
                }
                let owner = has_owner.then(|| support::open(&restored.live, support::options()));
                let what = format!("{copy}, read before: {is_read}, owner: {has_owner}");
                // The WAL of this copy was not checkpointed: the copy ends with its first opening.
                let expected = if copy == "at10" { 5 } else { shapes };
                restored.assert_reloads(&(1..=expected).collect::<Vec<_>>(), &what);
                drop(owner);
            }
        }
    }
}

#[test]
fn c13_a_restored_newer_copy_is_another_line_unless_it_continues() {
    // The copy is newer than what the standby has seen, and continues it.
    let top = support::directory();
    let live = top.path().join("live");
    let owner = support::open(&live, support::options());
    support::fill(&owner, 1..=5);
    let standby = standby(&live);
    let (_, last) = load(&standby);
    support::fill(&owner, 6..=10);
    owner.close().expect("closes");
    shell(top.path(), "cp -r live newer; rm -r live; cp -r newer live");
    let delta = standby.changes_since(last).expect("reads").expect("it contains all that was shown");
    assert_eq!(delta.added.len(), 5);
    // A backup is another database, also where it contains all that was shown.
    Inspector::open(&live).expect("opens").backup(&top.path().join("backup"), |_, _| {}).expect("succeeds");
    shell(top.path(), "rm -r live; cp -r backup live");
    assert!(standby.changes_since(delta.through).expect("reads").is_none());
}

#[test]
fn c13_a_restore_between_two_refreshes_is_noticed() {
    let mut restored = Restored::new();
    restored.restore("at5");
    let owner = support::open(&restored.live, support::options());
    support::fill(&owner, 6..=20);
    drop(owner);
    // And once more, before the standby has looked.
    restored.restore("at10");
    let owner = support::open(&restored.live, support::options());
    support::fill(&owner, 11..=16);
    restored.assert_reloads(&(1..=16).collect::<Vec<_>>(), "two restores");
}

#[test]
fn c13_a_standby_opens_no_reader_on_another_database() {
    let restored = Restored::new();
    restored.standby.check_source().expect("reads");
    assert_eq!(support::live_of(&restored.standby).len(), 15);
    let scan = restored.standby.scan().expect("it takes the idle reader");
    restored.restore("at5");
    let error = restored.standby.counts().expect_err("what it shows is of another line");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(scan.count(), 15, "a scan goes on");
    restored.standby.check_source().expect("it follows the other database");
    assert_eq!(restored.standby.counts().expect("reads").total, 5);
}

#[test]
fn c13_a_promotion_across_a_restore_reloads() {
    for (copy, through) in [("at5", 5), ("at5", 20), ("at10", 15)] {
        let mut restored = Restored::new();
        restored.restore(copy);
        if through > 10 {
            let owner = support::open(&restored.live, support::options());
            let first = owner.last_seq().expect("reads").get() + 1;
            support::fill(&owner, first..=through);
        }
        restored.standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
        restored.assert_reloads(&(1..=through).collect::<Vec<_>>(), copy);
        apply(&restored.standby, through + 1).expect("it is the owner");
    }
}

#[test]
fn c13_a_fence_makes_an_opening_before_anything_else() {
    let directory = support::directory();
    let first = support::open(directory.path(), support::options());
    support::fill(&first, 1..=3);
    let second = support::open(directory.path(), support::options().on_live_owner(OnLiveOwner::Fence));
    let connection = support::raw_connection(directory.path());
    let line: Vec<(i64, i64, i64)> = connection
        .prepare("SELECT epoch, length(opening_id), began_at FROM lineage ORDER BY epoch")
        .expect("valid")
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("reads")
        .map(|row| row.expect("reads"))
        .collect();
    // The fencing, and then the opening.
    assert_eq!(line, [(1, 16, 0), (2, 16, 3), (3, 16, 3)]);
    let error = refused(&first, 4);
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("a newer owner"), "{error}");
    support::fill(&second, 4..=4);
}

const CHILD: &str = "SHAPE_META_RELATIVE_PATH";

/// Runs in a process of its own, since it changes the working directory.
#[test]
fn c13_a_relative_path_is_fixed_at_open() {
    if env::var_os(CHILD).is_some() {
        return with_a_relative_path();
    }
    let top = support::directory();
    shell(top.path(), "mkdir one two");
    let status = Command::new(env::current_exe().expect("it is known"))
        .args(["--exact", "identity::c13_a_relative_path_is_fixed_at_open"])
        .env(CHILD, "1")
        .current_dir(top.path().join("one"))
        .status();
    assert!(status.expect("it starts").success());
}

fn with_a_relative_path() {
    let options = || SqliteOptions::default();
    let here = env::current_dir().expect("it is known");
    let (one, two) = (here.clone(), here.with_file_name("two"));
    let relative = Path::new("data");
    let theirs = support::open(&two.join(relative), options());
    support::fill(&theirs, 1..=9);
    theirs.close_idle();

    let store = support::open(relative, options());
    support::fill(&store, 1..=3);
    let standby = standby(relative);
    load(&standby);
    assert_eq!(store.directory(), Some(&*one.join(relative)));
    for rests in [false, true] {
        rest(&store, rests);
        store.close_idle_readers();
        let inspector = Inspector::open(relative).expect("opens");
        env::set_current_dir(&two).expect("it is there");
        let next = store.last_seq().expect("reads").get() + 1;
        apply(&store, next).expect("its own database");
        assert_eq!(support::live(&store).len() as u64, next);
        assert_eq!(load(&standby).0.len() as u64, next);
        assert_eq!(inspector.summary(1).expect("reads").counts.total, next);
        assert_eq!(support::open_error(&one.join(relative), options()).kind(), ErrorKind::AlreadyOpen);
        inspector.backup(Path::new(&format!("backup-{rests}")), |_, _| {}).expect("it is named from here");
        assert!(two.join(format!("backup-{rests}")).is_dir());
        store.rebuild_from(TrustedState::default()).expect("repairs in its directory");
        env::set_current_dir(&one).expect("it is there");
    }
    env::set_current_dir(&two).expect("it is there");
    store.close().expect("closes");
    standby.promote(OnLiveOwner::Fail).expect("its own directory");
    assert_eq!(support::live(&theirs).len(), 9, "the other tenant is untouched");
}
