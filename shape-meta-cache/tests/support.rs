use std::sync::Arc;

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Batch, Change, NoopObserver, Record, Relation, Seq, ShapeStore,
    conformance::{shape, store},
};

/// Returns the record of the sample shape with this number, created at this sequence number.
pub(crate) fn record(number: u64, created: u64) -> Arc<Record> {
    store::record(&shape(number), created)
}

/// Returns the relation that the sample shape with this number reads.
pub(crate) fn relation(number: u64) -> Relation {
    shape(number).relations[0]
}

pub(crate) fn batch(through: u64, changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { changes: changes.into_iter().collect(), through: Seq::new(through) }
}

pub(crate) fn cached<S: ShapeStore>(inner: S, options: CacheOptions) -> Cached<S> {
    Cached::open(inner, options, Arc::new(NoopObserver)).expect("the store can be read")
}

pub(crate) fn cached_below_buffer<S: ShapeStore>(inner: S, options: CacheOptions) -> Cached<S> {
    Cached::open_below_buffer(inner, options, Arc::new(NoopObserver)).expect("the store can be read")
}
