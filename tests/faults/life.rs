//! The whole life of a database, as a script: it is opened, changed, flushed, looked after, closed and opened
//! again, on a disk that may fail at any moment.

use std::{path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use shape_meta::{
    Limits, Mode, MutateError, MutateShapes, Mutation, NewShape, NoopCleaner, NoopObserver, ReadShapes,
    ShapeMeta, SqliteOptions, StoreControl, Timestamp,
};
use shape_meta_core::{
    Direct, MemoryStore,
    conformance::{Seen, View, handle, key, relations, shape},
};
use shape_meta_faults::{Disk, VFS};
use tempfile::TempDir;

use super::{
    honest::{failing, honest, nothing_was_moved_aside},
    patient::{Patient, patiently},
};
use shape_meta_harness::compositions::{Composition, Flushing, PATIENT, directory, sqlite};

/// So few shapes that they meet often.
const WORLD: u64 = 12;

/// A composition on a disk, and what it should say.
pub(super) struct Life {
    composition: Composition,
    mode: Mode,
    // Before the directory goes.
    pub(super) disk: Disk,
    pub(super) directory: TempDir,
    model: Direct<MemoryStore>,
}

/// Options under which little is cached, and the log is emptied often.
pub(super) fn small() -> SqliteOptions {
    sqlite()
        .vfs(VFS)
        .cache_size(32 << 10)
        .reader_cache_size(16 << 10)
        .page_size(4_096)
        .wal_autocheckpoint_bytes(40 << 10)
        // A pool asks as long as this for a connection that a dead disk does not give.
        .busy_timeout(Duration::from_millis(200))
}

impl Life {
    pub(super) fn new(composition: Composition, mode: Mode) -> Self {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
        let model =
            Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
        Self { composition: composition.flushing(Flushing::Stepped), mode, disk, directory, model }
    }

    fn options(&self) -> SqliteOptions {
        small().mode(self.mode)
    }

    /// From its birth to its end, three openings later.
    pub(super) fn play(&self) {
        let mut random = Rng::with_seed(1);
        for generation in 1..=3 {
            let store = self.open(self.options());
            nothing_was_moved_aside(self.directory.path());
            self.model.inner().reopen(Timestamp::from_micros(generation));
            self.agrees(&store);
            for _ in 0..2 {
                for _ in 0..8 {
                    self.step(&store, &mut random);
                }
                self.agrees(&store);
                self.flush(&store);
                self.agrees(&store);
            }
            let database = store.database().expect("it has one");
            patiently(|| database.maintain());
            self.step(&store, &mut random);
            self.close(store);
        }
        self.disk.heal();
        self.model.inner().reopen(Timestamp::from_micros(4));
        self.agrees(&self.composition.open(self.directory.path()));
    }

    fn open(&self, options: SqliteOptions) -> ShapeMeta {
        patiently(|| {
            let builder = ShapeMeta::builder(NoopCleaner).sqlite(options.clone());
            self.composition.stacked_by(builder).open(self.directory.path())
        })
    }

    fn step(&self, store: &ShapeMeta, random: &mut Rng) {
        self.mutate(store, &mutation(random));
    }

    /// Both accept it, or both refuse it. A composition without a buffer may have committed what it says
    /// has failed.
    fn mutate(&self, store: &ShapeMeta, mutation: &Mutation) {
        let before = self.model.last_seq().expect("memory");
        for _ in 0..100 {
            match store.try_mutate(mutation) {
                Err(MutateError::Failed(error)) => honest(&error),
                outcome => {
                    let expected = self.model.try_mutate(mutation);
                    let of = |outcome: &Result<_, MutateError>| {
                        outcome.as_ref().map(|_| ()).map_err(ToString::to_string)
                    };
                    assert_eq!(of(&outcome), of(&expected), "C5: {mutation:?}");
                    return;
                }
            }
            if self.composition.buffer.is_none() && Patient(store).last_seq().expect("patient") > before {
                self.model.try_mutate(mutation).expect("it was accepted below");
                return;
            }
        }
        panic!("the disk fails for ever");
    }

    /// What could not be written is told, and written when it can be.
    fn flush(&self, store: &ShapeMeta) {
        for _ in 0..100 {
            if store.flush(PATIENT).is_ok() {
                return;
            }
            honest(&failing(store));
            self.agrees(store);
        }
        panic!("the disk fails for ever");
    }

    fn close(&self, store: ShapeMeta) {
        // Closing tries once in this mode, and it may be told that it did not work.
        self.flush(&store);
        let report = store.close(PATIENT);
        assert!(report.is_complete(), "C10: {report:?}");
    }

    /// Everything that can be read is what the model says.
    #[track_caller]
    pub(super) fn agrees(&self, store: &ShapeMeta) {
        assert_eq!(timeless(View::of(&Patient(store))), timeless(View::of(&self.model)));
    }
}

/// Any mutation, in a small world.
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

/// Without what depends on the clock.
pub(super) fn timeless(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| Seen { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}

/// What SQLite itself finds in a database.
#[track_caller]
pub(super) fn sound(directory: &Path) {
    let found: String = shape_meta_harness::rows::stranger(directory)
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(found, "ok");
}
