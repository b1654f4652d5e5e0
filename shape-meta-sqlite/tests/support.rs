//! Helpers that several tests share.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rusqlite::Connection;
use shape_meta_core::{
    Batch, Change, Checkin, Checkout, Error, Handle, NoopObserver, Observer, ReadShapes, Record, Seq,
    ShapeStore, SnapshotState, conformance,
};
use shape_meta_sqlite::{Durability, SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// Returns a directory that is deleted when the test ends.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory is created")
}

/// Returns options for tests without a power loss.
pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::default().durability(Durability::ProcessCrash)
}

/// Recovers the store, and returns the handles of all cleanup tasks.
pub(crate) fn recovered_tasks(store: &SqliteStore) -> Vec<Handle> {
    store.recover().expect("the recovery succeeds");
    let tasks = store.cleanup_tasks(None, usize::MAX).expect("reads");
    tasks.iter().map(|task| task.handle().clone()).collect()
}

pub(crate) fn open(directory: &Path, options: SqliteOptions) -> SqliteStore {
    open_observed(directory, options, Arc::new(NoopObserver))
}

pub(crate) fn open_observed(
    directory: &Path,
    options: SqliteOptions,
    observer: Arc<dyn Observer>,
) -> SqliteStore {
    SqliteStore::open(directory, options, observer).expect("the store opens")
}

/// Returns the error of an open that fails.
pub(crate) fn open_error(directory: &Path, options: SqliteOptions) -> Error {
    SqliteStore::open(directory, options, Arc::new(NoopObserver)).expect_err("the open fails")
}

/// Returns a plain SQLite connection to the database, outside of any store.
pub(crate) fn raw_connection(directory: &Path) -> Connection {
    Connection::open(directory.join("shape-meta.sqlite3")).expect("SQLite opens the file")
}

/// Returns shape `number`, whose add has the sequence number `number`.
pub(crate) fn record(number: u64) -> Arc<Record> {
    Arc::new(conformance::shape(number).record(Seq::new(number)))
}

pub(crate) fn add(number: u64, state: SnapshotState) -> Change {
    Change::Add { record: record(number), state }
}

pub(crate) fn batch(through: u64, changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { changes: changes.into_iter().collect(), through: Seq::new(through) }
}

/// Applies these changes in one batch.
pub(crate) fn apply(store: &SqliteStore, through: u64, changes: impl IntoIterator<Item = Change>) {
    store.apply(&batch(through, changes)).expect("the batch applies");
}

/// Adds complete shapes with these numbers in one batch.
pub(crate) fn fill(store: &SqliteStore, numbers: std::ops::RangeInclusive<u64>) {
    let through = *numbers.end();
    let adds = numbers.map(|number| add(number, SnapshotState::Complete));
    store.apply(&batch(through, adds)).expect("the batch applies");
}

/// Returns the sequence numbers of all live shapes, in the order of a scan.
pub(crate) fn live(store: &SqliteStore) -> Vec<u64> {
    live_of(store)
}

/// As [`live`], of any store.
pub(crate) fn live_of(store: &impl ReadShapes) -> Vec<u64> {
    let scan = store.scan().expect("the scan opens");
    scan.map(|item| item.expect("reads").metadata.created.get()).collect()
}

/// Observer that records its calls.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) checkouts: Mutex<Vec<Checkout>>,
    pub(crate) checkins: Mutex<Vec<Checkin>>,
    pub(crate) quarantined: Mutex<Vec<std::path::PathBuf>>,
}

impl Observer for Recorder {
    fn checkout(&self, checkout: &Checkout) {
        self.checkouts.lock().expect("no thread panicked").push(*checkout);
    }

    fn checkin(&self, checkin: &Checkin) {
        self.checkins.lock().expect("no thread panicked").push(*checkin);
    }

    fn quarantined(&self, path: &Path, _: &Error) {
        self.quarantined.lock().expect("no thread panicked").push(path.to_owned());
    }
}

/// Returns the text of an error and its sources, without what differs between runs.
pub(crate) fn text(error: &Error, directory: &Path) -> String {
    let mut text = format!("{:?}: {error}", error.kind());
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!("\n  caused by: {error}");
        source = error.source();
    }
    text.replace(&directory.display().to_string(), "DIRECTORY")
        .replace(&format!("process {}", std::process::id()), "process ID")
}
