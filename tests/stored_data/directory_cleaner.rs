//! The cleaner of data that is a file or a directory for each shape.

use std::{fs, path::Path};

use shape_meta::{DirectoryCleaner, Handle, ShapeCleaner, ShapeMeta, prelude::*};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{FlushSchedule, PRODUCT, TIMEOUT, WAIT, directory};

fn stored(cleaner: &DirectoryCleaner) -> Vec<Handle> {
    let stored = cleaner.stored_handles().expect("it is there").expect("it is supported");
    let mut stored: Vec<_> = stored.map(|handle| handle.expect("reads")).collect();
    stored.sort();
    stored
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("reads").file_name().into_string().expect("ASCII")).collect();
    names.sort();
    names
}

#[test]
fn c12_files_and_directories_are_deleted_and_other_names_are_not() {
    let data = directory();
    let cleaner = DirectoryCleaner::new(data.path()).expect("it is absolute");
    let path = |number| cleaner.path_of(&handle(number)).expect("it is short");
    fs::write(path(1), b"a log").expect("the disk works");
    fs::create_dir_all(path(2).join("chunks")).expect("the disk works");
    fs::write(path(2).join("chunks").join("0"), b"rows").expect("the disk works");
    fs::write(path(3), b"of a live shape").expect("the disk works");
    fs::write(data.path().join("A"), b"no handle has this name").expect("the disk works");
    assert_eq!(stored(&cleaner), [1, 2, 3].map(handle));
    for _ in 0..2 {
        cleaner.clean(&[1, 2, 4].map(handle)).expect("what is gone is no error");
        assert_eq!(stored(&cleaner), [handle(3)]);
        assert!(data.path().join("A").exists());
    }
}

/// A handle is a string of a client, and must not lead out of the directory.
#[test]
fn c12_no_handle_names_a_path_outside() {
    let root = directory();
    let (data, outside) = (root.path().join("data"), root.path().join("outside"));
    fs::create_dir(&data).expect("the disk works");
    fs::create_dir(&outside).expect("the disk works");
    let cleaner = DirectoryCleaner::new(&data).expect("it is absolute");
    let hostile =
        ["..", "../outside", ".", "/", "a/../../outside"].map(|text| Handle::new(text).expect("printable"));
    for handle in &hostile {
        assert_eq!(cleaner.path_of(handle).expect("it is short").parent(), Some(data.as_path()));
    }
    cleaner.clean(&hostile).expect("nothing is there");
    assert!(data.exists() && outside.exists());
}

/// Not the data that a link leads to.
#[cfg(unix)]
#[test]
fn c12_a_link_is_deleted_and_not_what_it_leads_to() {
    let root = directory();
    let (data, elsewhere) = (root.path().join("data"), root.path().join("elsewhere"));
    fs::create_dir(&data).expect("the disk works");
    fs::create_dir(&elsewhere).expect("the disk works");
    let cleaner = DirectoryCleaner::new(&data).expect("it is absolute");
    let links = [(1, elsewhere.as_path()), (2, Path::new("missing"))];
    for (number, target) in links {
        let link = cleaner.path_of(&handle(number)).expect("it is short");
        std::os::unix::fs::symlink(target, link).expect("the disk works");
    }
    cleaner.clean(&[1, 2].map(handle)).expect("they are there");
    assert!(stored(&cleaner).is_empty());
    assert!(elsewhere.exists());
}

/// As where its volume is not mounted.
#[test]
fn c12_a_missing_directory_is_an_error_and_no_data_counts_as_deleted() {
    let root = directory();
    let (data, away) = (root.path().join("data"), root.path().join("away"));
    fs::create_dir(&data).expect("the disk works");
    let cleaner = DirectoryCleaner::new(&data).expect("it is absolute");
    let builder = || ShapeMeta::builder(cleaner.clone()).background_cleanup(false);
    // A removal that a flusher has made durable may not be published yet: its task is left for later then.
    let product = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
    let store = product.apply_to(builder()).open(root.path().join("database")).expect("it opens");
    store.add(shape(1), WAIT).expect("it is new");
    fs::write(cleaner.path_of(&handle(1)).expect("it is short"), b"a log").expect("the disk works");
    store.remove(&handle(1), WAIT).expect("it is live");
    store.flush(TIMEOUT).expect("the disk works");
    fs::rename(&data, &away).expect("the disk works");
    store.clean_once().expect_err("the directory is missing");
    assert!(cleaner.stored_handles().is_err());
    assert_eq!(store.cleanup_status().tasks, 1);
    fs::rename(&away, &data).expect("the disk works");
    while store.clean_once().expect("it is back") {}
    assert!(names(&data).is_empty());
    assert_eq!(store.cleanup_status().tasks, 0);
}
