//! The conformance suite over every store and composition of this crate.

use std::sync::Arc;

use shape_meta_core::{
    Direct, Limits, MemoryStore, MutateShapes, NoopObserver, ShapeStore, Timestamp,
    conformance::{CompositionFixture, DeferredPublishStore, FailingStore, StoreFixture},
};

pub(crate) fn direct<S: ShapeStore + 'static>(inner: S) -> Direct<S> {
    Direct::new(inner, Limits::default(), Arc::new(NoopObserver)).expect("no fault is injected yet")
}

/// Memory, which keeps its shapes across a reopen.
struct Memory;

impl StoreFixture for Memory {
    type Store = MemoryStore;

    fn open(&self) -> MemoryStore {
        MemoryStore::new()
    }

    fn reopen(&self, store: MemoryStore, at: Timestamp) -> Result<MemoryStore, MemoryStore> {
        store.reopen(at);
        Ok(store)
    }
}

/// A store that injects no fault.
struct Failing;

impl StoreFixture for Failing {
    type Store = FailingStore<MemoryStore>;

    fn open(&self) -> Self::Store {
        FailingStore::new(MemoryStore::new())
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        store.inner().reopen(at);
        Ok(store)
    }
}

/// A composition without a smart pointer around its store.
struct DirectOverMemory;

impl CompositionFixture for DirectOverMemory {
    type Store = Direct<MemoryStore>;

    fn open(&self) -> Self::Store {
        direct(MemoryStore::new())
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        store.inner().reopen(at);
        Ok(store)
    }
}

/// A composition behind a trait object.
struct Boxed;

impl CompositionFixture for Boxed {
    type Store = Box<dyn MutateShapes>;

    fn open(&self) -> Self::Store {
        Box::new(direct(MemoryStore::new()))
    }
}

mod memory {
    shape_meta_core::conformance_tests!(store: super::Memory);
}

mod failing {
    shape_meta_core::conformance_tests!(store: super::Failing);
}

mod shared_trait_object {
    use super::*;

    shape_meta_core::conformance_tests!(store: || Arc::new(MemoryStore::new()) as Arc<dyn ShapeStore>);
}

mod boxed_trait_object {
    use super::*;

    shape_meta_core::conformance_tests!(
        store below a buffer: || Box::new(MemoryStore::new()) as Box<dyn ShapeStore>
    );
}

mod deferred_publish {
    shape_meta_core::conformance_tests!(store below a buffer: super::DeferredPublishStore::new);
}

mod direct_over_memory {
    shape_meta_core::conformance_tests!(composition: super::DirectOverMemory);
}

mod boxed_composition {
    shape_meta_core::conformance_tests!(composition without control: super::Boxed);
}
