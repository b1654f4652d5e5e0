//! The conformance suite over every composition that this crate has.

use std::sync::Arc;

use shape_meta_core::{
    Direct, Limits, MemoryStore, MutateShapes, NoopObserver, ShapeStore, Timestamp,
    conformance::{self, FailingStore, Fixture, LateStore},
};

pub(crate) fn direct<S: ShapeStore>(inner: S) -> Direct<S> {
    Direct::new(inner, Limits::default(), Arc::new(NoopObserver)).expect("nothing fails yet")
}

pub(crate) struct OverMemory;

impl Fixture for OverMemory {
    type Store = Direct<MemoryStore>;

    fn open(&self) -> Self::Store {
        direct(MemoryStore::new())
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        store.inner().reopen(at);
        Ok(store)
    }
}

/// Over a store that is only known as a trait object.
struct OverAnything;

impl Fixture for OverAnything {
    type Store = Direct<Arc<dyn ShapeStore>>;

    fn open(&self) -> Self::Store {
        direct(Arc::new(MemoryStore::new()))
    }
}

/// A composition that is only known as a trait object itself.
struct Anything;

impl Fixture for Anything {
    type Store = Box<dyn MutateShapes>;

    fn open(&self) -> Self::Store {
        Box::new(direct(MemoryStore::new()))
    }
}

/// Over a store that could fail, and does not.
struct OverFailing;

impl Fixture for OverFailing {
    type Store = Direct<FailingStore<MemoryStore>>;

    fn open(&self) -> Self::Store {
        direct(FailingStore::new(MemoryStore::new()))
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        store.inner().inner().reopen(at);
        Ok(store)
    }
}

mod direct_over_memory {
    shape_meta_core::conformance_tests!(super::OverMemory);
}

mod direct_over_anything {
    shape_meta_core::conformance_tests!(super::OverAnything);
}

mod anything {
    shape_meta_core::conformance_tests!(super::Anything);
}

mod direct_over_failing {
    shape_meta_core::conformance_tests!(super::OverFailing);
}

#[test]
fn all_checks_run_in_a_row() {
    conformance::run_all(&OverMemory);
    conformance::control::run_all(&OverMemory);
}

#[test]
fn stores_conform() {
    conformance::store::run_all(MemoryStore::new);
    conformance::store::run_all(LateStore::default);
    conformance::store::run_all(|| FailingStore::new(MemoryStore::new()));
    conformance::store::run_all(|| Arc::new(MemoryStore::new()) as Arc<dyn ShapeStore>);
    conformance::store::run_all(|| Box::new(MemoryStore::new()) as Box<dyn ShapeStore>);
}
