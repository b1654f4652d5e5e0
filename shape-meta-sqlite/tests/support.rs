//! What several tests need.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rusqlite::Connection;
use shape_meta_core::{
    Batch, Change, Checkin, Checkout, Error, NoopObserver, Observer, ReadShapes, Record, Seq, ShapeStore,
    SnapshotState, conformance,
};
use shape_meta_sqlite::{Durability, SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// A directory that goes with the test.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

/// Options for tests that lose no power.
pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::default().durability(Durability::ProcessCrash)
}

pub(crate) fn open(directory: &Path, options: SqliteOptions) -> SqliteStore {
    observed(directory, options, Arc::new(NoopObserver))
}

pub(crate) fn observed(directory: &Path, options: SqliteOptions, observer: Arc<dyn Observer>) -> SqliteStore {
    SqliteStore::open(directory, options, observer).expect("a directory of our own can be opened")
}

pub(crate) fn refused(directory: &Path, options: SqliteOptions) -> Error {
    SqliteStore::open(directory, options, Arc::new(NoopObserver)).expect_err("it cannot be opened")
}

/// The database of a store, as a stranger would open it.
pub(crate) fn stranger(directory: &Path) -> Connection {
    Connection::open(directory.join("shape-meta.sqlite3")).expect("SQLite opens it")
}

/// Shape `number`, added at the place `number` in the order.
pub(crate) fn record(number: u64) -> Arc<Record> {
    Arc::new(conformance::shape(number).record(Seq::new(number)))
}

pub(crate) fn add(number: u64, state: SnapshotState) -> Change {
    Change::Add { record: record(number), state }
}

pub(crate) fn batch(through: u64, changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { changes: changes.into_iter().collect(), through: Seq::new(through) }
}

/// Adds complete shapes with these numbers in one batch.
pub(crate) fn fill(store: &SqliteStore, numbers: std::ops::RangeInclusive<u64>) {
    let through = *numbers.end();
    let adds = numbers.map(|number| add(number, SnapshotState::Complete));
    store.apply(&batch(through, adds)).expect("nothing fails");
}

/// The places in the order of all shapes, as a scan shows them.
pub(crate) fn live(store: &SqliteStore) -> Vec<u64> {
    let scan = store.scan().expect("it scans");
    scan.map(|listed| listed.expect("it reads").metadata.created.get()).collect()
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) checkouts: Mutex<Vec<Checkout>>,
    pub(crate) checkins: Mutex<Vec<Checkin>>,
    pub(crate) quarantined: Mutex<Vec<std::path::PathBuf>>,
}

impl Observer for Recorder {
    fn checkout(&self, checkout: &Checkout) {
        self.checkouts.lock().expect("no panic").push(*checkout);
    }

    fn checkin(&self, checkin: &Checkin) {
        self.checkins.lock().expect("no panic").push(*checkin);
    }

    fn quarantined(&self, path: &Path, _: &Error) {
        self.quarantined.lock().expect("no panic").push(path.to_owned());
    }
}

/// The text of an error and of its causes, without what differs from run to run.
pub(crate) fn text(error: &Error, directory: &Path) -> String {
    let mut text = format!("{:?}: {error}", error.kind());
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text += &format!("\n  because: {next}");
        cause = next.source();
    }
    text.replace(&directory.display().to_string(), "DIRECTORY")
        .replace(&format!("process {}", std::process::id()), "process ID")
}
