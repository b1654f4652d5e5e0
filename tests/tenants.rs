//! Many stores in one process, which share flusher threads and a cap on connections.

use std::{path::Path, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, ConnectionLimit, FlusherOptions, FlusherPool, HealthState, MutateShapesExt,
    NoopCleaner, ReadShapes, ReadShapesExt, ShapeMeta, SqliteOptions, StoreControl, Timestamp, Wait,
};
use shape_meta_core::conformance::{self, Fixture, control};
use tempfile::TempDir;

use shape_meta_harness::{
    compositions::{PATIENT, directory, sqlite},
    rows::stranger,
};

/// Stores of one process, as one that serves many tenants opens them.
struct Tenants {
    all: TempDir,
    flushers: FlusherPool,
    cap: ConnectionLimit,
    buffer: BufferOptions,
    sqlite: SqliteOptions,
    cached: bool,
}

impl Tenants {
    fn new(cached: bool) -> Self {
        Self {
            all: directory(),
            flushers: FlusherPool::new(FlusherOptions::default().threads(2).max_threads(4)),
            cap: ConnectionLimit::new(8),
            buffer: BufferOptions::default(),
            sqlite: sqlite(),
            cached,
        }
    }

    /// Flushed all the time, and at rest whenever nothing is being done.
    fn restless(cached: bool) -> Self {
        let mut tenants = Self::new(cached);
        tenants.buffer = tenants.buffer.flush_interval(Duration::from_micros(50)).flush_shapes(3);
        tenants.sqlite = tenants.sqlite.idle_timeout(Duration::ZERO);
        tenants
    }

    fn open_in(&self, directory: &Path) -> ShapeMeta {
        let builder = ShapeMeta::builder(NoopCleaner).sqlite(self.sqlite.clone().connection_limit(&self.cap));
        let builder = if self.cached { builder.cached(CacheOptions::default()) } else { builder };
        builder.buffered(self.buffer.clone().flushers(&self.flushers)).open(directory).expect("it opens")
    }

    fn many(&self, stores: usize) -> Vec<ShapeMeta> {
        (0..stores).map(|number| self.open_in(&self.all.path().join(number.to_string()))).collect()
    }
}

impl Fixture for Tenants {
    type Store = ShapeMeta;

    fn open(&self) -> ShapeMeta {
        self.open_in(&tempfile::tempdir_in(&self.all).expect("there is room for temporary files").keep())
    }

    fn flush(&self, store: &ShapeMeta) {
        store.flush(PATIENT).expect("nothing fails");
    }

    fn pause(&self, store: &ShapeMeta) -> bool {
        store.pause();
        true
    }

    fn resume(&self, store: &ShapeMeta) {
        store.resume();
    }

    fn disturb(&self, store: &ShapeMeta, _: u8) {
        store.database().expect("it stands on one").close_idle();
    }

    fn reopen(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        let database = store.database().expect("it stands on a database");
        let own = database.directory().expect("it is on disk").to_owned();
        assert!(store.close(PATIENT).is_complete());
        drop(store);
        Ok(self.open_in(&own))
    }
}

mod one_of_many {
    use super::*;

    shape_meta_core::conformance_tests!(Tenants::restless(true));

    #[test]
    fn on_the_way_to_disk() {
        control::run_all(&Tenants::restless(true));
    }
}

mod one_of_many_without_a_cache {
    use super::*;

    shape_meta_core::conformance_tests!(Tenants::restless(false));
}

/// A stranger holds the files of two stores: more than there are threads at first.
#[test]
fn stores_that_cannot_write_hold_up_no_other() {
    let mut tenants = Tenants::new(true);
    tenants.sqlite = tenants.sqlite.busy_timeout(PATIENT);
    let stores = tenants.many(5);
    let strangers: Vec<_> = (0..2)
        .map(|number| {
            let stranger = stranger(&tenants.all.path().join(number.to_string()));
            stranger.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
            stranger
        })
        .collect();
    let held: Vec<_> = stores[..2]
        .iter()
        .map(|store| {
            store.add(conformance::shape(1), Wait::No).expect("room");
            store.request_flush()
        })
        .collect();
    for round in 1..=5 {
        for store in &stores[2..] {
            store.add(conformance::shape(round), Wait::No).expect("room");
            store.flush(PATIENT).expect("the others do not matter");
        }
    }
    assert!(held.iter().all(|receipt| !receipt.is_durable()));
    assert!(stores[0].has_handle(&conformance::shape(1).handle).expect("reads go on"));
    drop(strangers);
    for receipt in held {
        receipt.wait_durable(PATIENT).expect("nobody holds it any more");
    }
    assert!(stores.iter().all(|store| matches!(store.health().state, HealthState::Ready)));
}

/// What the documentation promises, counted where nothing else runs.
#[test]
#[cfg(target_os = "linux")]
fn idle_stores_cost_no_thread_and_one_descriptor_each() {
    const CHILD: &str = "SHAPE_META_TENANTS_CHILD";
    const STORES: usize = 200;
    if std::env::var_os(CHILD).is_none() {
        let name = "tenants::idle_stores_cost_no_thread_and_one_descriptor_each";
        let child = std::process::Command::new(std::env::current_exe().expect("a test has a file"))
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .status();
        return assert!(child.expect("a test can be run again").success());
    }
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).expect("Linux").count();
    let (threads, descriptors) = (count("task"), count("fd"));
    let tenants = Tenants::new(true);
    let stores = tenants.many(STORES);
    for store in &stores {
        store.add(conformance::shape(1), Wait::No).expect("room");
    }
    for store in &stores {
        store.flush(PATIENT).expect("it flushes");
        assert_eq!(store.counts().expect("it reads").total, 1);
        store.database().expect("it stands on one").close_idle();
    }
    // Up to four that flush and one that watches, and two that close what is idle.
    assert!(count("task") <= threads + 7, "{} threads before, {} now", threads, count("task"));
    assert_eq!(count("fd"), descriptors + STORES, "the lock files");
    assert_eq!(tenants.cap.open(), 0);
    drop(stores);
    assert_eq!(count("fd"), descriptors);
}
