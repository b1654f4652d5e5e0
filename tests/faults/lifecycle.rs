//! The whole life of a database as a script, on a disk that may fail at any call: it is opened, changed,
//! flushed, maintained, closed and reopened.

use std::{path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use shape_meta::{
    Limits, Mode, MutateError, MutateShapes, Mutation, NewShape, NoopCleaner, NoopObserver, ReadShapes,
    ShapeMeta, SqliteOptions, StoreControl, Timestamp,
};
use shape_meta_core::{
    Direct, MemoryStore,
    conformance::{ShapeView, View, handle, key, relations, shape},
};
use shape_meta_faults::{Disk, VFS};
use tempfile::TempDir;

use super::{
    assertions::{assert_disk_fault, assert_nothing_quarantined, retry_error},
    retrying_reader::{RetryingReader, retrying},
};
use shape_meta_harness::compositions::{Composition, FlushSchedule, TIMEOUT, directory, sqlite};

/// The number of handles and keys: few, so that mutations conflict often.
const WORLD: u64 = 12;

/// A composition on a disk, and the model of its content.
pub(super) struct Lifecycle {
    composition: Composition,
    mode: Mode,
    // Declared before the directory, so that it is dropped first.
    pub(super) disk: Disk,
    pub(super) directory: TempDir,
    model: Direct<MemoryStore>,
}

/// Options with small caches and frequent checkpoints.
pub(super) fn small_caches() -> SqliteOptions {
    sqlite()
        .vfs(VFS)
        .cache_size(32 << 10)
        .reader_cache_size(16 << 10)
        .page_size(4_096)
        .wal_autocheckpoint_bytes(40 << 10)
        // A pool waits this long for a connection that a failed disk does not provide.
        .busy_timeout(Duration::from_millis(200))
}

impl Lifecycle {
    pub(super) fn new(composition: Composition, mode: Mode) -> Self {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        let model =
            Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
        Self {
            composition: composition.with_flush_schedule(FlushSchedule::Manual),
            mode,
            disk,
            directory,
            model,
        }
    }

    fn options(&self) -> SqliteOptions {
        small_caches().mode(self.mode)
    }

    /// Plays three generations of the database, each from open to close, and opens it once more.
    pub(super) fn play(&self) {
        let mut random = Rng::with_seed(1);
        for generation in 1..=3 {
            let store = self.open(self.options());
            assert_nothing_quarantined(self.directory.path());
            self.model.inner().reopen(Timestamp::from_micros(generation));
            self.assert_agrees(&store);
            for _ in 0..2 {
                for _ in 0..8 {
                    self.step(&store, &mut random);
                }
                self.assert_agrees(&store);
                self.flush(&store);
                self.assert_agrees(&store);
            }
            let database = store.database().expect("it has one");
            retrying(|| database.maintain());
            self.step(&store, &mut random);
            self.close(store);
        }
        self.disk.heal();
        self.model.inner().reopen(Timestamp::from_micros(4));
        self.assert_agrees(&self.composition.open(self.directory.path()));
    }

    fn open(&self, options: SqliteOptions) -> ShapeMeta {
        retrying(|| {
            let builder = ShapeMeta::builder(NoopCleaner).sqlite(options.clone());
            self.composition.apply_to(builder).open(self.directory.path())
        })
    }

    fn step(&self, store: &ShapeMeta, random: &mut Rng) {
        self.mutate(store, &mutation(random));
    }

    /// Applies a mutation to the store and the model. Both must accept it, or both refuse it. Without a
    /// buffer, a mutation that failed may have been committed.
    fn mutate(&self, store: &ShapeMeta, mutation: &Mutation) {
        let before = self.model.last_seq().expect("memory");
        for _ in 0..100 {
            match store.try_mutate(mutation) {
                Err(MutateError::Failed(error)) => assert_disk_fault(&error),
                outcome => {
                    let expected = self.model.try_mutate(mutation);
                    let of = |outcome: &Result<_, MutateError>| {
                        outcome.as_ref().map(|_| ()).map_err(ToString::to_string)
                    };
                    assert_eq!(of(&outcome), of(&expected), "C5: {mutation:?}");
                    return;
                }
            }
            if self.composition.buffer.is_none()
                && RetryingReader(store).last_seq().expect("it retries") > before
            {
                self.model.try_mutate(mutation).expect("the store accepted it");
                return;
            }
        }
        panic!("the disk still fails after 100 attempts");
    }

    /// Retries a flush until it succeeds. Health must report each failure.
    fn flush(&self, store: &ShapeMeta) {
        for _ in 0..100 {
            if store.flush(TIMEOUT).is_ok() {
                return;
            }
            assert_disk_fault(&retry_error(store));
            self.assert_agrees(store);
        }
        panic!("the disk still fails after 100 attempts");
    }

    fn close(&self, store: ShapeMeta) {
        // Closing flushes only once in this mode, and may fail.
        self.flush(&store);
        let report = store.close(TIMEOUT);
        assert!(report.is_complete(), "C10: {report:?}");
    }

    /// Panics if any read of the store differs from the model.
    #[track_caller]
    pub(super) fn assert_agrees(&self, store: &ShapeMeta) {
        assert_eq!(timeless(View::of(&RetryingReader(store))), timeless(View::of(&self.model)));
    }
}

/// Returns a random mutation on a few handles and keys.
pub(super) fn mutation(random: &mut Rng) -> Mutation {
    let name = handle(random.u64(..WORLD)).to_string();
    match random.u8(..40) {
        0..18 => Mutation::Add(NewShape {
            handle: handle(random.u64(..WORLD)),
            relations: relations(&[random.u32(..3)]),
            dependencies: [key(random.u64(..WORLD))].into(),
            definition: vec![random.u8(..); random.usize(..6_000)].into(),
            ..shape(random.u64(..WORLD))
        }),
        18..24 => Mutation::remove(name),
        24..28 => Mutation::snapshot_started(name),
        39 => Mutation::Reset,
        _ => Mutation::snapshot_complete(name),
    }
}

/// Drops the fields that depend on the clock.
pub(super) fn timeless(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| ShapeView { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}

/// Panics if SQLite's integrity check fails.
#[track_caller]
pub(super) fn assert_integrity(directory: &Path) {
    let result: String = shape_meta_harness::rows::raw_connection(directory)
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(result, "ok");
}
