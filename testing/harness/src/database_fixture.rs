//! A fixture of a composition over a database file, with injected faults, for model tests.

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
        CompositionFixture, FailingStore, Faults, RejectedSeq, Side, View,
        ops::{History, Lockstep, Op},
    },
};
use tempfile::TempDir;

use crate::{
    compositions::{Composition, DIRECT, FlushSchedule, TIMEOUT, directory},
    rows::{DATABASE_FILE, Rows, raw_connection},
};

/// Opens a composition over a database, and after each crash over a copy of what the crash left.
pub struct DatabaseFixture {
    composition: Composition,
    faults: Faults,
    root: TempDir,
    /// The number of the latest copy.
    latest: AtomicUsize,
    /// The standby of the latest database, once it was needed.
    standby: Mutex<Option<Standby>>,
}

impl DatabaseFixture {
    pub fn new(composition: Composition) -> Self {
        Self {
            composition,
            faults: Faults::default(),
            root: directory(),
            latest: AtomicUsize::new(0),
            standby: Mutex::default(),
        }
    }

    /// Takes the existing standby, or opens one.
    fn take_standby(&self) -> Standby {
        let existing = self.standby.lock().expect("no thread panics while it holds the lock").take();
        existing.unwrap_or_else(|| {
            self.composition.builder().open_standby(self.path()).expect("the standby opens")
        })
    }

    fn path(&self) -> PathBuf {
        let path = self.root.path().join(self.latest.load(Ordering::Relaxed).to_string());
        fs::create_dir_all(&path).expect("temporary files can be written");
        path
    }

    fn flushes_on_demand(&self) -> bool {
        self.composition.buffer == Some(FlushSchedule::Manual)
    }
}

impl CompositionFixture for DatabaseFixture {
    type Store = ShapeMeta;

    fn open(&self) -> ShapeMeta {
        let below = Arc::new(self.composition.open_sqlite(&self.path()));
        self.composition.over(FailingStore::with(below, self.faults.clone()))
    }

    fn flush(&self, store: &ShapeMeta) {
        // Each attempt takes one fault from the queue.
        let started_at = Instant::now();
        while store.flush(TIMEOUT).is_err() {}
        assert!(started_at.elapsed() < TIMEOUT, "the flush does not finish: {:?}", store.health());
    }

    fn pause(&self, store: &ShapeMeta) -> bool {
        store.pause();
        self.composition.buffer.is_some()
    }

    fn resume(&self, store: &ShapeMeta) {
        store.resume();
    }

    fn faults_reach_callers(&self) -> bool {
        self.composition.buffer.is_none()
    }

    fn inject_fault(&self, store: &ShapeMeta, kind: u8) {
        match kind % 5 {
            0 => self.faults.fail_applies(2, ErrorKind::Busy, Side::Before),
            1 => self.faults.fail_applies(1, ErrorKind::Io, Side::After),
            // Without a buffer a panic would reach the caller.
            _ if self.faults_reach_callers() => {
                self.faults.fail_applies(1, ErrorKind::StorageFull, Side::Before)
            }
            2 => self.faults.panic_applies(1, Side::Before),
            3 => self.faults.panic_applies(1, Side::After),
            // A flush that may fail. Later mutations must still be accepted.
            _ => drop(store.flush(Duration::ZERO)),
        }
    }

    fn partial_flush(&self, store: &ShapeMeta, kind: u8) {
        if self.composition.buffer.is_some() {
            self.faults.allow_applies(usize::from(kind % 4));
            self.faults.fail_applies(
                1,
                ErrorKind::StorageFull,
                if kind < 128 { Side::Before } else { Side::After },
            );
            drop(store.flush(Duration::ZERO));
        }
    }

    fn reject_handle(&self, _: &ShapeMeta, handle: &Handle, rejected_seq: RejectedSeq) -> bool {
        let supported = self.flushes_on_demand() || self.faults_reach_callers();
        if supported {
            self.faults.reject_handle(handle, rejected_seq);
        }
        supported
    }

    fn clear_faults(&self, _: &ShapeMeta) {
        self.faults.clear();
    }

