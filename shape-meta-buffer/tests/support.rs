//! Buffers over a store in memory with fault injection.

use std::{
    marker::PhantomData,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use shape_meta_buffer::{BufferOptions, Buffered, FlusherOptions, FlusherPool};
use shape_meta_core::{
    ErrorKind, Handle, MemoryStore, MutateShapesExt, NewShape, NoopObserver, ReadShapes, ShapeStore,
    StoreControl, Timestamp, Wait,
    conformance::{CompositionFixture, DeferredPublishStore, FailingStore, Faults, RejectedSeq, Side},
    feed::{Feed, FeedError, FeedOptions},
};

pub(crate) type Failing = FailingStore<Arc<MemoryStore>>;

/// Longer than any step takes, unless it hangs.
pub(crate) const LONG_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn buffered<S: ShapeStore + 'static>(inner: S, options: BufferOptions) -> Buffered<S> {
    Buffered::new(inner, options, Arc::new(NoopObserver)).expect("nothing fails yet")
}

/// Opens a store without a background flusher.
pub(crate) fn manual() -> (Buffered<Failing>, Faults) {
    manual_with(BufferOptions::default())
}

pub(crate) fn manual_with(options: BufferOptions) -> (Buffered<Failing>, Faults) {
    let faults = Faults::default();
    let inner = FailingStore::with(Arc::default(), faults.clone());
    (buffered(inner, options.background_flush(false)), faults)
}

pub(crate) fn below(store: &Buffered<Failing>) -> &MemoryStore {
    store.inner().inner()
}

pub(crate) fn shape(handle: &str, key: u64) -> NewShape {
    let mut shape = shape_meta_core::conformance::shape(key);
    shape.handle = Handle::new(handle).expect("valid");
    shape
}

pub(crate) fn add(store: &Buffered<Failing>, handle: &str, key: u64) -> shape_meta_core::Receipt {
    store.add(shape(handle, key), Wait::No).expect("below the bound")
}

/// Runs `meanwhile` while a flush is blocked before or after its commit, and then lets the flush end.
pub(crate) fn during_a_flush<T>(
    store: &Buffered<Failing>,
    faults: &Faults,
    side: Side,
    meanwhile: impl FnOnce() -> T,
) -> T {
    let gate = faults.block_apply(side);
    thread::scope(|scope| {
        scope.spawn(|| store.flush_once().expect("flush"));
        gate.wait_until_blocked();
        let outcome = meanwhile();
        gate.release();
        outcome
    })
}

/// A store in memory that outlives the buffer over it.
pub(crate) trait Memory: ShapeStore + Default + 'static {
    fn reopen(&self, at: Timestamp);
}

impl Memory for MemoryStore {
    fn reopen(&self, at: Timestamp) {
        self.reopen(at);
    }
}

impl Memory for DeferredPublishStore {
    fn reopen(&self, at: Timestamp) {
        self.reopen(at);
    }
}

/// A buffer over a store with fault injection, flushed by steps of the test or by its thread.
pub(crate) struct OverFailing<M = MemoryStore> {
    pub(crate) options: BufferOptions,
    is_stepped: bool,
    memory: PhantomData<M>,
}

impl OverFailing {
    pub(crate) fn stepped() -> Self {
        Self::new(BufferOptions::default().background_flush(false), true)
    }

    /// The thread flushes all the time, a few changes at once.
    pub(crate) fn threaded() -> Self {
        Self::new(frequent_flushes(), false)
    }

    /// The same on threads that all stores share, where each flush counts as slow.
    pub(crate) fn sharing() -> Self {
        let threads = FlusherOptions::default().threads(1).max_threads(3).slow_threshold(Duration::ZERO);
        Self::new(frequent_flushes().flushers(&FlusherPool::new(threads)), false)
    }
}

