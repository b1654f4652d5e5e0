//! Places where no store can be opened: each has an error of its own, and what is there stays as it is.

use std::{error::Error as _, fs, path::Path};

use shape_meta::{Error, ErrorKind, MutateShapesExt, OnCorruption, ReadShapes, StoreControl};
use shape_meta_core::conformance::shape;

use shape_meta_harness::{
    compositions::{ALL, Composition, PRODUCT, WAIT, directory, sqlite},
    rows::{Rows, damage, stranger},
};

const NAME: &str = "shape-meta.sqlite3";

fn refused(composition: Composition, directory: &Path) -> Error {
    composition.builder().open(directory).expect_err("it cannot be opened")
}

/// With its causes, and without what differs from run to run.
fn text(error: &Error, directory: &Path) -> String {
    let mut text = format!("{}: {error}", error.kind().name());
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!("\n  because: {next}");
        cause = next.source();
    }
    text.replace(&directory.display().to_string(), "DIRECTORY")
}

/// The names and contents of all files there, but for the lock, which says who came last.
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
fn below_a_file() {
    for composition in ALL {
        let directory = directory();
        fs::write(directory.path().join("file"), "something").expect("writes");
        for path in ["file", "file/below"] {
            let error = refused(composition, &directory.path().join(path));
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("in the way"), "{error}");
        }
        assert_eq!(files(directory.path()), [("file".to_owned(), b"something".to_vec())]);
    }
}

/// For whoever may do everything no directory is read-only; there the place without files must do.
#[test]
#[cfg(unix)]
fn a_directory_that_must_not_be_written() {
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
        assert_eq!(opened.expect_err("nothing may be made there").kind(), ErrorKind::ReadOnly);
        assert_eq!(files(directory.path()), []);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_without_files() {
    let error = refused(PRODUCT, "/proc/self/shape-meta".as_ref());
    insta::assert_snapshot!(text(&error, "/proc/self".as_ref()));
}

#[test]
fn a_file_that_is_no_database() {
    for composition in ALL {
        let directory = directory();
        let long = "not a database, but long enough for the hundred bytes of a header ".repeat(20);
        for content in ["x", &long] {
            fs::write(directory.path().join(NAME), content).expect("writes");
            let error = refused(composition, directory.path());
            assert_eq!(error.kind(), ErrorKind::NotADatabase);
            insta::allow_duplicates! { insta::assert_snapshot!(text(&error, directory.path())) }
            assert_eq!(files(directory.path()), [(NAME.to_owned(), content.as_bytes().to_vec())]);
        }
    }
}

#[test]
fn a_database_of_a_newer_version() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        store.add(shape(1), WAIT).expect("it is new");
        assert!(store.close(shape_meta_harness::compositions::PATIENT).is_complete());
        drop(store);
        stranger(directory.path()).pragma_update(None, "user_version", 99).expect("writes");
        let rows = Rows::of(directory.path());
        let before = files(directory.path());
        let error = refused(composition, directory.path());
        let after = files(directory.path());
        assert_eq!(error.kind(), ErrorKind::UnsupportedSchema);
        insta::allow_duplicates! { insta::assert_snapshot!(text(&error, directory.path())) }
        // Before a stranger looks at it again, who may empty a log that was left behind.
        let database = |files: Vec<(String, Vec<u8>)>| files.into_iter().find(|(name, _)| name == NAME);
        assert!(database(after) == database(before), "not a byte was touched");
        assert_eq!(Rows::of(directory.path()), rows);
    }
}

/// C11: a database has one owner.
#[test]
fn a_second_writer() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        store.add(shape(1), WAIT).expect("it is new");
        for second in ALL {
            let error = refused(second, directory.path());
            assert_eq!(error.kind(), ErrorKind::AlreadyOpen);
            insta::allow_duplicates! { insta::assert_snapshot!(text(&error, directory.path())) }
        }
        store.add(shape(2), WAIT).expect("the owner goes on");
        store.flush(shape_meta_harness::compositions::PATIENT).expect("and on");
        assert_eq!(store.counts().expect("it reads").total, 2);
        assert_eq!(Rows::of(directory.path()).count("shape"), 2);
        drop(store);
        composition.open(directory.path());
    }
}

/// C11: who does not want a damaged database moved aside finds it as it was.
#[test]
fn a_damaged_database_that_shall_stay() {
    let directory = directory();
    drop(PRODUCT.open(directory.path()));
    let bytes = damage(directory.path());
    let builder = PRODUCT.builder().sqlite(sqlite().on_corruption(OnCorruption::Refuse));
    let error = builder.open(directory.path()).expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    insta::assert_snapshot!(text(&error, directory.path()).lines().next().expect("a text"));
    assert!(fs::read(directory.path().join(NAME)).expect("it is there") == bytes);
}
