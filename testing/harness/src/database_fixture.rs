//! A fixture of a composition over a database file, with injected faults, for model tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta::{
    ErrorKind, Feed, FeedError, FeedOptions, Handle, HealthState, Limits, MutateError, MutateShapesExt,
    NoopObserver, OnLiveOwner, ShapeList, ShapeMeta, SqliteOptions, Standby, StoreControl, Timestamp, Wait,
};
use shape_meta_core::{
    Direct,
    conformance::{
        CompositionFixture, FailingStore, Faults, RejectedSeq, Side, View,
        ops::{History, Lockstep, Op},
        shape,
    },
};
use shape_meta_sqlite::Inspector;
use tempfile::TempDir;

use crate::{
    compositions::{Composition, DIRECT, FlushSchedule, TIMEOUT, directory, sqlite},
    rows::{DATABASE_FILE, Rows, raw_connection},
};

/// Opens a composition over a database, and after each crash over a copy of what the crash left.
pub struct DatabaseFixture {
    composition: Composition,
    /// The faults of the present owner.
    faults: Mutex<Faults>,
    root: TempDir,
    /// The number of the latest copy that a crash has left.
    latest: AtomicUsize,
    /// The number of directories that were set aside.
    set_aside: AtomicUsize,
    /// The standby of the latest database, once it was needed, and a subscriber to it.
    standby: Mutex<Option<(Standby, StandbyFollower)>>,
    /// The owners whose place another one has taken. They are alive.
    former: Mutex<Vec<ShapeMeta>>,
    /// The number of shapes that former owners have tried to add.
    refused: AtomicU64,
}

