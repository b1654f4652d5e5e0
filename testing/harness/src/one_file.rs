//! A composition over one database file and a store below that fails when it is told to, played in step with
//! the reference model.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta::{
    ErrorKind, Handle, Limits, NoopObserver, OnLiveOwner, ShapeMeta, Standby, StoreControl, Timestamp,
};
use shape_meta_core::{
    Direct,
    conformance::{
        FailingStore, Faults, Fixture, Naming, Side, View,
        ops::{History, Lockstep, Op},
    },
};
use tempfile::TempDir;

use crate::{
    compositions::{Composition, DIRECT, Flushing, PATIENT, directory},
    rows::{FILE, Rows, stranger},
};

/// Opens the composition over one database after the other: each is what a crash has left of the one before.
pub struct OneFile {
    composition: Composition,
    faults: Faults,
    root: TempDir,
    latest: AtomicUsize,
    /// Who reads the latest database beside its owner, once somebody has asked for it.
    standby: Mutex<Option<Standby>>,
}

impl OneFile {
    pub fn new(composition: Composition) -> Self {
        Self {
            composition,
            faults: Faults::default(),
            root: directory(),
            latest: AtomicUsize::new(0),
            standby: Mutex::default(),
        }
    }

    /// The standby that was there before, or a new one.
    fn standby(&self) -> Standby {
        let before = self.standby.lock().expect("nobody panics under it").take();
        before.unwrap_or_else(|| {
            self.composition.builder().open_standby(self.path()).expect("there is a database")
        })
    }

    fn path(&self) -> PathBuf {
        let path = self.root.path().join(self.latest.load(Ordering::Relaxed).to_string());
        fs::create_dir_all(&path).expect("there is room for temporary files");
        path
    }

    fn is_stepped(&self) -> bool {
        self.composition.buffer == Some(Flushing::Stepped)
    }
}

impl Fixture for OneFile {
    type Store = ShapeMeta;

    fn open(&self) -> ShapeMeta {
        let below = Arc::new(self.composition.below(&self.path()));
        self.composition.over(FailingStore::with(below, self.faults.clone()))
    }

    fn flush(&self, store: &ShapeMeta) {
        // As often as it was told to fail; each attempt takes one failure from the queue.
        let asked = Instant::now();
        while store.flush(PATIENT).is_err() {}
        assert!(asked.elapsed() < PATIENT, "nobody came to flush: {:?}", store.health());
    }

    fn pause(&self, store: &ShapeMeta) -> bool {
        store.pause();
        self.composition.buffer.is_some()
    }

    fn resume(&self, store: &ShapeMeta) {
        store.resume();
    }

    fn shows_failures(&self) -> bool {
        self.composition.buffer.is_none()
    }

    fn disturb(&self, store: &ShapeMeta, way: u8) {
        match way % 5 {
            0 => self.faults.fail_applies(2, ErrorKind::Busy, Side::Before),
            1 => self.faults.fail_applies(1, ErrorKind::Io, Side::After),
            // Without a buffer a panic is the caller's.
            _ if self.shows_failures() => self.faults.fail_applies(1, ErrorKind::StorageFull, Side::Before),
            2 => self.faults.panic_applies(1, Side::Before),
            3 => self.faults.panic_applies(1, Side::After),
            // A flush that may fail, with what follows still to be accepted.
            _ => drop(store.flush(Duration::ZERO)),
        }
    }

    fn flush_in_part(&self, store: &ShapeMeta, way: u8) {
        if self.composition.buffer.is_some() {
            self.faults.spare_applies(usize::from(way % 4));
            self.faults.fail_applies(
                1,
                ErrorKind::StorageFull,
                if way < 128 { Side::Before } else { Side::After },
            );
            drop(store.flush(Duration::ZERO));
        }
    }

    fn refuse(&self, _: &ShapeMeta, handle: &Handle, naming: Naming) -> bool {
        let steps = self.is_stepped() || self.shows_failures();
        if steps {
            self.faults.refuse(handle, naming);
        }
        steps
    }

