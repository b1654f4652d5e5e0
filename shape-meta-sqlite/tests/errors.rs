//! Error texts: what failed, what still holds, what to do.

use std::fs;

use shape_meta_core::{ErrorKind, Key, ReadShapes, ShapeStore};
use shape_meta_sqlite::{DiskIndexes, SqliteOptions};

use crate::support::{self, text};

#[test]
fn a_path_below_a_file() {
    let directory = support::directory();
    let file = directory.path().join("file");
    fs::write(&file, "something").expect("writes");
    let error = support::open_error(&file.join("below"), support::options());
    insta::assert_snapshot!(text(&error, directory.path()));
    let error = support::open_error(&file, support::options());
    insta::assert_snapshot!(text(&error, directory.path()));
    assert_eq!(fs::read(&file).expect("the file exists"), b"something");
}

#[test]
#[cfg(unix)]
fn a_directory_that_cannot_be_written_or_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = support::directory();
    drop(support::open(directory.path(), support::options()));
    for permissions in [0o555, 0o000] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(permissions))
            .expect("the permissions are set");
        // A privileged user, such as root, is not refused.
        let privileged = fs::write(directory.path().join("probe"), "").is_ok();
        let opened = shape_meta_sqlite::SqliteStore::open(
            &directory.path().join("new"),
            support::options(),
            std::sync::Arc::new(shape_meta_core::NoopObserver),
        );
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("the permissions are set");
        if !privileged {
            let error = opened.expect_err("the directory denies access");
            assert_eq!(error.kind(), ErrorKind::ReadOnly);
            insta::assert_snapshot!(text(&error, directory.path()));
        }
    }
}

/// `/proc` refuses to create a directory for every user, root included.
#[test]
#[cfg(target_os = "linux")]
fn a_directory_that_cannot_be_created() {
    let error = support::open_error("/proc/self/shape-meta".as_ref(), support::options());
    assert_eq!(error.kind(), ErrorKind::Io);
    insta::assert_snapshot!(text(&error, "/proc/self".as_ref()));
}

#[test]
fn a_file_that_is_not_a_database() {
    let directory = support::directory();
    let path = directory.path().join("shape-meta.sqlite3");
    for content in [
        "not a database at all, but long enough to have a header of a hundred bytes, if it were one, which it is not",
        "x",
    ] {
        fs::write(&path, content).expect("writes");
        let error = support::open_error(directory.path(), support::options());
        assert_eq!(error.kind(), ErrorKind::NotADatabase);
        insta::allow_duplicates! { insta::assert_snapshot!(text(&error, directory.path())) }
        assert_eq!(fs::read_to_string(&path).expect("the file exists"), content, "the file stays unchanged");
    }
}

#[test]
fn a_database_of_another_application() {
    for application_id in [0, 0x1234] {
        let directory = support::directory();
        let connection = support::raw_connection(directory.path());
        connection
            .execute_batch("CREATE TABLE foreign_table (x); INSERT INTO foreign_table VALUES (1)")
            .expect("writes");
        connection.pragma_update(None, "application_id", application_id).expect("writes");
        drop(connection);
        let path = directory.path().join("shape-meta.sqlite3");
        let before = fs::read(&path).expect("reads");
        let error = support::open_error(directory.path(), support::options());
        assert_eq!(error.kind(), ErrorKind::NotADatabase);
        if application_id != 0 {
            insta::assert_snapshot!(text(&error, directory.path()));
        }
        assert!(fs::read(&path).expect("the file exists") == before, "the file stays unchanged");
    }
}

#[test]
fn a_directory_in_place_of_the_database() {
    let directory = support::directory();
    fs::create_dir(directory.path().join("shape-meta.sqlite3")).expect("the directory is created");
    let error = support::open_error(directory.path(), support::options());
    insta::assert_snapshot!(text(&error, directory.path()));
}

#[test]
fn a_second_owner() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let error = support::open_error(directory.path(), support::options());
    insta::assert_snapshot!(text(&error, directory.path()));
    // As if another process held the lock.
    fs::write(directory.path().join("shape-meta.lock"), "4711").expect("writes");
    let error = support::open_error(directory.path(), support::options());
    insta::assert_snapshot!(text(&error, directory.path()));
    drop(store);
}

#[test]
fn invalid_options() {
    let directory = support::directory();
    let invalid: [SqliteOptions; 5] = [
        support::options().max_readers(0),
        support::options().page_size(1_000),
        support::options().page_size(131_072),
        support::options().max_row_bytes(100),
        support::options().vfs("unregistered"),
    ];
    let texts: Vec<_> = invalid
        .into_iter()
        .map(|options| text(&support::open_error(directory.path(), options), directory.path()))
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
    assert_eq!(fs::read_dir(directory.path()).expect("reads").count(), 0, "no file is created");
}

#[test]
fn reads_that_the_options_exclude() {
    let directory = support::directory();
    let options = support::options().disk_indexes(DiskIndexes::Omitted).last_reads(false);
    let store = support::open(directory.path(), options);
    let errors = [
        store.handle_for(&Key::new([0; 32])).expect_err("the store has no disk indexes"),
        store.least_recently_used(1, &Default::default()).expect_err("the store keeps no last-read times"),
    ];
    insta::assert_snapshot!(errors.map(|error| text(&error, directory.path())).join("\n"));
}

#[test]
fn a_fenced_and_a_closed_store() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::raw_connection(directory.path())
        .execute("UPDATE meta SET epoch = 7, checksum = NULL", [])
        .expect("writes");
    let fenced = ShapeStore::apply(&store, &support::batch(1, [])).expect_err("the store is fenced");
    store.close().expect("closes");
    let closed = store.last_seq().expect_err("the store is closed");
    insta::assert_snapshot!([fenced, closed].map(|error| text(&error, directory.path())).join("\n"));
}

#[test]
fn c9_a_database_that_was_deleted_is_named() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=1);
    store.close_idle();
    fs::remove_file(directory.path().join("shape-meta.sqlite3")).expect("deletes");
    let error = store.apply(&support::batch(2, [])).expect_err("the file is gone");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("was deleted or moved away"), "{error}");
}

#[test]
fn c9_a_directory_in_the_place_of_the_index_is_suggested() {
    let directory = support::directory();
    support::open(directory.path(), support::options()).close().expect("closes");
    fs::create_dir(directory.path().join("shape-meta.sqlite3-shm")).expect("creates");
    let error = support::open_error(directory.path(), support::options());
    assert!(error.to_string().contains("-shm"), "{error}");
}
