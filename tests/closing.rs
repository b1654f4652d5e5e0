//! C10: a close releases the ownership of the database.

use std::{sync::mpsc, thread, time::Duration};

use shape_meta::{
    BoxError, ErrorKind, Handle, MutateError, MutateShapesExt, ReadShapes, ShapeCleaner, StoreControl,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{ALL, DIRECT, TIMEOUT, WAIT, directory, sqlite};

/// Once, the database stayed owned until the last clone was dropped.
#[test]
fn c10_a_complete_close_releases_the_ownership() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        store.add(shape(1), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(1), WAIT).expect("it is live");
        let clone = store.clone();
        let report = store.close(TIMEOUT);
        assert!(report.is_complete() && report.error.is_none(), "{report:?}");

        let next = composition.open(directory.path());
        next.add(shape(2), WAIT).expect("the next owner writes");
        assert!(clone.metadata(&handle(1)).expect("reads go on").is_some());
        assert!(clone.record(&handle(1)).expect("of the disk, too").is_some());
        let refused = clone.add(shape(3), WAIT).expect_err("it is closed");
        assert!(matches!(refused, MutateError::Failed(error) if error.kind() == ErrorKind::Closed));
        assert!(clone.close(TIMEOUT).is_complete(), "a second close has nothing to do");
        drop((store, clone));
        next.add(shape(4), WAIT).expect("what the former owner drops is not that of the next one");
        next.flush(TIMEOUT).expect("it is the owner");
    }
}

/// A cleaner that hangs until the test sends.
struct Hanging(mpsc::Sender<()>, std::sync::Mutex<mpsc::Receiver<()>>);

impl ShapeCleaner for Hanging {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        self.0.send(())?;
        Ok(self.1.lock().expect("no panic").recv()?)
    }
}

/// The next owner could give a handle to a shape whose data is being deleted.
#[test]
fn c12_a_close_keeps_the_database_while_the_cleaner_works() {
    let directory = directory();
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let cleaner = Hanging(begun, released.into());
    let store =
        shape_meta::ShapeMeta::builder(cleaner).sqlite(sqlite()).open(directory.path()).expect("opens");
    store.add(shape(1), WAIT).expect("it is new");
    store.remove(&handle(1), WAIT).expect("it is live");
    store.flush(TIMEOUT).expect("the disk works");
    has_begun.recv_timeout(TIMEOUT).expect("it is called in the background");
    assert!(store.close(Duration::from_millis(20)).is_complete());
    let refused = DIRECT.builder().open(directory.path()).expect_err("it is open");
    assert_eq!(refused.kind(), ErrorKind::AlreadyOpen);
    release.send(()).expect("it waits");
    assert!(store.close(TIMEOUT).is_complete(), "it waits for the cleaner again");
    DIRECT.open(directory.path());
    thread::spawn(move || drop(store)).join().expect("no panic");
}

/// Once, the file alone was an older state, because readers kept the WAL.
#[test]
fn c10_the_file_of_a_closed_store_is_complete() {
    for composition in ALL {
        let (directory, copy) = (directory(), directory());
        let store = composition.open(directory.path());
        store.add(shape(1), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(1), WAIT).expect("it is live");
        store.flush(TIMEOUT).expect("the disk works");
        // One reader is idle at the close, and another one is in use.
        assert!(store.record(&handle(1)).expect("reads").is_some());
        let scan = store.scan().expect("begins");
        assert!(store.close(TIMEOUT).is_complete());
        let name = "shape-meta.sqlite3";
        std::fs::copy(directory.path().join(name), copy.path().join(name)).expect("it is copied");
        let copied = composition.open(copy.path());
        assert!(copied.metadata(&handle(1)).expect("reads").is_some(), "{composition:?}");
        drop(scan);
        assert!(copied.close(TIMEOUT).is_complete());
    }
}