    fn heal(&self, _: &ShapeMeta) {
        self.faults.heal();
    }

    fn repair(&self, store: &ShapeMeta) {
        // What is pending is written with it, as often as it was told to fail.
        let asked = Instant::now();
        while let Err(error) = store.repair() {
            assert!(asked.elapsed() < PATIENT, "it is not repaired: {error}");
        }
    }

    /// The files as they are between two system calls are what a process that is killed there leaves. So they
    /// are copied while nothing is written, and the copy is opened.
    fn crash(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        let from = self.path();
        // Waits for a flush that is under way.
        store.pause();
        self.latest.fetch_add(1, Ordering::Relaxed);
        *self.standby.lock().expect("nobody panics under it") = None;
        let to = self.path();
        for name in [FILE.to_owned(), format!("{FILE}-wal")] {
            if from.join(&name).exists() {
                fs::copy(from.join(&name), to.join(&name)).expect("there is room for temporary files");
            }
        }
        self.faults.heal();
        drop(store);
        Ok(self.open())
    }

    fn beside(&self, _: &ShapeMeta) -> Option<View> {
        let standby = self.standby();
        standby.refresh().expect("nothing fails");
        // While a thread flushes, each read may be of another moment.
        let view = (self.composition.buffer != Some(Flushing::Busy)).then(|| View::of(&standby));
        *self.standby.lock().expect("nobody panics under it") = Some(standby);
        view
    }

    fn promote(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        let standby = self.standby();
        self.flush(&store);
        assert!(store.close(PATIENT).is_complete());
        drop(store);
        Ok(standby.promote(OnLiveOwner::Fail).expect("nobody owns it"))
    }

    fn reopen(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        self.flush(&store);
        assert!(store.close(PATIENT).is_complete());
        drop(store);
        Ok(self.open())
    }
}

/// Plays these operations. After every step each outcome and each read is compared with the reference model,
/// and whenever all is on disk, the rows are compared with those that the direct composition writes for the
/// same history.
pub fn follows_the_model(composition: Composition, ops: &[Op]) {
    let file = OneFile::new(composition);
    let mut lockstep = Lockstep::new(&file);
    for op in ops {
        lockstep.step(*op);
        if matches!(op, Op::Flush | Op::Reopen | Op::Crash) && lockstep.is_settled() {
            rows_are_those_of_direct(&file, lockstep.history());
        }
    }
    lockstep.finish();
    rows_are_those_of_direct(&file, lockstep.history());
    lookups_are_right(&file);
}

fn rows_are_those_of_direct(file: &OneFile, history: &History) {
    let directory = directory();
    let open = || {
        let below = DIRECT.below(directory.path());
        Direct::new(below, Limits::default(), Arc::new(NoopObserver)).expect("it can be read")
    };
    let direct = history.play(open(), |store, _| {
        drop(store);
        open()
    });
    let expected = Rows::of(directory.path()).without_lookups();
    drop(direct);
    assert_eq!(Rows::of(&file.path()).without_lookups(), expected, "C5: the rows of the direct composition");
}

/// Where the file has index tables, they are those of its shapes: what a database without them would get
/// if they were built anew.
fn lookups_are_right(file: &OneFile) {
    let kept = Rows::of(&file.path());
    if !kept.has("key_lookup") {
        return;
    }
    let copy = directory();
    let to = copy.path().join(FILE);
    stranger(&file.path())
        .execute("VACUUM INTO ?1", [to.to_str().expect("a path of text")])
        .expect("it can be copied");
    stranger(copy.path())
        .execute_batch("DROP TABLE handle_lookup; DROP TABLE key_lookup; DROP TABLE relation_lookup")
        .expect("the tables are there");
    drop(shape_meta::SqliteStore::open(copy.path(), Default::default(), Arc::new(NoopObserver)));
    assert_eq!(kept, Rows::of(copy.path()), "C5: the index tables are those of the shapes");
}
