//! The faults of a disk, as SQLite meets them.

use std::{fs, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use shape_meta_faults::{Cut, Disk, Failure, Op, VFS, When};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be created")
}

fn open(directory: &Path) -> Connection {
    Connection::open_with_flags_and_vfs(directory.join("db"), OpenFlags::default(), VFS).expect("it opens")
}

/// A database in this journal mode that syncs every commit, with one row.
fn database(directory: &Path, mode: &str) -> Connection {
    let connection = open(directory);
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; PRAGMA synchronous = FULL; CREATE TABLE t (x, y); \
             INSERT INTO t VALUES (0, zeroblob(5000))"
        ))
        .expect("nothing fails");
    connection
}

fn insert(connection: &Connection, x: i64) -> rusqlite::Result<usize> {
    connection.execute("INSERT INTO t VALUES (?1, randomblob(5000))", [x])
}

/// The rows of an image, whose database must be intact.
fn rows(directory: &Path) -> Vec<i64> {
    let connection = Connection::open(directory.join("db")).expect("it opens");
    connection.execute_batch("PRAGMA synchronous = OFF").expect("nothing fails");
    let integrity: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it reads");
    assert_eq!(integrity, "ok");
    let mut statement = connection.prepare("SELECT x FROM t ORDER BY x").expect("the table is there");
    statement.query_map([], |row| row.get(0)).expect("it reads").collect::<Result<_, _>>().expect("it reads")
}

fn image(disk: &Disk, cut: Cut) -> Vec<i64> {
    let to = directory();
    disk.image(to.path(), cut).expect("it can be written");
    rows(to.path())
}

#[test]
fn only_the_next_call_fails() {
    for mode in ["WAL", "DELETE"] {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        let connection = database(directory.path(), mode);
        assert!(disk.calls(Op::Write) > 0 && disk.calls(Op::Sync) > 0);
        for (op, failure, code) in [
            (Op::Write, Failure::Io, ffi::SQLITE_IOERR_WRITE),
            (Op::Write, Failure::Full, ffi::SQLITE_FULL),
            (Op::Sync, Failure::Io, ffi::SQLITE_IOERR_FSYNC),
            (Op::Sync, Failure::Code(ffi::SQLITE_IOERR_DIR_FSYNC), ffi::SQLITE_IOERR_DIR_FSYNC),
        ] {
            disk.fail(op, When::Next, failure);
            let error = insert(&connection, 1).expect_err("the call has a fault");
            assert_eq!(
                error.sqlite_error().expect("an error of SQLite").extended_code,
                code,
                "{mode} {op:?}"
            );
            let failed = disk.failed();
            insert(&connection, 1).expect("only the next one fails");
            assert_eq!(disk.failed(), failed);
            connection.execute("DELETE FROM t WHERE x = 1", []).expect("nothing fails");
        }
        drop(connection);
        assert_eq!(rows(directory.path()), [0]);
    }
}

#[test]
fn other_directories_and_vfs_have_no_faults() {
    let (one, other) = (directory(), directory());
    let disk = Disk::mount(one.path()).expect("it is there");
    let same = open(one.path());
    disk.fail_all(When::Always, Failure::Io);
    assert!(same.execute_batch("CREATE TABLE t (x)").is_err());
    database(other.path(), "WAL");
    let without = Connection::open(one.path().join("db")).expect("it opens");
    without.execute_batch("CREATE TABLE t (x)").expect("not through the VFS");
}

#[test]
fn a_full_disk_fails_writes_until_it_has_space() {
    let directory = directory();
    let disk = Disk::mount(directory.path()).expect("it is there");
    let connection = database(directory.path(), "WAL");
    disk.limit_free_space(40_000);
    let mut kept = 0;
    let error = loop {
        match insert(&connection, kept + 1) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
    assert!((1..10).contains(&kept), "{kept}");
    assert!(disk.failed() > 0);
    disk.limit_free_space(1_000_000);
    insert(&connection, kept + 1).expect("there is space again");
}

#[test]
fn lost_files_fail_and_new_files_work() {
    let directory = directory();
    let disk = Disk::mount(directory.path()).expect("it is there");
    let connection = database(directory.path(), "DELETE");
    disk.lose_open_files();
    assert!(insert(&connection, 1).is_err());
    insert(&open(directory.path()), 2).expect("it is a new file");
    drop(connection);
    assert_eq!(rows(directory.path()), [0, 2]);
}

#[test]
fn a_power_cut_loses_unsynced_writes() {
    for mode in ["WAL", "DELETE"] {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        let connection = database(directory.path(), mode);
        connection.execute_batch("PRAGMA synchronous = OFF").expect("nothing fails");
        insert(&connection, 1).expect("nothing fails");
        disk.power_off();
        assert!(insert(&connection, 2).is_err());
        assert_eq!(image(&disk, Cut::Synced), [0], "{mode}");
        assert_eq!(image(&disk, Cut::Everything), [0, 1], "{mode}");
    }
}

#[test]
fn every_power_cut_keeps_the_synced_commits() {
    for mode in ["WAL", "DELETE"] {
        let mut cuts = 0;
        for change in (1..).step_by(7) {
            let directory = directory();
            let before = Disk::mount(directory.path()).expect("it is there");
            drop((database(directory.path(), mode), before));
            let disk = Disk::mount(directory.path()).expect("it is there");
            disk.power_off_at(change);
            let connection = open(directory.path());
            let _ = connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 5");
            let committed: Vec<i64> = (1..=4).take_while(|x| insert(&connection, *x).is_ok()).collect();
            if !disk.is_off() {
                break;
            }
            for seed in 0..3 {
                for cut in [Cut::Synced, Cut::Everything, Cut::Prefix(seed), Cut::Any(seed), Cut::Torn(seed)]
                {
                    let left = image(&disk, cut);
                    let at_least = committed.len() + 1;
                    assert!(
                        (at_least..=at_least + 1).contains(&left.len()),
                        "{mode} at {change}, {cut:?}: {left:?} of {committed:?}"
                    );
                    cuts += 1;
                }
            }
        }
        assert!(cuts > 60, "{mode}: {cuts}");
    }
}

/// As on Linux: the next sync takes the writes of a failed sync for written.
#[test]
fn a_failed_sync_loses_its_writes() {
    let directory = directory();
    let disk = Disk::mount(directory.path()).expect("it is there");
    let connection = database(directory.path(), "WAL");
    disk.fail(Op::Sync, When::Next, Failure::Io);
    insert(&connection, 1).expect_err("the sync of the WAL fails");
    disk.power_off();
    assert_eq!(
        image(&disk, Cut::Everything),
        [0],
        "the write is lost, even if every unsynced write survives"
    );
    assert!(fs::metadata(directory.path().join("db-wal")).expect("it is there").len() > 0);
}
