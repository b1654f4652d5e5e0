//! The conformance suite over the store and the compositions.

use std::{sync::Arc, time::Duration};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Limits, MemoryStore, NoopObserver, ShapeStore, StoreControl, Timestamp,
    conformance::{CompositionFixture, StoreFixture},
};
use shape_meta_postgres::{DiskIndexes, PostgresOptions, PostgresStore};

use crate::support::Schema;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The store of PostgreSQL, or the reference model where there is no server.
trait Tested: ShapeStore {
    fn postgres(&self) -> Option<&PostgresStore> {
        None
    }
}

impl Tested for PostgresStore {
    fn postgres(&self) -> Option<&PostgresStore> {
        Some(self)
    }
}

impl Tested for MemoryStore {}

/// A schema that lives as long as the fixture. Each store has a stack of its own.
struct OnServer {
    schema: Option<Schema>,
    disk_indexes: DiskIndexes,
    last_reads: bool,
}

impl OnServer {
    fn new() -> Self {
        Self { schema: Schema::new(), disk_indexes: DiskIndexes::Maintained, last_reads: true }
    }

    /// For a store under a cache.
    fn mirrored() -> Self {
        Self { disk_indexes: DiskIndexes::Omitted, last_reads: false, ..Self::new() }
    }

    fn options(&self, schema: &Schema) -> PostgresOptions {
        schema.options().disk_indexes(self.disk_indexes).last_reads(self.last_reads)
    }

    fn reopened(&self, name: &str) -> Box<dyn Tested> {
        let schema = self.schema.as_ref().expect("it was opened on a server");
        let store = schema.open_with(name, self.options(schema));
        store.recover().expect("recovery succeeds");
        Box::new(store)
    }
}

impl StoreFixture for OnServer {
    type Store = Box<dyn Tested>;

    fn open(&self) -> Box<dyn Tested> {
        match &self.schema {
            Some(schema) => {
                let store = schema.open_with(&crate::support::unique("stack"), self.options(schema));
                assert!(store.report().created);
                Box::new(store)
            }
            None => Box::new(MemoryStore::new()),
        }
    }

    fn reopen(&self, store: Box<dyn Tested>, _: Timestamp) -> Result<Box<dyn Tested>, Box<dyn Tested>> {
        let Some(name) = store.postgres().map(|store| store.name().to_owned()) else { return Err(store) };
        drop(store);
        Ok(self.reopened(&name))
    }

    fn large_count(&self) -> usize {
        300
    }
}

/// How a test flushes a buffer.
fn options() -> BufferOptions {
    BufferOptions::default().limits(Limits::default())
}

/// A buffer over the store.
struct Buffer(OnServer);

/// A buffer over a cache over the store.
struct Product(OnServer);

fn buffer(store: Box<dyn Tested>) -> Buffered<Box<dyn Tested>> {
    Buffered::new(store, options(), Arc::new(NoopObserver)).expect("it opens")
}

fn product(store: Box<dyn Tested>) -> Buffered<Cached<Box<dyn Tested>>> {
    let cached = Cached::open_below_buffer(store, CacheOptions::default(), Arc::new(NoopObserver));
    Buffered::new(cached.expect("it loads"), options(), Arc::new(NoopObserver)).expect("it opens")
}

/// Implements the fixture of a composition with a buffer on top. `$inner` returns the store below it.
macro_rules! composition_fixture {
    ($fixture:ty, $store:ty, $compose:ident, $inner:expr) => {
        impl CompositionFixture for $fixture {
            type Store = $store;

            fn open(&self) -> $store {
                $compose(self.0.open())
            }

            fn flush(&self, store: &$store) {
                store.flush(TIMEOUT).expect("nothing fails");
            }

            fn pause(&self, store: &$store) -> bool {
                store.pause();
                true
            }

            fn resume(&self, store: &$store) {
                store.resume();
            }

            fn reopen(&self, store: $store, _: Timestamp) -> Result<$store, $store> {
                let inner: fn(&$store) -> &Box<dyn Tested> = $inner;
                let Some(name) = inner(&store).postgres().map(|store| store.name().to_owned()) else {
                    return Err(store);
                };
                assert!(store.close(TIMEOUT).is_complete());
                drop(store);
                Ok($compose(self.0.reopened(&name)))
            }

            fn large_count(&self) -> usize {
                2_000
            }
        }
    };
}

composition_fixture!(Buffer, Buffered<Box<dyn Tested>>, buffer, |store| store.inner());
composition_fixture!(Product, Buffered<Cached<Box<dyn Tested>>>, product, |store| store.inner().inner());

mod direct {
    shape_meta_core::conformance_tests!(store: super::OnServer::new());
}

mod buffered {
    shape_meta_core::conformance_tests!(composition: super::Buffer(super::OnServer::new()));
}

mod buffered_cached {
    shape_meta_core::conformance_tests!(composition: super::Product(super::OnServer::mirrored()));
}
