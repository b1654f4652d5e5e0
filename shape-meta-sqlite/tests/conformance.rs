//! The conformance suite over the store in every mode.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    Direct, Limits, NoopObserver, StoreControl, Timestamp,
    conformance::{self, Fixture},
};
use shape_meta_sqlite::{Mode, SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::support;

fn direct(store: SqliteStore) -> Direct<SqliteStore> {
    Direct::new(store, Limits::default(), Arc::new(NoopObserver))
        .expect("the last sequence number is readable")
}

/// Stores on disk, in a directory that lives as long as the fixture.
struct OnDisk {
    options: SqliteOptions,
    directory: TempDir,
}

impl OnDisk {
    fn new(mode: Mode) -> Self {
        Self { options: support::options().mode(mode), directory: support::directory() }
    }

    fn fresh(&self) -> SqliteStore {
        let directory = tempfile::tempdir_in(&self.directory).expect("a directory is created").keep();
        support::open(&directory, self.options.clone())
    }
}

impl Fixture for OnDisk {
    type Store = Direct<SqliteStore>;

    fn open(&self) -> Self::Store {
        direct(self.fresh())
    }

    fn reopen(&self, store: Self::Store, _: Timestamp) -> Result<Self::Store, Self::Store> {
        let directory = store.inner().directory().expect("the store has a directory").to_owned();
        assert!(store.close(Duration::from_secs(60)).is_complete());
        drop(store);
        let store = support::open(&directory, self.options.clone());
        store.recover().expect("the recovery succeeds");
        Ok(direct(store))
    }

    fn many(&self) -> usize {
        500
    }
}

fn in_memory() -> SqliteStore {
    SqliteStore::open_in_memory(SqliteOptions::default(), Arc::new(NoopObserver))
        .expect("an in-memory database opens")
}

struct InMemory;

impl Fixture for InMemory {
    type Store = Direct<SqliteStore>;

    fn open(&self) -> Self::Store {
        direct(in_memory())
    }
}

mod direct_over_wal {
    shape_meta_core::conformance_tests!(super::OnDisk::new(shape_meta_sqlite::Mode::Wal));
}

mod direct_over_exclusive {
    shape_meta_core::conformance_tests!(super::OnDisk::new(shape_meta_sqlite::Mode::Exclusive));
}

mod direct_over_memory {
    shape_meta_core::conformance_tests!(super::InMemory);
}

#[test]
fn stores_conform() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let fixture = OnDisk::new(mode);
        conformance::store::run_all(|| fixture.fresh());
    }
    conformance::store::run_all(in_memory);
}
