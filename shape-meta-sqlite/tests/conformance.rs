//! The conformance suite over the store in every mode.

use std::sync::Arc;

use shape_meta_core::{NoopObserver, Timestamp, conformance::StoreFixture};
use shape_meta_sqlite::{Mode, SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::support;

/// A database on disk, in a directory that lives as long as the fixture.
struct OnDisk {
    options: SqliteOptions,
    directory: TempDir,
}

impl OnDisk {
    fn new(mode: Mode) -> Self {
        Self { options: support::options().mode(mode), directory: support::directory() }
    }
}

impl StoreFixture for OnDisk {
    type Store = SqliteStore;

    fn open(&self) -> SqliteStore {
        let directory =
            tempfile::tempdir_in(&self.directory).expect("a temporary directory is created").keep();
        support::open(&directory, self.options.clone())
    }

    fn reopen(&self, store: SqliteStore, _: Timestamp) -> Result<SqliteStore, SqliteStore> {
        let directory = store.directory().expect("the database is on disk").to_owned();
        drop(store);
        let store = support::open(&directory, self.options.clone());
        store.recover().expect("recovery succeeds");
        Ok(store)
    }

    fn large_count(&self) -> usize {
        500
    }
}

fn in_memory() -> SqliteStore {
    SqliteStore::open_in_memory(SqliteOptions::default(), Arc::new(NoopObserver))
        .expect("a database in memory opens")
}

mod wal {
    shape_meta_core::conformance_tests!(store: super::OnDisk::new(super::Mode::Wal));
}

mod exclusive {
    shape_meta_core::conformance_tests!(store: super::OnDisk::new(super::Mode::Exclusive));
}

mod memory {
    shape_meta_core::conformance_tests!(store: super::in_memory);
}
