//! A storage in memory that outlives its stores, and stores over it that a test steps.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use shape_meta::{
    BoxError, Builder, Handle, NoopObserver, ReadShapesExt, ShapeCleaner, ShapeMeta, SqliteStore,
    StoreControl, StoredHandles, WeakShapeMeta, prelude::*,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::{
    compositions::{Composition, FlushSchedule, TIMEOUT, WAIT, sqlite},
    rows::raw_connection,
};
use shape_meta_sqlite::DiskIndexes;

/// Stored data of shapes: a set of handles, as a directory has names. Clones are the same storage.
#[derive(Clone, Default)]
pub(super) struct Storage(Arc<(Mutex<Inner>, Condvar)>);

#[derive(Default)]
struct Inner {
    stored: BTreeSet<Handle>,
    /// The handles of each call, in the order of the calls.
    calls: Vec<Vec<Handle>>,
    failures: Vec<Failure>,
    lists: bool,
    /// Whether calls wait until the storage is released.
    is_held: bool,
    is_reached: bool,
    store: Option<WeakShapeMeta>,
}

/// How a call of the cleaner fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Error,
    Panic,
    /// Half of the data is deleted before the error.
    Half,
}

impl Storage {
    /// A storage that says what it stores.
    pub(super) fn listing() -> Self {
        let storage = Self::default();
        storage.inner().lists = true;
        storage
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn create(&self, handle: Handle) {
        self.inner().stored.insert(handle);
    }

    pub(super) fn stored(&self) -> Vec<Handle> {
        self.inner().stored.iter().cloned().collect()
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.inner().stored.contains(&handle(number))
    }

    pub(super) fn take_calls(&self) -> Vec<Vec<Handle>> {
        std::mem::take(&mut self.inner().calls)
    }

    /// The next calls fail in these ways.
    pub(super) fn fail(&self, failures: &[Failure]) {
        self.inner().failures = failures.iter().rev().copied().collect();
    }

    /// Every call checks that no shape of this store has one of its handles.
    pub(super) fn watch(&self, store: &ShapeMeta) {
        self.inner().store = Some(store.downgrade());
    }

    /// Makes calls wait until [`release`](Self::release).
    pub(super) fn hold(&self) {
        let mut inner = self.inner();
        (inner.is_held, inner.is_reached) = (true, false);
    }

    pub(super) fn wait_until_called(&self) {
        let waited = self.0.1.wait_timeout_while(self.inner(), TIMEOUT, |inner| !inner.is_reached);
        assert!(waited.unwrap_or_else(PoisonError::into_inner).0.is_reached, "the cleaner was not called");
    }

    /// Waits until the storage holds as many handles.
    pub(super) fn wait_until_stored(&self, count: usize) {
        let waited = self.0.1.wait_timeout_while(self.inner(), TIMEOUT, |inner| inner.stored.len() != count);
        let stored = waited.unwrap_or_else(PoisonError::into_inner).0.stored.clone();
        assert_eq!(stored.len(), count, "{stored:?}");
    }

    pub(super) fn release(&self) {
        self.inner().is_held = false;
        self.0.1.notify_all();
    }
}

impl ShapeCleaner for Storage {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
        let watched = self.inner().store.as_ref().and_then(WeakShapeMeta::upgrade);
        if let Some(store) = watched {
            for handle in handles {
                assert!(!store.has_handle(handle)?, "{handle} is live");
            }
        }
        let mut inner = self.inner();
        inner.calls.push(handles.to_vec());
        inner.is_reached = true;
        self.0.1.notify_all();
        inner = self.0.1.wait_while(inner, |inner| inner.is_held).unwrap_or_else(PoisonError::into_inner);
        let failure = inner.failures.pop();
        let deleted = match failure {
            None => handles.len(),
            Some(Failure::Half) => handles.len() / 2,
            Some(_) => 0,
        };
        for handle in &handles[..deleted] {
            inner.stored.remove(handle);
        }
        drop(inner);
        self.0.1.notify_all();
        match failure {
            None => Ok(()),
            Some(Failure::Error | Failure::Half) => Err("the object store does not answer".into()),
            Some(Failure::Panic) => panic!("the cleaner panics on purpose"),
        }
    }

    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        let inner = self.inner();
        let stored: Vec<_> = inner.stored.iter().cloned().map(Ok).collect();
        Ok(inner.lists.then(|| Box::new(stored.into_iter()) as StoredHandles<'_>))
    }
}

/// A builder of this composition over the storage. Nothing happens but what the test steps.
pub(super) fn builder(composition: Composition, storage: &Storage) -> Builder {
    let composition = composition.with_flush_schedule(FlushSchedule::Manual);
    composition.apply_to(ShapeMeta::builder(storage.clone()).sqlite(sqlite())).background_cleanup(false)
}

pub(super) fn open(composition: Composition, directory: &Path, storage: &Storage) -> ShapeMeta {
    let store = builder(composition, storage).open(directory).expect("it opens");
    storage.watch(&store);
    store
}

/// Adds these shapes, creates their data, and completes their snapshots.
pub(super) fn add(store: &ShapeMeta, storage: &Storage, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        store.add(shape(number), WAIT).expect("it is new");
        storage.create(handle(number));
        store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
    }
}

pub(super) fn remove(store: &ShapeMeta, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        store.remove(&handle(number), WAIT).expect("it is live");
    }
}

pub(super) fn flush(store: &ShapeMeta) {
    store.flush(TIMEOUT).expect("the disk works");
}

/// Cleans until nothing is left that can be cleaned now.
pub(super) fn clean(store: &ShapeMeta) {
    while store.clean_once().expect("the cleaner works") {}
}

/// Flushes and cleans.
pub(super) fn settle(store: &ShapeMeta) {
    flush(store);
    clean(store);
}

pub(super) fn handles(numbers: impl IntoIterator<Item = u64>) -> Vec<Handle> {
    let mut all: Vec<_> = numbers.into_iter().map(handle).collect();
    all.sort_unstable();
    all
}

/// Returns all handles that the cleaner was called with, in order and each once.
pub(super) fn cleaned(storage: &Storage) -> Vec<Handle> {
    let all: BTreeSet<_> = storage.take_calls().into_iter().flatten().collect();
    all.into_iter().collect()
}

/// Copies the files of a store as a kill of its process would leave them. The copy stands for the files
/// themselves: it is trusted as they are.
pub(super) fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = shape_meta_harness::compositions::directory();
    for file in ["shape-meta.sqlite3", "shape-meta.sqlite3-wal"] {
        if directory.join(file).exists() {
            fs::copy(directory.join(file), copy.path().join(file)).expect("it is copied");
        }
    }
    let is_trusted = "SELECT count(*) FROM trusted_storage, meta \
                      WHERE substr(trusted_storage.database_id, 1, 16) = meta.database_id";
    let is_trusted = raw_connection(copy.path()).query_row(is_trusted, [], |row| row.get(0));
    if is_trusted == Ok(1) {
        let options = sqlite().disk_indexes(DiskIndexes::Maintained);
        let store = SqliteStore::open(copy.path(), options, Arc::new(NoopObserver)).expect("it opens");
        store.trust_storage().expect("it is written");
    }
    copy
}
