//! Many stores in one process: what an idle one keeps, and the cap on connections that they share.

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

const PATIENT: Duration = Duration::from_secs(60);

fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < PATIENT);
        thread::yield_now();
    }
}

fn connections(store: &SqliteStore) -> u32 {
    store.stats().expect("it counts").connections
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("it reads").file_name().into_string().expect("our names")).collect();
    names.sort_unstable();
    names
}

/// What this process has open in the directory.
#[cfg(target_os = "linux")]
fn descriptors(directory: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let targets = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let ours = targets.filter(|target| target.starts_with(directory));
    ours.map(|target| target.file_name().expect("a file").to_string_lossy().into_owned()).collect()
}

fn many(stores: u32, cap: &ConnectionLimit) -> Vec<(SqliteStore, TempDir)> {
    let open = |_| {
        let directory = support::directory();
        let options = support::options().connection_limit(cap).checkout_timeout(PATIENT);
        (support::open(directory.path(), options), directory)
    };
    (0..stores).map(open).collect()
}

#[test]
fn an_idle_store_keeps_nothing_open_but_its_lock() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    for round in 1..=3 {
        support::fill(&store, round..=round);
        assert_eq!(support::live(&store).len() as u64, round);
        assert_eq!(connections(&store), 2);
        let before = store.stats().expect("it counts");
        store.close_idle();
        let after = store.stats().expect("it counts");
        assert_eq!((after.connections, after.wal_bytes), (0, 0));
        assert_eq!((after.database_bytes, after.free_bytes), (before.database_bytes, before.free_bytes));
        assert_eq!(files(directory.path()), ["shape-meta.lock", "shape-meta.sqlite3"], "the log is moved in");
        #[cfg(target_os = "linux")]
        assert_eq!(descriptors(directory.path()), ["shape-meta.lock"]);
        // It is owned all the same (C11).
        assert_eq!(support::refused(directory.path(), support::options()).kind(), ErrorKind::AlreadyOpen);
    }
    assert_eq!(store.counts().expect("a reader comes first this time").total, 3);
    support::fill(&store, 4..=4);
    assert_eq!(support::live(&store), [1, 2, 3, 4]);
}

#[test]
fn idle_connections_close_by_themselves() {
    let directory = support::directory();
    let recorder = Arc::new(Recorder::default());
    let options = support::options().idle_timeout(Duration::from_millis(1));
    let store = support::observed(directory.path(), options, recorder.clone());
    for round in 1..=3 {
        support::fill(&store, round..=round);
        assert_eq!(store.counts().expect("it reads").total, round);
        // Being looked at keeps it from nothing.
        until(|| connections(&store) == 0);
        store.stats().expect("it counts");
        assert_eq!(connections(&store), 0);
    }
}

#[test]
fn one_connection_for_all_never_rests() {
    let directory = support::directory();
    let options = support::options().mode(Mode::Exclusive).idle_timeout(Duration::ZERO);
    let store = support::open(directory.path(), options.connection_limit(&ConnectionLimit::new(1)));
    support::fill(&store, 1..=3);
    store.close_idle();
    assert_eq!(connections(&store), 1, "it is what locks the file");

    let memory = SqliteStore::open_in_memory(
        support::options().idle_timeout(Duration::ZERO),
        Arc::new(shape_meta_core::NoopObserver),
    );
    let memory = memory.expect("memory does not fail");
    support::fill(&memory, 1..=3);
    memory.close_idle();
    assert_eq!(support::live(&memory), [1, 2, 3], "it would be gone");
}

/// A file that somebody took away while nothing of it was open is not begun anew.
#[test]
fn c11_a_database_that_is_gone_after_a_rest_is_a_failure() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=1);
    store.close_idle();
    let (file, aside) = (directory.path().join("shape-meta.sqlite3"), directory.path().join("aside"));
    std::fs::rename(&file, &aside).expect("it can be moved");
    assert!(store.counts().is_err());
    assert!(store.apply_one(2).is_err());
    assert!(!file.exists());
    std::fs::rename(&aside, &file).expect("it can be moved back");
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
fn stores_under_a_cap_take_idle_readers_from_each_other() {
    let cap = ConnectionLimit::new(2);
    let stores = many(5, &cap);
    for round in 1..=3 {
        for (store, _) in &stores {
            support::fill(store, round..=round);
        }
        for (store, _) in &stores {
            assert_eq!(store.counts().expect("it gets one").total, round);
            assert!(cap.open() <= 4, "two readers and two writers: {cap:?}");
        }
    }
    drop(stores);
    assert_eq!(cap.open(), 0);
}

#[test]
fn a_read_waits_while_all_of_the_cap_is_in_use_and_a_write_does_not() {
    let cap = ConnectionLimit::new(1);
    let stores = many(2, &cap);
    let [(first, _), (second, _)] = &stores[..] else { unreachable!("there are two") };
    let scan = first.scan().expect("it gets one");
    support::fill(second, 1..=1);

    let directory = support::directory();
    let impatient = support::options().connection_limit(&cap).checkout_timeout(Duration::from_millis(5));
    let impatient = support::open(directory.path(), impatient);
    assert_eq!(impatient.counts().expect_err("it is in use").kind(), ErrorKind::Busy);

    thread::scope(|scope| {
        let waiting = scope.spawn(|| second.counts());
        drop(scan);
        assert_eq!(waiting.join().expect("no panic").expect("it gets the connection").total, 1);
    });
    assert_eq!(impatient.counts().expect("it takes it over").total, 0);
}

#[test]
fn the_cap_is_kept_among_threads_and_nobody_waits_for_ever() {
    let cap = ConnectionLimit::new(3);
    let stores = many(6, &cap);
    thread::scope(|scope| {
        for (number, (store, _)) in stores.iter().enumerate() {
            let cap = &cap;
            scope.spawn(move || {
                for round in 1..=20 {
                    support::fill(store, round..=round);
                    assert_eq!(store.counts().expect("it reads").total, round);
                    assert_eq!(support::live(store).len() as u64, round);
                    if (round as usize + number).is_multiple_of(5) {
                        store.close_idle();
                    }
                    // Those that are being written to are beyond it.
                    assert!(cap.open() <= 3 + 6);
                }
            });
        }
    });
    assert!(cap.open() <= 3 + 3, "{cap:?}");
    stores.iter().for_each(|(store, _)| store.close_idle());
    assert_eq!(cap.open(), 0);
}
