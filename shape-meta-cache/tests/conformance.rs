//! The conformance suite over the cache.

use std::sync::Arc;

use shape_meta_cache::{CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    MemoryStore, Timestamp,
    conformance::{DeferredPublishStore, StoreFixture},
};

use crate::support::{cached, cached_below_buffer};

/// A write-through cache over memory, which keeps its shapes across a reopen.
struct WriteThrough(CacheOptions);

impl StoreFixture for WriteThrough {
    type Store = Cached<Arc<MemoryStore>>;

    fn open(&self) -> Self::Store {
        cached(Arc::default(), self.0.clone())
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let below = Arc::clone(store.inner());
        drop(store);
        below.reopen(at);
        Ok(cached(below, self.0.clone()))
    }
}

fn in_memory() -> CacheOptions {
    CacheOptions::default()
}

fn on_disk() -> CacheOptions {
    CacheOptions::default().lookup_index(LookupIndex::Disk)
}

mod full_mirror {
    shape_meta_core::conformance_tests!(store: super::WriteThrough(super::in_memory()));
}

mod lookups_on_disk {
    shape_meta_core::conformance_tests!(store: super::WriteThrough(super::on_disk()));
}

/// The definition cache holds only some of the definitions, so that others are evicted.
#[cfg(feature = "definitions")]
mod definition_cache {
    shape_meta_core::conformance_tests!(
        store: super::WriteThrough(super::in_memory().definition_cache_bytes(4_096))
    );
}

mod cache_over_a_cache {
    use super::*;

    shape_meta_core::conformance_tests!(
        store below a buffer: || cached(cached(MemoryStore::new(), in_memory()), in_memory())
    );
}

mod below_a_buffer {
    use super::*;

    shape_meta_core::conformance_tests!(
        store below a buffer: || cached_below_buffer(MemoryStore::new(), in_memory())
    );
}

mod below_a_buffer_with_lookups_on_disk {
    use super::*;

    shape_meta_core::conformance_tests!(
        store below a buffer: || cached_below_buffer(DeferredPublishStore::default(), on_disk())
    );
}
