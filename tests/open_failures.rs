//! Directories in which no store can be opened: each case has its own error, and leaves the files unchanged.

use std::{error::Error as _, fs, path::Path};

use shape_meta::{Error, ErrorKind, MutateShapesExt, OnCorruption, ReadShapes, StoreControl};
use shape_meta_core::conformance::shape;

use shape_meta_harness::{
    compositions::{ALL, Composition, PRODUCT, WAIT, directory, sqlite},
    rows::{Rows, corrupt_file, raw_connection},
};

const NAME: &str = "shape-meta.sqlite3";

fn open_error(composition: Composition, directory: &Path) -> Error {
    composition.builder().open(directory).expect_err("it cannot be opened")
}

/// Returns the error with its causes, without the parts that differ between runs.
fn text(error: &Error, directory: &Path) -> String {
    let mut text = format!("{}: {error}", error.kind().name());
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!("\n  because: {next}");
        cause = next.source();
    }
    text.replace(&directory.display().to_string(), "DIRECTORY")
}

/// Returns the names and contents of all files, except the lock file, whose content depends on the process.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries =
        fs::read_dir(directory).expect("it can be read").map(|entry| entry.expect("it can be read"));
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| name != "shape-meta.lock")
        .map(|(name, path)| (name, fs::read(path).expect("it can be read")))
        .collect();
    files.sort();
    files
}

#[test]
fn a_directory_below_a_file() {
    for composition in ALL {
        let directory = directory();
        fs::write(directory.path().join("file"), "something").expect("writes");
        for path in ["file", "file/below"] {
            let error = open_error(composition, &directory.path().join(path));
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("in the way"), "{error}");
        }
        assert_eq!(files(directory.path()), [("file".to_owned(), b"something".to_vec())]);
    }
}

/// A privileged user can write to every directory; there `a_file_system_without_files` covers the case.
#[test]
#[cfg(unix)]
fn a_read_only_directory() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let set = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).expect("sets");
    for mode in [0o555, 0o000] {
        set(mode);
        let privileged = fs::write(directory.path().join("probe"), "").is_ok();
        let opened = PRODUCT.builder().open(directory.path());
        set(0o755);
        if privileged {
            return;
        }
        assert_eq!(opened.expect_err("the directory is read-only").kind(), ErrorKind::ReadOnly);
        assert_eq!(files(directory.path()), []);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_system_without_files() {
    let error = open_error(PRODUCT, "/proc/self/shape-meta".as_ref());
    insta::assert_snapshot!(text(&error, "/proc/self".as_ref()));
}

#[test]
fn a_file_that_is_no_database() {
    for composition in ALL {
        let directory = directory();
        let long = "not a database, but long enough for the hundred bytes of a header ".repeat(20);
        for content in ["x", &long] {
            fs::write(directory.path().join(NAME), content).expect("writes");
            let error = open_error(composition, directory.path());
            assert_eq!(error.kind(), ErrorKind::NotADatabase);
            insta::allow_duplicates! { insta::assert_snapshot!(text(&error, directory.path())) }
            assert_eq!(files(directory.path()), [(NAME.to_owned(), content.as_bytes().to_vec())]);
        }
    }
}

#[test]
fn a_database_with_a_newer_schema() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        store.add(shape(1), WAIT).expect("it is new");
        assert!(store.close(shape_meta_harness::compositions::TIMEOUT).is_complete());
        drop(store);
        raw_connection(directory.path()).pragma_update(None, "user_version", 99).expect("writes");
        let rows = Rows::of(directory.path());
        let before = files(directory.path());
        let error = open_error(composition, directory.path());
        let after = files(directory.path());
        assert_eq!(error.kind(), ErrorKind::UnsupportedSchema);
        insta::allow_duplicates! { insta::assert_snapshot!(text(&error, directory.path())) }
        // Compared before another connection opens the database, which may checkpoint a WAL that was left.
        let database = |files: Vec<(String, Vec<u8>)>| files.into_iter().find(|(name, _)| name == NAME);
        assert!(database(after) == database(before), "its bytes are unchanged");
        assert_eq!(Rows::of(directory.path()), rows);
    }
}

/// C11: a database has one owner.
#[test]
fn c11_a_second_owner() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        store.add(shape(1), WAIT).expect("it is new");
        for second in ALL {
            let error = open_error(second, directory.path());
            assert_eq!(error.kind(), ErrorKind::AlreadyOpen);
            insta::allow_duplicates! { insta::assert_snapshot!(text(&error, directory.path())) }
        }
        store.add(shape(2), WAIT).expect("the owner still works");
        store.flush(shape_meta_harness::compositions::TIMEOUT).expect("nothing fails");
        assert_eq!(store.counts().expect("it reads").total, 2);
        assert_eq!(Rows::of(directory.path()).count("shape"), 2);
        drop(store);
        composition.open(directory.path());
    }
}

/// C11: with `OnCorruption::Refuse` a damaged database is left unchanged.
#[test]
fn c11_a_damaged_database_is_left_on_request() {
    let directory = directory();
    drop(PRODUCT.open(directory.path()));
    let bytes = corrupt_file(directory.path());
    let builder = PRODUCT.builder().sqlite(sqlite().on_corruption(OnCorruption::Refuse));
    let error = builder.open(directory.path()).expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    insta::assert_snapshot!(text(&error, directory.path()).lines().next().expect("a text"));
    assert!(fs::read(directory.path().join(NAME)).expect("it is there") == bytes);
}
