//! The disk does what it is told, seen through SQLite.

use std::{fs, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use shape_meta_faults::{Cut, Disk, Failure, Op, VFS, When};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
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

/// The rows of an image, which must be sound.
fn rows(directory: &Path) -> Vec<i64> {
    let connection = Connection::open(directory.join("db")).expect("it opens");
    connection.execute_batch("PRAGMA synchronous = OFF").expect("nothing fails");
    let sound: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it reads");
    assert_eq!(sound, "ok");
    let mut statement = connection.prepare("SELECT x FROM t ORDER BY x").expect("the table is there");
    statement.query_map([], |row| row.get(0)).expect("it reads").collect::<Result<_, _>>().expect("it reads")
}

fn image(disk: &Disk, cut: Cut) -> Vec<i64> {
    let to = directory();
    disk.image(to.path(), cut).expect("it can be written");
    rows(to.path())
}

#[test]
fn a_call_fails_as_told_and_the_next_does_not() {
    for mode in ["WAL", "DELETE"] {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
        let connection = database(directory.path(), mode);
        assert!(disk.calls(Op::Write) > 0 && disk.calls(Op::Sync) > 0);
        for (op, failure, code) in [
            (Op::Write, Failure::Io, ffi::SQLITE_IOERR_WRITE),
            (Op::Write, Failure::Full, ffi::SQLITE_FULL),
            (Op::Sync, Failure::Io, ffi::SQLITE_IOERR_FSYNC),
            (Op::Sync, Failure::Code(ffi::SQLITE_IOERR_DIR_FSYNC), ffi::SQLITE_IOERR_DIR_FSYNC),
        ] {
            disk.fail(op, When::Next, failure);
            let error = insert(&connection, 1).expect_err("it was told to fail");
            assert_eq!(error.sqlite_error().expect("of SQLite").extended_code, code, "{mode} {op:?}");
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
fn nobody_else_has_these_faults() {
    let (one, other) = (directory(), directory());
    let disk = Disk::over(one.path()).expect("it is there");
    let same = open(one.path());
    disk.fail_all(When::Always, Failure::Io);
    assert!(same.execute_batch("CREATE TABLE t (x)").is_err());
    database(other.path(), "WAL");
    let without = Connection::open(one.path().join("db")).expect("it opens");
    without.execute_batch("CREATE TABLE t (x)").expect("not through the VFS");
}

#[test]
fn a_full_disk_is_full_until_something_is_deleted() {
    let directory = directory();
    let disk = Disk::over(directory.path()).expect("it is there");
    let connection = database(directory.path(), "WAL");
    disk.leave_room(40_000);
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
    disk.leave_room(1_000_000);
    insert(&connection, kept + 1).expect("there is room again");
}

#[test]
fn lost_files_are_of_no_use_and_new_ones_are() {
    let directory = directory();
    let disk = Disk::over(directory.path()).expect("it is there");
    let connection = database(directory.path(), "DELETE");
    disk.lose_open_files();
    assert!(insert(&connection, 1).is_err());
    insert(&open(directory.path()), 2).expect("it is a new file");
    drop(connection);
    assert_eq!(rows(directory.path()), [0, 2]);
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    for mode in ["WAL", "DELETE"] {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
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
fn whatever_a_power_cut_leaves_sqlite_keeps_what_it_has_synced() {
    for mode in ["WAL", "DELETE"] {
        let mut cuts = 0;
        for change in (1..).step_by(7) {
            let directory = directory();
            let before = Disk::over(directory.path()).expect("it is there");
            drop((database(directory.path(), mode), before));
            let disk = Disk::over(directory.path()).expect("it is there");
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

/// As on Linux: what a failed sync was to bring to the disk is taken for written by the next one.
#[test]
fn a_failed_sync_loses_what_was_written() {
    let directory = directory();
    let disk = Disk::over(directory.path()).expect("it is there");
    let connection = database(directory.path(), "WAL");
    disk.fail(Op::Sync, When::Next, Failure::Io);
    insert(&connection, 1).expect_err("the sync of the log fails");
    disk.power_off();
    assert_eq!(image(&disk, Cut::Everything), [0], "it was written, and is lost all the same");
    assert!(fs::metadata(directory.path().join("db-wal")).expect("it is there").len() > 0);
}
