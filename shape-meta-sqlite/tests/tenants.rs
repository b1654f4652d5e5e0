//! Many stores in one process: idle stores, and the connection limit that they share.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use shape_meta_core::{ErrorKind, ReadShapes};
use shape_meta_sqlite::{ConnectionLimit, Mode, SqliteStore};
use tempfile::TempDir;

use crate::support::{self, Recorder};

const TIMEOUT: Duration = Duration::from_secs(60);

fn wait_until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < TIMEOUT, "the condition is not met within {TIMEOUT:?}");
        thread::yield_now();
    }
}

fn connections(store: &SqliteStore) -> u32 {
    store.stats().expect("counts").connections
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("reads");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("reads").file_name().into_string().expect("UTF-8")).collect();
    names.sort_unstable();
    names
}

/// Returns the names of the files in the directory that this process has open.
#[cfg(target_os = "linux")]
fn descriptors(directory: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc/self/fd").expect("/proc is readable");
    let targets = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let ours = targets.filter(|target| target.starts_with(directory));
    ours.map(|target| target.file_name().expect("the path has a file name").to_string_lossy().into_owned())
        .collect()
}

fn open_many(stores: u32, limit: &ConnectionLimit) -> Vec<(SqliteStore, TempDir)> {
    let open = |_| {
        let directory = support::directory();
        let options = support::options().connection_limit(limit).checkout_timeout(TIMEOUT);
        (support::open(directory.path(), options), directory)
    };
    (0..stores).map(open).collect()
}

#[test]
fn an_idle_store_keeps_only_its_lock_file_open() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    for round in 1..=3 {
        support::fill(&store, round..=round);
        assert_eq!(support::live(&store).len() as u64, round);
        assert_eq!(connections(&store), 2);
        let before = store.stats().expect("counts");
        store.close_idle();
        let after = store.stats().expect("counts");
        assert_eq!((after.connections, after.wal_bytes), (0, 0));
        assert_eq!((after.database_bytes, after.free_bytes), (before.database_bytes, before.free_bytes));
        assert_eq!(
            files(directory.path()),
            ["shape-meta.lock", "shape-meta.sqlite3"],
            "the WAL is checkpointed and deleted"
        );
        #[cfg(target_os = "linux")]
        assert_eq!(descriptors(directory.path()), ["shape-meta.lock"]);
        // The idle store still owns the database (C11).
        assert_eq!(support::open_error(directory.path(), support::options()).kind(), ErrorKind::AlreadyOpen);
    }
    assert_eq!(store.counts().expect("a read reopens the database").total, 3);
    support::fill(&store, 4..=4);
    assert_eq!(support::live(&store), [1, 2, 3, 4]);
}

#[test]
fn idle_connections_are_closed_after_the_timeout() {
    let directory = support::directory();
    let recorder = Arc::new(Recorder::default());
    let options = support::options().idle_timeout(Duration::from_millis(1));
    let store = support::open_observed(directory.path(), options, recorder.clone());
    for round in 1..=3 {
        support::fill(&store, round..=round);
        assert_eq!(store.counts().expect("reads").total, round);
        // A call of `stats` does not keep a connection open.
        wait_until(|| connections(&store) == 0);
        store.stats().expect("counts");
        assert_eq!(connections(&store), 0);
    }
}

#[test]
fn a_single_connection_is_never_closed_as_idle() {
    let directory = support::directory();
    let options = support::options().mode(Mode::Exclusive).idle_timeout(Duration::ZERO);
    let store = support::open(directory.path(), options.connection_limit(&ConnectionLimit::new(1)));
    support::fill(&store, 1..=3);
    store.close_idle();
    assert_eq!(connections(&store), 1, "the connection holds the lock on the file");

    let memory = SqliteStore::open_in_memory(
        support::options().idle_timeout(Duration::ZERO),
        Arc::new(shape_meta_core::NoopObserver),
    );
    let memory = memory.expect("an in-memory database opens");
    support::fill(&memory, 1..=3);
    memory.close_idle();
    assert_eq!(support::live(&memory), [1, 2, 3], "closing the connection would delete the database");
}

/// A database that disappears while the store has no file open is not created again.
#[test]
fn c11_a_database_that_disappears_while_idle_is_an_error() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=1);
    store.close_idle();
    let (file, aside) = (directory.path().join("shape-meta.sqlite3"), directory.path().join("aside"));
    std::fs::rename(&file, &aside).expect("renames");
    assert!(store.counts().is_err());
    assert!(store.apply_one(2).is_err());
    assert!(!file.exists());
    std::fs::rename(&aside, &file).expect("renames back");
    support::fill(&store, 2..=2);
    assert_eq!(support::live(&store), [1, 2]);
}

trait ApplyOne {
    fn apply_one(&self, number: u64) -> shape_meta_core::Result<()>;
}

