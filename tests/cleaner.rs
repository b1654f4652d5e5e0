//! What the cleaner is told at open, and what becomes of a cleaner that fails.

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
    compositions::{ALL, Composition, PATIENT, PRODUCT, WAIT, directory, sqlite},
    rows::{Rows, damage},
};

/// What a cleaner was told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Clean(Vec<Handle>),
    CleanAll,
}

/// Keeps what it is told, and fails when it is told to: clones are the same one.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    told: Vec<Told>,
    /// After so many calls that succeed.
    fails_after: Option<usize>,
}

impl Recorder {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.inner().told)
    }

    fn fail_after(&self, calls: usize) {
        self.inner().fails_after = Some(calls);
    }

    fn tell(&self, told: Told) -> Result<(), BoxError> {
        let mut inner = self.inner();
        inner.told.push(told);
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
        self.tell(Told::Clean(handles.to_vec()))
    }

    fn clean_all(&self) -> Result<(), BoxError> {
        self.tell(Told::CleanAll)
    }
}

fn open(composition: Composition, directory: &Path, cleaner: &Recorder) -> Result<ShapeMeta> {
    composition.stacked_by(ShapeMeta::builder(cleaner.clone()).sqlite(sqlite())).open(directory)
}

/// Leaves these shapes, and says which of them are complete.
fn written(composition: Composition, directory: &Path, numbers: u64, is_complete: impl Fn(u64) -> bool) {
    let store = composition.open(directory);
    for number in 1..=numbers {
        store.add(shape(number), WAIT).expect("it is new");
        match is_complete(number) {
            true => store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live"),
            false => store.mark_snapshot_started(&handle(number), WAIT).expect("it is live"),
        };
    }
    assert!(store.close(PATIENT).is_complete());
}

fn handles(numbers: impl IntoIterator<Item = u64>) -> Vec<Handle> {
    numbers.into_iter().map(handle).collect()
}

#[test]
fn is_given_what_was_removed_and_nothing_else() {
    for composition in ALL {
        let (directory, cleaner) = (directory(), Recorder::default());
        written(composition, directory.path(), 6, |number| number % 3 == 0);
        let store = open(composition, directory.path(), &cleaner).expect("it opens");
        let gone = handles([1, 2, 4, 5]);
        assert_eq!(cleaner.take(), [Told::Clean(gone.clone())], "{composition:?}");
        let report = store.open_report().expect("it stands on a database");
        assert_eq!((report.valid, report.cleaned, report.cleaned_all), (2, 4, false));
        assert_eq!(report.removed, gone);
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
fn that_fails_is_asked_again_for_the_same() {
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
            assert_eq!(cleaner.take(), [Told::Clean(handles([2, 3, 4]))]);
            assert_eq!(Rows::of(directory.path()).count("to_clean"), 3, "and nothing is forgotten");
        }
        let store = open(composition, directory.path(), &cleaner).expect("it works now");
        assert_eq!(cleaner.take(), [Told::Clean(handles([2, 3, 4]))]);
        let report = store.open_report().expect("it stands on a database");
        assert_eq!((report.valid, report.removed.len(), report.cleaned), (1, 0, 3), "removed earlier");
        assert_eq!(store.counts().expect("it reads").total, 1, "the valid shape was never in danger");
        assert_eq!(Rows::of(directory.path()).count("to_clean"), 0);
    }
}

#[test]
fn goes_on_where_it_failed() {
    let (directory, cleaner) = (directory(), Recorder::default());
    written(PRODUCT, directory.path(), 2_501, |number| number == 2_501);
    cleaner.fail_after(1);
    let failed = open(PRODUCT, directory.path(), &cleaner).expect_err("the cleaner failed");
    assert_eq!(failed.kind(), ErrorKind::Cleaner);
    let sizes = |told: Vec<Told>| {
        told.iter()
            .map(|told| match told {
                Told::Clean(handles) => handles.len(),
                Told::CleanAll => panic!("a valid shape is left"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(cleaner.take()), [1_000, 1_000]);
    let store = open(PRODUCT, directory.path(), &cleaner).expect("it works now");
    assert_eq!(sizes(cleaner.take()), [1_000, 500], "the first thousand was done");
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
        assert_eq!(cleaner.take(), [Told::CleanAll, Told::CleanAll]);
        let report = store.open_report().expect("it stands on a database");
        assert!(report.cleaned_all && report.valid == 0, "{report:?}");
        assert_eq!(Rows::of(directory.path()).count("to_clean"), 0);
    }
}

/// A new database has no valid shape, so whatever data is there belongs to nobody.
#[test]
fn cleans_everything_beside_a_new_database() {
    let (directory, cleaner) = (directory(), Recorder::default());
    open(PRODUCT, directory.path(), &cleaner).expect("it opens");
    assert_eq!(cleaner.take(), [Told::CleanAll]);
}

/// C11: what the damaged file knew may yet be saved, and the data with it.
#[test]
fn cleans_nothing_after_a_damaged_database_was_moved_aside() {
    for composition in ALL {
        let (directory, cleaner) = (directory(), Recorder::default());
        written(composition, directory.path(), 3, |_| true);
        let bytes = damage(directory.path());
        let store = open(composition, directory.path(), &cleaner).expect("a new one is begun");
        let report = store.open_report().expect("it stands on a database");
        let aside = report.database.quarantined.as_ref().expect("the old one was moved aside");
        assert!(fs::read(&aside.path).expect("it is there") == bytes, "not a byte was touched");
        assert_eq!((report.valid, report.cleaned_all), (0, false));
        assert_eq!(cleaner.take(), [], "{composition:?}");
    }
}
