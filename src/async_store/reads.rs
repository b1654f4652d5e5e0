use std::{future::Future, sync::Arc};

use shape_meta_core::{
    Check, Counts, Definition, Handle, HandleSet, Key, Keyed, LeastRecentlyUsed, LookUp, Metadata,
    ReadShapes, ReadShapesExt, Record, Relation, Result, ScanItem, Seq, Timestamp, store_parts::check_key,
};

use super::{
    ScanStream,
    composition::{Futures, MemoryLookups},
};

/// The reads that may touch the disk, as futures of any runtime: of [`ShapeMeta`](crate::ShapeMeta) and of
/// [`Standby`](crate::Standby).
///
/// They run on threads of the store (see [`BlockingPool`](crate::BlockingPool)) and never block the executor.
/// A look-up that the composition answers from memory is answered at once, without a thread.
///
/// **Dropping** such a future is safe: a read changes nothing. A read that a thread has begun ends there, and
/// its result is dropped.
///
/// # Errors
///
/// Those of the read; `Io` if no thread can be started, and `Panicked` if the read panicked.
pub trait ReadShapesAsync: HasFutures {
    /// [`metadata`](ReadShapes::metadata) as a future. At once with a cache.
    fn metadata_async(&self, handle: &str) -> impl Future<Output = Result<Option<Metadata>>> + Send {
        look_up(self, MemoryLookups::ByHandle, handle, str::to_owned, |store, handle| store.metadata(handle))
    }

    /// [`handle_for`](ReadShapes::handle_for) as a future. At once with a cache whose look-ups are in memory.
    fn handle_for_async(&self, key: &Key) -> impl Future<Output = Result<Option<Handle>>> + Send {
        look_up(self, MemoryLookups::All, key, Clone::clone, |store, key| store.handle_for(key))
    }

    /// [`handles_for_relations`](ReadShapes::handles_for_relations) as a future. At once with a cache whose
    /// look-ups are in memory: some 15 ns for each handle.
    fn handles_for_relations_async(
        &self,
        relations: &[Relation],
    ) -> impl Future<Output = Result<Vec<Handle>>> + Send {
        look_up(self, MemoryLookups::All, relations, <[Relation]>::to_vec, |store, relations| {
            store.handles_for_relations(relations)
        })
    }

    /// [`touch`](ReadShapes::touch) as a future. At once with a cache.
    fn touch_async(&self, handle: &str, at: Timestamp) -> impl Future<Output = Result<bool>> + Send {
        look_up(self, MemoryLookups::ByHandle, handle, str::to_owned, move |store, handle| {
            store.touch(handle, at)
        })
    }

    /// [`check`](ReadShapesExt::check) as a future. At once with a cache whose look-ups are in memory.
    fn check_async<D: Definition>(
        &self,
        handle: &str,
        definition: &Keyed<D>,
    ) -> impl Future<Output = Result<Check>> + Send {
        check_at(self, handle, *definition.as_key(), None)
    }

    /// [`check_and_touch`](ReadShapesExt::check_and_touch) as a future. At once with a cache whose look-ups
    /// are in memory.
    fn check_and_touch_async<D: Definition>(
        &self,
        handle: &str,
        definition: &Keyed<D>,
        at: Timestamp,
    ) -> impl Future<Output = Result<Check>> + Send {
        check_at(self, handle, *definition.as_key(), Some(at))
    }

    /// [`record`](ReadShapes::record) as a future: the shape with its definition.
    fn record_async(&self, handle: &str) -> impl Future<Output = Result<Option<Arc<Record>>>> + Send {
        let handle = handle.to_owned();
        flat(self, move |store| store.record(&handle))
    }

    /// [`counts`](ReadShapes::counts) as a future.
    fn counts_async(&self) -> impl Future<Output = Result<Counts>> + Send {
        flat(self, |store| store.counts())
    }

    /// [`last_seq`](ReadShapes::last_seq) as a future.
    fn last_seq_async(&self) -> impl Future<Output = Result<Seq>> + Send {
        flat(self, |store| store.last_seq())
    }

