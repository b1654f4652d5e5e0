//! A storage in memory that outlives its stores, and stores over it that a test steps.

use std::{
    collections::BTreeSet,
    iter,
    ops::Bound,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use shape_meta::{
    BoxError, Builder, Handle, ReadShapesExt, ShapeCleaner, ShapeMeta, StoreControl, StoredHandles,
    WeakShapeMeta, prelude::*,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{Composition, FlushSchedule, TIMEOUT, WAIT, sqlite};

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
    /// Handles whose data cannot be deleted.
    stuck: BTreeSet<Handle>,
    on_clean: Option<Hook>,
    on_list: Option<Hook>,
}

/// Called by the storage with a handle, under none of its locks.
type Hook = Arc<dyn Fn(&Handle) + Send + Sync>;

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

    /// The data of these shapes cannot be deleted until the next call of this.
    pub(super) fn set_stuck(&self, numbers: impl IntoIterator<Item = u64>) {
        self.inner().stuck = numbers.into_iter().map(handle).collect();
    }

    /// Each call of the cleaner calls this first, with its first handle.
    pub(super) fn on_clean(&self, hook: impl Fn(&Handle) + Send + Sync + 'static) {
        self.inner().on_clean = Some(Arc::new(hook));
    }

    /// A listing calls this with each handle, before it returns it.
    pub(super) fn on_list(&self, hook: impl Fn(&Handle) + Send + Sync + 'static) {
        self.inner().on_list = Some(Arc::new(hook));
    }

    /// Another storage is mounted: this one has these handles, and the former ones are returned.
    pub(super) fn swap(&self, stored: impl IntoIterator<Item = Handle>) -> Vec<Handle> {
        let stored = stored.into_iter().collect();
        std::mem::replace(&mut self.inner().stored, stored).into_iter().collect()
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
        let hook = self.inner().on_clean.clone();
        if let (Some(hook), Some(first)) = (hook, handles.first()) {
            hook(first);
        }
        let mut inner = self.inner();
        inner.calls.push(handles.to_vec());
        inner.is_reached = true;
        self.0.1.notify_all();
        inner = self.0.1.wait_while(inner, |inner| inner.is_held).unwrap_or_else(PoisonError::into_inner);
        let stuck = handles.iter().position(|handle| inner.stuck.contains(handle));
        let failure = inner.failures.pop().or(stuck.map(|_| Failure::Error));
        let deleted = match failure {
            None => handles.len(),
            _ if stuck.is_some() => stuck.unwrap_or(0),
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
        let mut last: Option<Handle> = None;
        // Reads on while data is created, as a listing of a directory does.
        let next = move || {
            let after = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.inner().stored.range::<Handle, _>((after, Bound::Unbounded)).next().cloned()?;
            let hook = self.inner().on_list.clone();
            if let Some(hook) = hook {
                hook(&next);
            }
            last = Some(next.clone());
            Some(Ok(next))
        };
        Ok(self.inner().lists.then(|| Box::new(iter::from_fn(next)) as StoredHandles<'_>))
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

/// Cleans, however often the cleaner fails, until nothing more can be cleaned now.
pub(super) fn clean_despite_failures(store: &ShapeMeta) -> u32 {
    for failures in 0..200 {
        loop {
            match store.clean_once() {
                Ok(true) => {}
                Ok(false) => return failures,
                Err(_) => break,
            }
        }
    }
    panic!("the cleaner fails for ever: {:?}", store.cleanup_status());
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