impl DatabaseFixture {
    pub fn new(composition: Composition) -> Self {
        Self {
            composition,
            faults: Mutex::default(),
            root: directory(),
            latest: AtomicUsize::new(0),
            set_aside: AtomicUsize::new(0),
            standby: Mutex::default(),
            former: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    /// Opens the database, with faults of its own.
    fn open_with(&self, options: SqliteOptions) -> ShapeMeta {
        *lock(&self.faults) = Faults::default();
        let below = Arc::new(self.composition.open_sqlite_with(&self.path(), options));
        self.composition.over(FailingStore::with(below, self.faults()))
    }

    /// Keeps an owner that has lost its place, without the faults that were injected into it.
    fn outlive(&self, store: ShapeMeta, faults: &Faults) {
        faults.clear();
        store.resume();
        lock(&self.former).push(store);
    }

    /// Returns a directory that does not exist yet.
    fn aside(&self) -> PathBuf {
        self.root.path().join(format!("aside-{}", self.set_aside.fetch_add(1, Ordering::Relaxed)))
    }

    fn copy(&self) -> PathBuf {
        self.root.path().join("copy")
    }

    fn close(&self, store: ShapeMeta) {
        self.faults().clear();
        self.flush(&store);
        assert!(store.close(TIMEOUT).is_complete());
    }

    /// Takes the existing standby, or opens one.
    fn take_standby(&self) -> (Standby, StandbyFollower) {
        let existing = lock(&self.standby).take();
        existing.unwrap_or_else(|| {
            let standby = self.composition.builder().open_standby(self.path()).expect("the standby opens");
            (standby, StandbyFollower::default())
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
        self.open_with(sqlite())
    }

    fn subscribe(&self, store: &ShapeMeta, options: &FeedOptions) -> Option<Result<Feed, FeedError>> {
        Some(store.subscribe(options))
    }

    fn flush(&self, store: &ShapeMeta) {
        // Each attempt takes one fault from the queue.
        let started_at = Instant::now();
        while let Err(error) = store.flush(TIMEOUT) {
            let health = store.health();
            assert!(started_at.elapsed() < TIMEOUT, "the flush does not finish: {error}: {health:?}");
            assert!(health.is_live(), "C13: the present owner has lost its database: {health:?}");
        }
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
            0 => self.faults().fail_applies(2, ErrorKind::Busy, Side::Before),
            1 => self.faults().fail_applies(1, ErrorKind::Io, Side::After),
            // Without a buffer a panic would reach the caller.
            _ if self.faults_reach_callers() => {
                self.faults().fail_applies(1, ErrorKind::StorageFull, Side::Before)
            }
            2 => self.faults().panic_applies(1, Side::Before),
            3 => self.faults().panic_applies(1, Side::After),
            // A flush that may fail. Later mutations must still be accepted.
            _ => drop(store.flush(Duration::ZERO)),
        }
    }

    fn partial_flush(&self, store: &ShapeMeta, kind: u8) {
        if self.composition.buffer.is_some() {
            self.faults().allow_applies(usize::from(kind % 4));
            self.faults().fail_applies(
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
            self.faults().reject_handle(handle, rejected_seq);
        }
        supported
    }

    fn clear_faults(&self, _: &ShapeMeta) {
        self.faults().clear();
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
        self.write_as_former_owner();
        self.latest.fetch_add(1, Ordering::Relaxed);
        *lock(&self.standby) = None;
        let to = self.path();
        for name in [DATABASE_FILE.to_owned(), format!("{DATABASE_FILE}-wal")] {
            if from.join(&name).exists() {
                fs::copy(from.join(&name), to.join(&name)).expect("temporary files can be written");
            }
        }
        self.faults().clear();
        drop(store);
        Ok(self.open())
    }

    fn standby_view(&self, _: &ShapeMeta) -> Option<View> {
        let (standby, mut follower) = self.take_standby();
        standby.refresh().expect("the standby refreshes");
        // While a thread flushes, each read of a view may return another state.
        let view = (self.composition.buffer != Some(FlushSchedule::Continuous)).then(|| View::of(&standby));
        if view.is_some() {
            follower.follow(&standby);
        }
        *lock(&self.standby) = Some((standby, follower));
        view
    }

    fn promote(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        let (standby, _) = self.take_standby();
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

    /// Copies the files, or makes a backup.
    fn save_copy(&self, _: &ShapeMeta, kind: u8) -> bool {
        let (from, to) = (self.path(), self.copy());
        if to.exists() {
            fs::remove_dir_all(&to).expect("temporary files can be deleted");
        }
        if kind.is_multiple_of(2) {
            // Another process: this one would give up its locks on the files.
            run(Command::new("cp").arg("-R").args([from, to]));
        } else {
            let inspector = Inspector::open(&from).expect("the database is sound");
            inspector.backup(&to, |_, _| ()).expect("the database is copied");
            inspector.finish().expect("the database is not replaced meanwhile");
        }
        true
    }

    /// Replaces the whole directory by the copy, or the files of the database alone.
    fn restore(&self, store: ShapeMeta, kind: u8) -> Result<ShapeMeta, ShapeMeta> {
        if !self.copy().exists() {
            return Err(store);
        }
        // A former owner whose opening is the one of the copy would own the copy. It must know that it was
        // fenced before.
        self.write_as_former_owner();
        self.close(store);
        let path = self.path();
        if kind.is_multiple_of(2) {
            fs::rename(&path, self.aside()).expect("temporary files can be moved");
            run(Command::new("cp").arg("-R").args([self.copy(), path]));
        } else {
            delete_database(&path);
            for name in [DATABASE_FILE.to_owned(), format!("{DATABASE_FILE}-wal")] {
                if self.copy().join(&name).exists() {
                    run(Command::new("cp").args([self.copy().join(&name), path.join(&name)]));
                }
            }
        }
        Ok(self.open())
    }

    fn fence(&self, store: ShapeMeta) -> Result<ShapeMeta, ShapeMeta> {
        let faults = self.faults();
        let second = self.open_with(sqlite().on_live_owner(OnLiveOwner::Fence));
        self.outlive(store, &faults);
        Ok(second)
    }

    fn recreate(&self, store: ShapeMeta, kind: u8) -> Result<ShapeMeta, ShapeMeta> {
        self.write_as_former_owner();
        let (path, faults, aside) = (self.path(), self.faults(), self.aside());
        fs::rename(&path, &aside).expect("temporary files can be moved");
        if !kind.is_multiple_of(2) {
            fs::remove_dir_all(aside).expect("temporary files can be deleted");
        }
        let fresh = self.open();
        self.outlive(store, &faults);
        Ok(fresh)
    }

    fn empty(&self, store: ShapeMeta, kind: u8) -> Result<ShapeMeta, ShapeMeta> {
        self.write_as_former_owner();
        self.close(store);
        let path = self.path();
        delete_database(&path);
        if kind.is_multiple_of(2) {
            fs::write(path.join(DATABASE_FILE), b"").expect("temporary files can be written");
        }
        Ok(self.open())
    }

    fn write_as_former_owner(&self) {
        for store in &*lock(&self.former) {
            // No other shape has its handle or its key.
            let shape = shape(1_000 + self.refused.fetch_add(1, Ordering::Relaxed));
            let receipt = match store.add(shape, Wait::No) {
                Ok(receipt) => Some(receipt),
                Err(MutateError::Failed(_)) => None,
                Err(MutateError::Refused(refusal)) => panic!("C13: {refusal}"),
            };
            // A file without its name is noticed by one attempt, and the file that has the name by the next.
            for _ in 0..5 {
                let _ = store.flush(TIMEOUT);
            }
            let state = store.health().state;
            assert!(
                receipt.is_none_or(|receipt| receipt.wait_durable(Duration::ZERO).is_err()),
                "C13: a former owner confirms a mutation ({state:?})"
            );
            if self.composition.buffer.is_some() {
                assert!(matches!(state, HealthState::Fenced { .. }), "C13: a former owner is {state:?}");
            }
        }
    }
}

/// A subscriber that keeps the list of a standby by its feed alone (C15).
#[derive(Default)]
struct StandbyFollower {
    feed: Option<Feed>,
    list: ShapeList,
}

impl StandbyFollower {
    /// Applies what a refresh has given, and compares the list with that of the standby.
    fn follow(&mut self, standby: &Standby) {
        let mut ended = self.feed.is_none();
        while let Some(feed) = self.feed.as_mut().filter(|_| !ended) {
            match feed.recv_timeout(Duration::ZERO) {
                Ok(Some(change)) => self.list.apply(&change),
                Ok(None) => break,
                Err(FeedError::ListAnew { .. }) => ended = true,
                Err(error) => panic!("C15: the feed of a standby has ended: {error}"),
            }
        }
        if ended {
            self.feed = Some(standby.subscribe(&FeedOptions::visible()).expect("the standby is open"));
            self.list = ShapeList::of(standby).expect("the standby is read");
        }
        let shapes = |list: &ShapeList| -> Vec<_> {
            list.iter().map(|(entry, state)| (entry.created(), entry.handle().clone(), state)).collect()
        };
        let served = ShapeList::of(standby).expect("the standby is read");
        assert_eq!(shapes(&self.list), shapes(&served), "C15: the feed of a standby gives its list");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds the lock")
}

/// Runs a command to its end.
fn run(command: &mut Command) {
    let status = command.status().expect("the command can be started");
    assert!(status.success(), "{command:?}: {status}");
}

/// Deletes the files of a closed database. The owner's lock file stays.
fn delete_database(directory: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(directory.join(format!("{DATABASE_FILE}{suffix}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
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
        let compares = matches!(
            op,
            Op::Flush | Op::Reopen | Op::Crash | Op::Restore { .. } | Op::Fence | Op::Empty { .. }
        );
        if compares && lockstep.is_settled() {
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
    let rows = |path: &Path| Rows::of(path).without_lookup_tables().with_definitions_of(path);
    let expected = rows(directory.path());
    drop(direct);
    assert_eq!(rows(&fixture.path()), expected, "C5: the rows equal those of the direct composition");
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