impl ApplyOne for SqliteStore {
    fn apply_one(&self, number: u64) -> shape_meta_core::Result<()> {
        let add = support::add(number, shape_meta_core::SnapshotState::Complete);
        shape_meta_core::ShapeStore::apply(self, &support::batch(number, [add]))
    }
}

#[test]
fn stores_under_a_limit_take_idle_readers_from_each_other() {
    let limit = ConnectionLimit::new(2);
    let stores = open_many(5, &limit);
    for round in 1..=3 {
        for (store, _) in &stores {
            support::fill(store, round..=round);
        }
        for (store, _) in &stores {
            assert_eq!(store.counts().expect("a connection is available").total, round);
            wait_until(|| limit.open() <= 2);
        }
    }
    drop(stores);
    assert_eq!(limit.open(), 0);
}

#[test]
fn at_the_connection_limit_reads_wait_and_writes_do_not() {
    let limit = ConnectionLimit::new(1);
    let stores = open_many(2, &limit);
    let [(first, _), (second, _)] = &stores[..] else { unreachable!("two stores were opened") };
    let scan = first.scan().expect("a connection is available");
    support::fill(second, 1..=1);

    let directory = support::directory();
    let third = support::options().connection_limit(&limit).checkout_timeout(Duration::from_millis(5));
    let third = support::open(directory.path(), third);
    assert_eq!(third.counts().expect_err("the connection is in use").kind(), ErrorKind::Busy);

    thread::scope(|scope| {
        let waiting = scope.spawn(|| second.counts());
        drop(scan);
        assert_eq!(
            waiting.join().expect("no thread panicked").expect("the waiting read gets the connection").total,
            1
        );
    });
    assert_eq!(third.counts().expect("the idle reader is taken over").total, 0);
}

#[test]
fn the_connection_limit_holds_among_threads() {
    let limit = ConnectionLimit::new(3);
    let stores = open_many(6, &limit);
    thread::scope(|scope| {
        for (number, (store, _)) in stores.iter().enumerate() {
            let limit = &limit;
            scope.spawn(move || {
                for round in 1..=20 {
                    support::fill(store, round..=round);
                    assert_eq!(store.counts().expect("reads").total, round);
                    assert_eq!(support::live(store).len() as u64, round);
                    if (round as usize + number).is_multiple_of(5) {
                        store.close_idle();
                    }
                    // A store that is being written to may exceed the limit by its writer.
                    assert!(limit.open() <= 3 + 6);
                }
            });
        }
    });
    wait_until(|| limit.open() <= 3);
    stores.iter().for_each(|(store, _)| store.close_idle());
    assert_eq!(limit.open(), 0);
}

/// Returns the number of descriptors of database files that this process has open below the directory.
#[cfg(target_os = "linux")]
fn open_databases(below: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").expect("/proc is readable");
    let targets = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(below) && target.ends_with("shape-meta.sqlite3")).count()
}

/// Once, idle writers were not counted with the readers, so that a limit of 64 opened 128 connections.
#[test]
fn c7_a_connection_limit_counts_readers_and_writers() {
    const THREADS: u32 = 4;
    const MAX: u32 = 8;
    let limit = ConnectionLimit::new(MAX);
    let top = support::directory();
    let open = |number: u64| {
        let options = support::options().connection_limit(&limit).checkout_timeout(TIMEOUT);
        support::open(&top.path().join(number.to_string()), options)
    };
    let stores: Vec<_> = (0..40).map(open).collect();
    let at_rest = || {
        // A writer that makes room for a reader is closed on another thread.
        wait_until(|| limit.open() <= MAX);
        // SQLite keeps the file of a closed writer open while a reader of the same database is open: to close
        // it would release the POSIX locks of that reader.
        #[cfg(target_os = "linux")]
        wait_until(|| open_databases(top.path()) <= 2 * MAX as usize);
    };
    at_rest();
    // Every reader may be in use although all other connections are idle writers.
    for round in 1..=2 {
        stores.iter().for_each(|store| support::fill(store, round..=round));
        at_rest();
        let scans: Vec<_> =
            stores[..MAX as usize].iter().map(|store| store.scan().expect("a reader")).collect();
        at_rest();
        assert_eq!(scans.into_iter().map(|scan| scan.count() as u64).sum::<u64>(), u64::from(MAX) * round);
    }
    thread::scope(|scope| {
        for part in stores.chunks(stores.len() / THREADS as usize) {
            let limit = &limit;
            scope.spawn(move || {
                for round in 3..=12 {
                    for store in part {
                        support::fill(store, round..=round);
                        assert_eq!(store.counts().expect("a reader").total, round);
                        // The writers at work, and those that are being closed for readers.
                        assert!(limit.open() <= MAX + 2 * THREADS, "{limit:?}");
                    }
                }
            });
        }
    });
    at_rest();
    drop(stores);
    assert_eq!(limit.open(), 0);
}
