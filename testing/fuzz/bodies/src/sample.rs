use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, OnceLock},
};

use shape_meta_core::{
    Batch, Change, NewShape, NoopObserver, Record, Seq, ShapeStore, SnapshotState, conformance,
};
use shape_meta_sqlite::{DiskIndexes, Durability, SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// The names of the files of a store.
pub(crate) const DATABASE: &str = "shape-meta.sqlite3";
pub(crate) const LOG: &str = "shape-meta.sqlite3-wal";
pub(crate) const LOCK: &str = "shape-meta.lock";

/// A sound database as a crash leaves it: shapes in the file, and more of them in the log.
#[derive(Debug)]
pub struct Sample {
    /// The bytes of the database.
    pub database: Vec<u8>,
    /// The bytes of its log.
    pub log: Vec<u8>,
    /// The bytes of the lock file.
    pub lock: Vec<u8>,
    /// Every shape that was ever written, by its handle.
    pub(crate) written: BTreeMap<String, NewShape>,
}

const IN_DATABASE: u64 = 60;
const IN_LOG: u64 = 20;

/// A directory for one try: in memory where the system has such a place, since nothing here depends on the disk,
/// and the syncs of a thousand openings take a minute.
pub(crate) fn directory() -> TempDir {
    let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    made.expect("there is room for temporary files")
}

/// The options of the sample: small pages, so that there are many.
pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::default()
        .durability(Durability::ProcessCrash)
        .page_size(1024)
        .disk_indexes(DiskIndexes::Maintained)
}

/// The sample, made once.
///
/// # Panics
///
/// If there is no room for temporary files.
pub fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(make)
}

fn make() -> Sample {
    let directory = directory();
    let open =
        || SqliteStore::open(directory.path(), options(), Arc::new(NoopObserver)).expect("it is sound");
    let add = |numbers: std::ops::RangeInclusive<u64>| {
        let through = Seq::new(*numbers.end());
        let changes = numbers.map(|number| {
            let record = Arc::new(shape(number).record(Seq::new(number)));
            Change::Add { record, state: SnapshotState::Complete }
        });
        Batch { changes: changes.collect(), through }
    };
    let store = open();
    store.apply(&add(1..=IN_DATABASE)).expect("it is sound");
    store.close().expect("it is sound");
    let store = open();
    store.apply(&add(IN_DATABASE + 1..=IN_DATABASE + IN_LOG)).expect("it is sound");
    let read = |name: &str| fs::read(directory.path().join(name)).expect("it is there");
    let written = (1..=IN_DATABASE + IN_LOG).map(|number| (shape(number).handle.to_string(), shape(number)));
    Sample { database: read(DATABASE), log: read(LOG), lock: read(LOCK), written: written.collect() }
}

/// Definitions of all lengths, the longest on pages of their own.
fn shape(number: u64) -> NewShape {
    let mut shape = conformance::shape(number);
    shape.definition = vec![b'a' + (number % 26) as u8; (number as usize * 37) % 2_500].into();
    shape
}

impl Sample {
    /// Panics if a shape is not as it was once written.
    pub(crate) fn assert_true(&self, record: &Record, state: SnapshotState) {
        let entry = &record.entry;
        let shape = self.written.get(entry.handle().as_str());
        let shape = shape.unwrap_or_else(|| panic!("{:?} was never written", entry.handle()));
        let number = entry.created().get();
        assert_eq!(shape.handle, conformance::handle(number), "another shape's place in the order");
        assert_eq!((*entry.key(), entry.hash()), (shape.key, shape.hash));
        assert_eq!((entry.relations(), entry.is_indexed()), (&*shape.relations, shape.indexed));
        assert_eq!((&record.definition, &record.dependencies), (&shape.definition, &shape.dependencies));
        assert_eq!(state, SnapshotState::Complete);
    }

    /// Puts files into a directory; `None` is a file that is not there.
    pub(crate) fn lay(directory: &Path, files: &[(&str, &Option<Vec<u8>>)]) {
        for (name, bytes) in files {
            if let Some(bytes) = bytes {
                fs::write(directory.join(name), bytes).expect("there is room for temporary files");
            }
        }
    }
}
