use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    Handle, MutateShapesExt, NewShape, NoopObserver, ReadShapes, Receipt, Seq, SnapshotState, Wait,
    conformance::{DeferredPublishStore, FailingStore, Faults},
};
use shape_meta_interleavings_buffer::{BufferOptions, Buffered};
use shuttle::rand::{Rng, thread_rng};

pub(crate) type Store = Buffered<FailingStore<Arc<DeferredPublishStore>>>;

/// Longer than any test runs.
pub(crate) const NEVER: Duration = Duration::from_secs(86_400);

/// A deadline that may pass at any moment.
pub(crate) const SHORT: Duration = Duration::from_millis(1);

/// Opens a store over one that shows committed changes at once, or only once they are published.
pub(crate) fn open(options: BufferOptions) -> (Store, Faults, Arc<DeferredPublishStore>) {
    let memory = if choose(2) == 0 { DeferredPublishStore::new() } else { DeferredPublishStore::immediate() };
    let (memory, faults) = (Arc::new(memory), Faults::default());
    let inner = FailingStore::with(Arc::clone(&memory), faults.clone());
    let store = Buffered::new(inner, options, Arc::new(NoopObserver)).expect("nothing fails yet");
    (store, faults, memory)
}

/// Options with the smallest filters, since every word of them is a step of the scheduler.
pub(crate) fn small() -> BufferOptions {
    BufferOptions::default().max_pending_shapes(64).concurrent_publish_min_changes(1)
}

/// Opens a store without a background flusher.
pub(crate) fn manual() -> (Store, Faults, Arc<DeferredPublishStore>) {
    open(small().background_flush(false))
}

/// Options for a background flusher that flushes on request, or with this number of pending shapes.
pub(crate) fn threaded(changes: usize) -> BufferOptions {
    small()
        .backoff(Duration::ZERO, Duration::ZERO)
        .flush_interval(NEVER)
        .flush_shapes(changes)
        .drop_timeout(NEVER)
}

/// Returns a shape with this handle and this key. All shapes read the same relation.
pub(crate) fn shape(handle: &str, key: u64) -> NewShape {
    let mut shape = shape_meta_core::conformance::shape(key * 7 + 1);
    shape.handle = Handle::new(handle).expect("valid");
    shape
}

pub(crate) fn add(store: &Store, handle: &str, key: u64) -> Receipt {
    store.add(shape(handle, key), Wait::No).expect("below the bound")
}

pub(crate) fn holder(store: &impl ReadShapes, key: u64) -> Option<String> {
    let holder = store.handle_for(&shape("any", key).key).expect("memory does not fail");
    holder.map(|handle| handle.to_string())
}

/// Returns all live shapes, in the order of creation.
pub(crate) fn listed(store: &impl ReadShapes) -> Vec<(String, Seq, SnapshotState)> {
    let scan = store.scan().expect("memory does not fail");
    let all = scan.map(|listed| listed.expect("memory does not fail"));
    all.map(|listed| (listed.record.handle().to_string(), listed.metadata.created, listed.metadata.state))
        .collect()
}

pub(crate) fn handles(store: &impl ReadShapes) -> Vec<String> {
    listed(store).into_iter().map(|(handle, ..)| handle).collect()
}

/// Returns the handles of all shapes, through the relation that they read.
pub(crate) fn readers(store: &impl ReadShapes) -> Vec<String> {
    let relations: Vec<_> = shape("any", 0).relations.iter().copied().collect();
    let readers = store.handles_for_relations(&relations).expect("memory does not fail");
    let mut readers: Vec<_> = readers.iter().map(ToString::to_string).collect();
    readers.sort();
    readers
}

/// Reads repeatedly, and checks that the results follow these states in sequence.
pub(crate) fn see_in_order<T: PartialEq + std::fmt::Debug>(states: &[T], read: impl Fn() -> T) {
    let mut at = 0;
    for _ in 0..4 {
        let seen = read();
        let on = states[at..].iter().position(|state| *state == seen);
        at += on.unwrap_or_else(|| panic!("{seen:?} after {:?}, of {states:?}", &states[..=at]));
    }
}

/// Returns a number below this one, chosen by the seed of the scheduler.
pub(crate) fn choose(below: usize) -> usize {
    thread_rng().gen_range(0..below)
}