impl OverFailing<DeferredPublishStore> {
    /// Over a store that shows committed changes only once they are published.
    pub(crate) fn late_and_stepped() -> Self {
        Self::new(BufferOptions::default().background_flush(false), true)
    }

    /// The same, where the next commit does not wait for the publish.
    pub(crate) fn late_and_threaded() -> Self {
        Self::new(frequent_flushes(), false)
    }
}

fn frequent_flushes() -> BufferOptions {
    BufferOptions::default()
        .flush_interval(Duration::from_micros(50))
        .flush_shapes(3)
        .concurrent_publish_min_changes(1)
        .backoff(Duration::from_micros(50), Duration::from_millis(1))
}

impl<M> OverFailing<M> {
    fn new(options: BufferOptions, is_stepped: bool) -> Self {
        Self { options, is_stepped, memory: PhantomData }
    }
}

impl<M: Memory> CompositionFixture for OverFailing<M> {
    type Store = Buffered<FailingStore<Arc<M>>>;

    fn open(&self) -> Self::Store {
        buffered(FailingStore::new(Arc::default()), self.options.clone())
    }

    fn flush(&self, store: &Self::Store) {
        // Each attempt takes one fault from the queue.
        while store.flush(LONG_TIMEOUT).is_err() {}
    }

    fn pause(&self, store: &Self::Store) -> bool {
        store.pause();
        true
    }

    fn resume(&self, store: &Self::Store) {
        store.resume();
    }

    fn subscribe(&self, store: &Self::Store, options: &FeedOptions) -> Option<Result<Feed, FeedError>> {
        Some(store.subscribe(options))
    }

    fn inject_fault(&self, store: &Self::Store, kind: u8) {
        let faults = store.inner().faults();
        match kind % 7 {
            0 => faults.fail_applies(2, ErrorKind::Busy, Side::Before),
            1 => faults.fail_applies(1, ErrorKind::Io, Side::After),
            2 => faults.panic_applies(1, Side::Before),
            3 => faults.panic_applies(1, Side::After),
            4 => faults.panic_publishes(1, Side::Before),
            5 => faults.panic_publishes(1, Side::After),
            // A flush that may fail, before more is accepted.
            _ => drop(store.flush_once()),
        }
    }

    fn partial_flush(&self, store: &Self::Store, kind: u8) {
        let faults = store.inner().faults();
        faults.allow_applies(usize::from(kind % 4));
        faults.fail_applies(1, ErrorKind::StorageFull, if kind < 128 { Side::Before } else { Side::After });
        drop(store.flush(Duration::ZERO));
    }

    fn reject_handle(&self, store: &Self::Store, handle: &Handle, rejected_seq: RejectedSeq) -> bool {
        if self.is_stepped {
            store.inner().faults().reject_handle(handle, rejected_seq);
        }
        self.is_stepped
    }

    fn clear_faults(&self, store: &Self::Store) {
        store.inner().faults().clear();
    }

    fn crash(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let memory = Arc::clone(store.inner().inner());
        // No later commit succeeds.
        store.inner().faults().clear();
        store.inner().faults().fail_applies(1, ErrorKind::Fenced, Side::Before);
        drop(store);
        M::reopen(&memory, at);
        Ok(buffered(FailingStore::new(memory), self.options.clone()))
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        self.flush(&store);
        let memory = Arc::clone(store.inner().inner());
        drop(store);
        M::reopen(&memory, at);
        Ok(buffered(FailingStore::new(memory), self.options.clone()))
    }
}

pub(crate) fn handles(store: &impl ReadShapes) -> Vec<String> {
    let scan = store.scan().expect("memory does not fail");
    scan.map(|listed| listed.expect("memory does not fail").record.handle().to_string()).collect()
}

pub(crate) fn until(condition: impl Fn() -> bool) {
    let started_at = Instant::now();
    while !condition() {
        assert!(started_at.elapsed() < LONG_TIMEOUT);
        thread::yield_now();
    }
}
