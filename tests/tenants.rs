//! Many stores in one process that share flusher threads and a limit on connections.

use std::{path::Path, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, ConnectionLimit, FlusherOptions, FlusherPool, HealthState, MutateShapesExt,
    NoopCleaner, ReadShapes, ReadShapesExt, ShapeMeta, SqliteOptions, StoreControl, Timestamp, Wait,
};
use shape_meta_core::conformance::{self, CompositionFixture};
use tempfile::TempDir;

use shape_meta_harness::{
    compositions::{TIMEOUT, directory, sqlite},
    rows::raw_connection,
};

/// The stores of a process that serves many tenants.
struct Tenants {
    all: TempDir,
    flushers: FlusherPool,
    limit: ConnectionLimit,
    buffer: BufferOptions,
    sqlite: SqliteOptions,
    cached: bool,
}

impl Tenants {
    fn new(cached: bool) -> Self {
        Self {
            all: directory(),
            flushers: FlusherPool::new(FlusherOptions::default().threads(2).max_threads(4)),
            limit: ConnectionLimit::new(8),
            buffer: BufferOptions::default(),
            sqlite: sqlite(),
            cached,
        }
    }

    /// Stores that flush constantly, and close idle connections at once.
    fn with_constant_flushes(cached: bool) -> Self {
        let mut tenants = Self::new(cached);
        tenants.buffer = tenants.buffer.flush_interval(Duration::from_micros(50)).flush_shapes(3);
        tenants.sqlite = tenants.sqlite.idle_timeout(Duration::ZERO);
        tenants
    }

    fn open_in(&self, directory: &Path) -> ShapeMeta {
        let builder =
            ShapeMeta::builder(NoopCleaner).sqlite(self.sqlite.clone().connection_limit(&self.limit));
        let builder = if self.cached { builder.cached(CacheOptions::default()) } else { builder };
        builder.buffered(self.buffer.clone().flushers(&self.flushers)).open(directory).expect("it opens")
    }

    fn many(&self, stores: usize) -> Vec<ShapeMeta> {
        (0..stores).map(|number| self.open_in(&self.all.path().join(number.to_string()))).collect()
    }
}

impl CompositionFixture for Tenants {
    type Store = ShapeMeta;

    fn open(&self) -> ShapeMeta {
        self.open_in(&tempfile::tempdir_in(&self.all).expect("a temporary directory can be created").keep())
    }

    fn flush(&self, store: &ShapeMeta) {
        store.flush(TIMEOUT).expect("nothing fails");
    }

    fn pause(&self, store: &ShapeMeta) -> bool {
        store.pause();
        true
    }

    fn resume(&self, store: &ShapeMeta) {
        store.resume();
    }

    fn inject_fault(&self, store: &ShapeMeta, _: u8) {
        store.database().expect("it has a database").close_idle();
    }

    fn reopen(&self, store: ShapeMeta, _: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        let database = store.database().expect("it has a database");
        let own = database.directory().expect("it is on disk").to_owned();
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        Ok(self.open_in(&own))
    }
}

mod one_of_many {
    use super::*;

    shape_meta_core::conformance_tests!(composition: Tenants::with_constant_flushes(true));
}

mod one_of_many_without_a_cache {
    use super::*;

    shape_meta_core::conformance_tests!(composition: Tenants::with_constant_flushes(false));
}

/// Another process holds the files of two stores, as many as there are threads at first.
#[test]
fn stores_that_cannot_write_do_not_delay_others() {
    let mut tenants = Tenants::new(true);
    tenants.sqlite = tenants.sqlite.busy_timeout(TIMEOUT);
    let stores = tenants.many(5);
    let holders: Vec<_> = (0..2)
        .map(|number| {
            let holder = raw_connection(&tenants.all.path().join(number.to_string()));
            holder.execute_batch("BEGIN IMMEDIATE").expect("there is no other writer");
            holder
        })
        .collect();
    let held: Vec<_> = stores[..2]
        .iter()
        .map(|store| {
            store.add(conformance::shape(1), Wait::No).expect("there is capacity");
            store.request_flush()
        })
        .collect();
    for round in 1..=5 {
        for store in &stores[2..] {
            store.add(conformance::shape(round), Wait::No).expect("there is capacity");
            store.flush(TIMEOUT).expect("the held stores do not delay it");
        }
    }
    assert!(held.iter().all(|receipt| !receipt.is_durable()));
    assert!(stores[0].has_handle(&conformance::shape(1).handle).expect("reads go on"));
    drop(holders);
    for receipt in held {
        receipt.wait_durable(TIMEOUT).expect("the lock was released");
    }
    assert!(stores.iter().all(|store| matches!(store.health().state, HealthState::Ready)));
}

/// The costs that the documentation promises, counted in a process of their own.
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
        store.add(conformance::shape(1), Wait::No).expect("there is capacity");
    }
    for store in &stores {
        store.flush(TIMEOUT).expect("it flushes");
        assert_eq!(store.counts().expect("it reads").total, 1);
        store.database().expect("it has a database").close_idle();
    }
    // At most four flusher threads, one timer thread, and two threads that close idle connections.
    assert!(count("task") <= threads + 7, "{} threads before, {} now", threads, count("task"));
    assert_eq!(count("fd"), descriptors + STORES, "one lock file for each store");
    assert_eq!(tenants.limit.open(), 0);
    drop(stores);
    assert_eq!(count("fd"), descriptors);
}
