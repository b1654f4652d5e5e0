//! The conformance suite over the write-through cache.

use std::sync::Arc;

use shape_meta_cache::{CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    Direct, Limits, MemoryStore, NoopObserver, Timestamp,
    conformance::{Fixture, LateStore, store},
};

use crate::support::{cached, cached_below_buffer};

struct WriteThrough(CacheOptions);

impl WriteThrough {
    fn over(&self, below: MemoryStore) -> Direct<Cached<Arc<MemoryStore>>> {
        Direct::new(cached(Arc::new(below), self.0.clone()), Limits::default(), Arc::new(NoopObserver))
            .unwrap()
    }
}

impl Fixture for WriteThrough {
    type Store = Direct<Cached<Arc<MemoryStore>>>;

    fn open(&self) -> Self::Store {
        self.over(MemoryStore::new())
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let below = Arc::clone(store.inner().inner());
        drop(store);
        below.reopen(at);
        Ok(self.over(Arc::into_inner(below).expect("the store was dropped")))
    }
}

fn in_memory() -> CacheOptions {
    CacheOptions::default()
}

fn on_disk() -> CacheOptions {
    CacheOptions::default().lookup_index(LookupIndex::Disk)
}

mod full_mirror {
    shape_meta_core::conformance_tests!(super::WriteThrough(super::in_memory()));
}

mod lookups_on_disk {
    shape_meta_core::conformance_tests!(super::WriteThrough(super::on_disk()));
}

#[cfg(feature = "definitions")]
mod definition_cache {
    // A capacity for some definitions, so that others are evicted.
    shape_meta_core::conformance_tests!(super::WriteThrough(
        super::in_memory().definition_cache_bytes(4_096)
    ));
}

#[test]
fn caches_conform_as_stores() {
    store::run_all(|| cached(MemoryStore::new(), in_memory()));
    store::run_all(|| cached(MemoryStore::new(), on_disk()));
    store::run_all(|| cached(cached(MemoryStore::new(), in_memory()), in_memory()));
    // As below a buffer, which shows batches that are committed and not published.
    store::run_all(|| cached_below_buffer(MemoryStore::new(), in_memory()));
    store::run_all(|| cached_below_buffer(LateStore::default(), on_disk()));
}