    /// [`least_recently_used`](ReadShapes::least_recently_used) as a future: at a million shapes the
    /// selection takes 11 ms, which an executor should not spend either.
    fn least_recently_used_async(
        &self,
        n: usize,
        excluded: HandleSet,
    ) -> impl Future<Output = Result<LeastRecentlyUsed>> + Send {
        flat(self, move |store| store.least_recently_used(n, &excluded))
    }

    /// [`scan`](ReadShapes::scan) as a stream, with 64 shapes in memory at most.
    fn scan_async(&self) -> ScanStream {
        ScanStream::new(self.clone(), &self.futures().workers)
    }

    /// [`list`](ReadShapesExt::list) as a future. Holds all shapes in memory;
    /// [`scan_async`](Self::scan_async) does not.
    fn list_async(&self) -> impl Future<Output = Result<Vec<ScanItem>>> + Send {
        flat(self, |store| store.list())
    }

    /// [`orphans`](ReadShapesExt::orphans) as a future. `stored` and `orphan` run on a thread of the store,
    /// so they may read a directory. If the future is dropped, `orphan` may still be called for the rest.
    fn orphans_async<H: AsRef<str> + 'static>(
        &self,
        stored: impl IntoIterator<Item = H> + Send + 'static,
        orphan: impl FnMut(H) + Send + 'static,
    ) -> impl Future<Output = Result<Vec<Handle>>> + Send {
        flat(self, move |store| store.orphans(stored, orphan))
    }

    /// Runs any call that may block on a thread of the store, for methods that have no form of their own:
    /// maintenance, checks, several reads in a row.
    ///
    /// If the future is dropped before a thread has taken the call, the call is not made; later, it runs to
    /// its end and its result is dropped. A call that waits for other futures of this store may wait for
    /// itself.
    ///
    /// # Errors
    ///
    /// `Io` if no thread can be started: the call was not made. `Panicked` if it panicked.
    fn run_blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        let store = self.clone();
        self.futures().workers.call(move || call(&store))
    }
}

impl<S: HasFutures> ReadShapesAsync for S {}

/// A composition with threads for its futures. Sealed: [`ShapeMeta`](crate::ShapeMeta) and
/// [`Standby`](crate::Standby).
#[allow(private_interfaces, reason = "a method that only this crate calls and implements")]
pub trait HasFutures: ReadShapes + Clone + 'static {
    #[doc(hidden)]
    fn futures(&self) -> &Futures;
}

fn check_at<S: HasFutures>(
    store: &S,
    handle: &str,
    key: Key,
    at: Option<Timestamp>,
) -> impl Future<Output = Result<Check>> + Send {
    look_up(store, MemoryLookups::All, handle, str::to_owned, move |store, handle| {
        check_key(store, handle, &key, at)
    })
}

/// Runs a read on a thread of the store.
async fn flat<S: HasFutures, T: Send + 'static>(
    store: &S,
    read: impl FnOnce(&S) -> Result<T> + Send + 'static,
) -> Result<T> {
    store.run_blocking(read).await?
}

/// Returns a look-up of a shape on a thread of the store; `None` if memory answers.
pub(crate) fn look_up_elsewhere<S: HasFutures>(store: &S, handle: &Handle) -> Option<LookUp> {
    if store.futures().memory >= MemoryLookups::ByHandle {
        return None;
    }
    let (store, handle) = (store.clone(), handle.clone());
    Some(Box::pin(async move { flat(&store, move |store| store.metadata(&handle)).await }))
}

/// Looks up here if memory answers, and on a thread of the store otherwise.
pub(super) async fn look_up<
    S: HasFutures,
    Q: ?Sized + Sync,
    O: std::borrow::Borrow<Q> + Send + 'static,
    T: Send + 'static,
>(
    store: &S,
    answered_by: MemoryLookups,
    query: &Q,
    own: impl FnOnce(&Q) -> O + Send,
    read: impl FnOnce(&S, &Q) -> Result<T> + Send + 'static,
) -> Result<T> {
    if store.futures().memory >= answered_by {
        return read(store, query);
    }
    let query = own(query);
    flat(store, move |store| read(store, query.borrow())).await
}