    fn repair(&self, store: &ShapeMeta) {
        // A repair flushes, and each attempt takes one fault from the queue.
        let started_at = Instant::now();
        while let Err(error) = store.repair() {
            assert!(started_at.elapsed() < TIMEOUT, "the repair does not succeed: {error}");
        }
    }

    /// Copies the files while nothing is written, and opens the copy: a killed process leaves the files as
    /// they are between two system calls.
    fn crash(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        let from = self.path();
        // Waits for a flush in progress.
        store.pause();
        self.latest.fetch_add(1, Ordering::Relaxed);
        *self.standby.lock().expect("no thread panics while it holds the lock") = None;
        let to = self.path();
        for name in [DATABASE_FILE.to_owned(), format!("{DATABASE_FILE}-wal")] {
            if from.join(&name).exists() {
                fs::copy(from.join(&name), to.join(&name)).expect("temporary files can be written");
            }
        }
        self.faults.clear();
        drop(store);
        Ok(self.open())
    }

    fn standby_view(&self, _: &ShapeMeta) -> Option<View> {
        let standby = self.take_standby();
        standby.refresh().expect("the standby refreshes");
        // While a thread flushes, each read of a view may return another state.
        let view = (self.composition.buffer != Some(FlushSchedule::Continuous)).then(|| View::of(&standby));
        *self.standby.lock().expect("no thread panics while it holds the lock") = Some(standby);
        view
    }

    fn promote(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        let standby = self.take_standby();
        self.flush(&store);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        Ok(standby.promote(OnLiveOwner::Fail).expect("the database has no owner"))
    }

    fn reopen(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        self.flush(&store);
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        Ok(self.open())
    }
}

/// Plays operations on a composition, and compares every outcome and every read with the reference model
/// after each step (C5). Whenever every mutation is durable, the rows are compared with those that the direct
/// composition writes for the same history.
///
/// # Panics
///
/// If anything differs.
pub fn follows_the_model(composition: Composition, ops: &[Op]) {
    let fixture = DatabaseFixture::new(composition);
    let mut lockstep = Lockstep::new(&fixture);
    for op in ops {
        lockstep.step(*op);
        if matches!(op, Op::Flush | Op::Reopen | Op::Crash) && lockstep.is_settled() {
            assert_rows_equal_direct(&fixture, lockstep.history());
        }
    }
    lockstep.finish();
    assert_rows_equal_direct(&fixture, lockstep.history());
    assert_lookup_tables(&fixture);
}

fn assert_rows_equal_direct(fixture: &DatabaseFixture, history: &History) {
    let directory = directory();
    let open = || {
        let store = DIRECT.open_sqlite(directory.path());
        Direct::new(store, Limits::default(), Arc::new(NoopObserver)).expect("the store can be read")
    };
    let direct = history.play(open(), |store, _| {
        drop(store);
        open()
    });
    let expected = Rows::of(directory.path()).without_lookup_tables();
    drop(direct);
    assert_eq!(
        Rows::of(&fixture.path()).without_lookup_tables(),
        expected,
        "C5: the rows equal those of the direct composition"
    );
}

/// Asserts that the look-up tables, if there are any, equal those that an open would rebuild from the shapes.
fn assert_lookup_tables(fixture: &DatabaseFixture) {
    let actual = Rows::of(&fixture.path());
    if !actual.has_table("key_lookup") {
        return;
    }
    let copy = directory();
    let to = copy.path().join(DATABASE_FILE);
    raw_connection(&fixture.path())
        .execute("VACUUM INTO ?1", [to.to_str().expect("the path is UTF-8")])
        .expect("the database is copied");
    raw_connection(copy.path())
        .execute_batch("DROP TABLE handle_lookup; DROP TABLE key_lookup; DROP TABLE relation_lookup")
        .expect("the look-up tables exist");
    drop(shape_meta::SqliteStore::open(copy.path(), Default::default(), Arc::new(NoopObserver)));
    assert_eq!(actual, Rows::of(copy.path()), "C5: the look-up tables match the shapes");
}
