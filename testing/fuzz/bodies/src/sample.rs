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
pub(crate) const WAL: &str = "shape-meta.sqlite3-wal";
pub(crate) const LOCK: &str = "shape-meta.lock";

/// A valid database as a crash leaves it, with shapes in the database file and more shapes in the WAL.
#[derive(Debug)]
pub struct Sample {
    /// The bytes of the database file.
    pub database: Vec<u8>,
    /// The bytes of the WAL.
    pub wal: Vec<u8>,
    /// The bytes of the lock file.
    pub lock: Vec<u8>,
    /// Every shape that was ever written, by its handle.
    pub(crate) written: BTreeMap<String, NewShape>,
}

const IN_DATABASE: u64 = 60;
const IN_WAL: u64 = 20;

/// Creates a directory for one run, in memory if the system supports it. Nothing here depends on the disk,
/// and the syncs of a thousand openings take a minute.
pub(crate) fn directory() -> TempDir {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    directory.expect("a temporary directory is created")
}

/// The options of the sample. Small pages give many of them.
pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::default()
        .durability(Durability::ProcessCrash)
        .page_size(1024)
        .disk_indexes(DiskIndexes::Maintained)
}

/// Returns the sample, which is created once.
///
/// # Panics
///
/// If temporary files cannot be written.
pub fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(make)
}

fn make() -> Sample {
    let directory = directory();
    let open = || {
        SqliteStore::open(directory.path(), options(), Arc::new(NoopObserver)).expect("the sample is valid")
    };
    let add = |numbers: std::ops::RangeInclusive<u64>| {
        let through = Seq::new(*numbers.end());
        let changes = numbers.map(|number| {
            let record = Arc::new(shape(number).record(Seq::new(number)));
            Change::Add { record, state: SnapshotState::Complete }
        });
        Batch { changes: changes.collect(), through }
    };
    let store = open();
    store.apply(&add(1..=IN_DATABASE)).expect("the sample is valid");
    store.close().expect("the sample is valid");
    let store = open();
    store.apply(&add(IN_DATABASE + 1..=IN_DATABASE + IN_WAL)).expect("the sample is valid");
    let read = |name: &str| fs::read(directory.path().join(name)).expect("the file exists");
    let written = (1..=IN_DATABASE + IN_WAL).map(|number| (shape(number).handle.to_string(), shape(number)));
    Sample { database: read(DATABASE), wal: read(WAL), lock: read(LOCK), written: written.collect() }
}

/// Returns a shape with a definition of some length. The longest definitions have overflow pages.
fn shape(number: u64) -> NewShape {
    let mut shape = conformance::shape(number);
    shape.definition = vec![b'a' + (number % 26) as u8; (number as usize * 37) % 2_500].into();
    shape
}

impl Sample {
    /// Panics if a shape differs from the one that was written with its handle.
    pub(crate) fn assert_was_written(&self, record: &Record, state: SnapshotState) {
        let entry = &record.entry;
        let shape = self.written.get(entry.handle().as_str());
        let shape = shape.unwrap_or_else(|| panic!("{:?} was never written", entry.handle()));
        let number = entry.created().get();
        assert_eq!(shape.handle, conformance::handle(number), "the sequence number of the shape");
        assert_eq!((*entry.key(), entry.hash()), (shape.key, shape.hash));
        assert_eq!((entry.relations(), entry.is_indexed()), (&*shape.relations, shape.indexed));
        assert_eq!((&record.definition, &record.dependencies), (&shape.definition, &shape.dependencies));
        assert_eq!(state, SnapshotState::Complete);
    }

    /// Writes files into a directory. `None` is a missing file.
    pub(crate) fn write(directory: &Path, files: &[(&str, &Option<Vec<u8>>)]) {
        for (name, bytes) in files {
            if let Some(bytes) = bytes {
                fs::write(directory.join(name), bytes).expect("temporary files can be written");
            }
        }
    }
}
