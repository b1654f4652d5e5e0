//! The calls of the cleaner at open, and the retries of a cleaner that fails.

use std::{
    error::Error as _,
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shape_meta::{
    BoxError, ErrorKind, Handle, MutateShapesExt, ReadShapes, Result, ShapeCleaner, ShapeMeta, StoreControl,
};
use shape_meta_core::conformance::{handle, shape};

use shape_meta_harness::{
    compositions::{ALL, Composition, PRODUCT, TIMEOUT, WAIT, directory, sqlite},
    rows::{Rows, corrupt_file},
};

/// One call of the cleaner.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CleanerCall {
    Clean(Vec<Handle>),
    CleanAll,
}

/// Records its calls, and fails on request. Clones share their state.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    calls: Vec<CleanerCall>,
    /// The number of calls that succeed before one fails.
    fails_after: Option<usize>,
}

impl Recorder {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<CleanerCall> {
        std::mem::take(&mut self.inner().calls)
    }

    fn fail_after(&self, calls: usize) {
        self.inner().fails_after = Some(calls);
    }

    fn record(&self, call: CleanerCall) -> Result<(), BoxError> {
        let mut inner = self.inner();
        inner.calls.push(call);
        match &mut inner.fails_after {
            Some(0) => {
                inner.fails_after = None;
                Err("the object store does not answer".into())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl ShapeCleaner for Recorder {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
        self.record(CleanerCall::Clean(handles.to_vec()))
    }

    fn clean_all(&self) -> Result<(), BoxError> {
        self.record(CleanerCall::CleanAll)
    }
}

fn open(composition: Composition, directory: &Path, cleaner: &Recorder) -> Result<ShapeMeta> {
    composition.apply_to(ShapeMeta::builder(cleaner.clone()).sqlite(sqlite())).open(directory)
}

/// Writes shapes `1..=numbers` to the database, and completes the snapshots of those that `is_complete`
/// selects.
fn written(composition: Composition, directory: &Path, numbers: u64, is_complete: impl Fn(u64) -> bool) {
    let store = composition.open(directory);
    for number in 1..=numbers {
        store.add(shape(number), WAIT).expect("it is new");
        match is_complete(number) {
            true => store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live"),
            false => store.mark_snapshot_started(&handle(number), WAIT).expect("it is live"),
        };
    }
    assert!(store.close(TIMEOUT).is_complete());
}

fn handles(numbers: impl IntoIterator<Item = u64>) -> Vec<Handle> {
    numbers.into_iter().map(handle).collect()
}

#[test]
fn gets_exactly_the_removed_shapes() {
    for composition in ALL {
        let (directory, cleaner) = (directory(), Recorder::default());
        written(composition, directory.path(), 6, |number| number % 3 == 0);
        let store = open(composition, directory.path(), &cleaner).expect("it opens");
        let removed = handles([1, 2, 4, 5]);
        assert_eq!(cleaner.take(), [CleanerCall::Clean(removed.clone())], "{composition:?}");
        let report = store.open_report().expect("it has a database");
        assert_eq!((report.valid, report.cleaned, report.cleaned_all), (2, 4, false));
        assert_eq!(report.removed, removed);
        assert_eq!(store.counts().expect("it reads").total, 2);

        store.add(shape(1), WAIT).expect("its handle and its key are free");
        store.mark_snapshot_complete(&handle(1), WAIT).expect("it is live");
        drop(store);
        let store = open(composition, directory.path(), &cleaner).expect("it opens");
        assert_eq!(cleaner.take(), [], "there is nothing left to clean");
        assert_eq!(store.counts().expect("it reads").total, 3);
    }
}

#[test]
fn gets_the_same_shapes_again_after_a_failure() {
    for composition in ALL {
        let (directory, cleaner) = (directory(), Recorder::default());
        written(composition, directory.path(), 4, |number| number == 1);
        for _ in 0..2 {
            cleaner.fail_after(0);
            let error = open(composition, directory.path(), &cleaner).expect_err("the cleaner failed");
            assert_eq!(error.kind(), ErrorKind::Cleaner);
            let cause = error.source().expect("it has a cause").to_string();
            assert_eq!(cause, "the object store does not answer");
            insta::allow_duplicates! { insta::assert_snapshot!(error.to_string()) }
            assert_eq!(cleaner.take(), [CleanerCall::Clean(handles([2, 3, 4]))]);
            assert_eq!(Rows::of(directory.path()).count("to_clean"), 3, "the pending clean-up is kept");
        }
        let store = open(composition, directory.path(), &cleaner).expect("it works now");
        assert_eq!(cleaner.take(), [CleanerCall::Clean(handles([2, 3, 4]))]);
        let report = store.open_report().expect("it has a database");
        assert_eq!(
            (report.valid, report.removed.len(), report.cleaned),
            (1, 0, 3),
            "the shapes were removed at the first open"
        );
        assert_eq!(store.counts().expect("it reads").total, 1, "the valid shape is kept");
        assert_eq!(Rows::of(directory.path()).count("to_clean"), 0);
    }
}

#[test]
fn resumes_after_the_last_cleaned_batch() {
    let (directory, cleaner) = (directory(), Recorder::default());
    written(PRODUCT, directory.path(), 2_501, |number| number == 2_501);
    cleaner.fail_after(1);
    let failed = open(PRODUCT, directory.path(), &cleaner).expect_err("the cleaner failed");
    assert_eq!(failed.kind(), ErrorKind::Cleaner);
    let sizes = |calls: Vec<CleanerCall>| {
        calls
            .iter()
            .map(|call| match call {
                CleanerCall::Clean(handles) => handles.len(),
                CleanerCall::CleanAll => panic!("a valid shape is left"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(cleaner.take()), [1_000, 1_000]);
    let store = open(PRODUCT, directory.path(), &cleaner).expect("it works now");
    assert_eq!(sizes(cleaner.take()), [1_000, 500], "the first 1,000 are not cleaned again");
    assert_eq!(store.counts().expect("it reads").total, 1);
}

#[test]
fn cleans_everything_when_no_valid_shape_is_left() {
    for composition in ALL {
        let (directory, cleaner) = (directory(), Recorder::default());
        written(composition, directory.path(), 3, |_| false);
        cleaner.fail_after(0);
        let failed = open(composition, directory.path(), &cleaner).expect_err("the cleaner failed");
        assert_eq!(failed.kind(), ErrorKind::Cleaner);
        let store = open(composition, directory.path(), &cleaner).expect("it works now");
        assert_eq!(cleaner.take(), [CleanerCall::CleanAll, CleanerCall::CleanAll]);
        let report = store.open_report().expect("it has a database");
        assert!(report.cleaned_all && report.valid == 0, "{report:?}");
        assert_eq!(Rows::of(directory.path()).count("to_clean"), 0);
    }
}

/// A new database has no valid shape, so all stored data is orphaned.
#[test]
fn cleans_everything_when_a_database_is_created() {
    let (directory, cleaner) = (directory(), Recorder::default());
    open(PRODUCT, directory.path(), &cleaner).expect("it opens");
    assert_eq!(cleaner.take(), [CleanerCall::CleanAll]);
}

/// C11: shapes may still be salvaged from the damaged file, and they need their stored data.
#[test]
fn cleans_nothing_after_a_database_was_quarantined() {
    for composition in ALL {
        let (directory, cleaner) = (directory(), Recorder::default());
        written(composition, directory.path(), 3, |_| true);
        let bytes = corrupt_file(directory.path());
        let store = open(composition, directory.path(), &cleaner).expect("a new database is created");
        let report = store.open_report().expect("it has a database");
        let quarantined = report.database.quarantined.as_ref().expect("the damaged file was quarantined");
        assert!(fs::read(&quarantined.path).expect("it is there") == bytes, "its bytes are unchanged");
        assert_eq!((report.valid, report.cleaned_all), (0, false));
        assert_eq!(cleaner.take(), [], "{composition:?}");
    }
}
