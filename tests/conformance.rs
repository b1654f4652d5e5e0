//! The conformance suite over every composition and every kind of store below it.

use std::sync::{Arc, Mutex, PoisonError};

use shape_meta::{Feed, FeedError, FeedOptions, Mode, OnLiveOwner, ShapeMeta, StoreControl, Timestamp};
use shape_meta_core::{MemoryStore, conformance::CompositionFixture};
use tempfile::TempDir;

use shape_meta_harness::compositions::{
    BUFFERED, Composition, DIRECT, DIRECT_CACHED, DIRECT_DISK_LOOKUPS, FlushSchedule, PRODUCT,
    PRODUCT_DEFINITION_CACHE, PRODUCT_DISK_LOOKUPS, TIMEOUT, directory, sqlite,
};

use crate::postgres::Schema;

/// The store below a composition.
enum Base {
    /// A database in a directory that lives as long as the fixture.
    File(Mode, TempDir),
    /// The same, opened as a standby and promoted.
    Promoted(TempDir),
    /// A database in memory.
    Memory,
    /// A stack in PostgreSQL, of a schema that lives as long as the fixture.
    Postgres(Schema),
    /// The same, opened as a standby and promoted.
    PostgresPromoted(Schema),
    /// The reference model, by `Builder::over`. The model that was opened last is kept for a reopening.
    Model(Mutex<Arc<MemoryStore>>),
}

struct Composed {
    composition: Composition,
    base: Base,
}

fn wal(composition: Composition) -> Composed {
    Composed { composition, base: Base::File(Mode::Wal, directory()) }
}

fn exclusive(composition: Composition) -> Composed {
    Composed { composition, base: Base::File(Mode::Exclusive, directory()) }
}

fn promoted(composition: Composition) -> Composed {
    Composed { composition, base: Base::Promoted(directory()) }
}

fn in_memory(composition: Composition) -> Composed {
    Composed { composition, base: Base::Memory }
}

fn model(composition: Composition) -> Composed {
    Composed { composition, base: Base::Model(Mutex::default()) }
}

/// A stack in PostgreSQL; the reference model where there is no server.
fn postgres(composition: Composition) -> Composed {
    match Schema::new() {
        Some(schema) => Composed { composition, base: Base::Postgres(schema) },
        None => model(composition),
    }
}

fn postgres_promoted(composition: Composition) -> Composed {
    match Schema::new() {
        Some(schema) => Composed { composition, base: Base::PostgresPromoted(schema) },
        None => model(composition),
    }
}

impl CompositionFixture for Composed {
    type Store = ShapeMeta;

    fn open(&self) -> ShapeMeta {
        let builder = self.composition.builder();
        match &self.base {
            Base::File(mode, all) => {
                let own = tempfile::tempdir_in(all).expect("a temporary directory can be created").keep();
                builder.sqlite(sqlite().mode(*mode)).open(own).expect("it opens")
            }
            Base::Promoted(all) => {
                let own = tempfile::tempdir_in(all).expect("a temporary directory can be created").keep();
                drop(self.composition.open(&own));
                let standby = builder.open_standby(own).expect("there is a database");
                standby.promote(OnLiveOwner::Fail).expect("it has no owner")
            }
            Base::Postgres(schema) => schema.open(builder, &schema.unique_stack()),
            Base::PostgresPromoted(schema) => {
                let stack = schema.unique_stack();
                assert!(schema.open(self.composition.builder(), &stack).close(TIMEOUT).is_complete());
                schema.standby(builder, &stack).promote(OnLiveOwner::Fail).expect("it has no owner")
            }
            Base::Memory => builder.open_in_memory().expect("it opens"),
            Base::Model(latest) => {
                let model = Arc::new(MemoryStore::new());
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&model);
                self.composition.over(model)
            }
        }
    }

    fn subscribe(&self, store: &ShapeMeta, options: &FeedOptions) -> Option<Result<Feed, FeedError>> {
        Some(store.subscribe(options))
    }

    fn flush(&self, store: &ShapeMeta) {
        store.flush(TIMEOUT).expect("nothing fails");
    }

    fn pause(&self, store: &ShapeMeta) -> bool {
        store.pause();
        self.composition.buffer.is_some()
    }

    fn resume(&self, store: &ShapeMeta) {
        store.resume();
    }

    fn reopen(&self, store: ShapeMeta, at: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        match &self.base {
            Base::File(mode, _) => {
                let database = store.database().expect("it has a database");
                let own = database.directory().expect("it is on disk").to_owned();
                assert!(store.close(TIMEOUT).is_complete());
                drop(store);
                Ok(self.composition.builder().sqlite(sqlite().mode(*mode)).open(own).expect("it opens"))
            }
            Base::Promoted(_) => {
                let database = store.database().expect("it has a database");
                let own = database.directory().expect("it is on disk").to_owned();
                let standby = self.composition.builder().open_standby(own).expect("there is a database");
                assert!(store.close(TIMEOUT).is_complete());
                drop(store);
                Ok(standby.promote(OnLiveOwner::Fail).expect("it has no owner"))
            }
            Base::Postgres(schema) => {
                let stack = store.postgres().expect("it is a stack").name().to_owned();
                assert!(store.close(TIMEOUT).is_complete());
                drop(store);
                Ok(schema.open(self.composition.builder(), &stack))
            }
            Base::PostgresPromoted(schema) => {
                let stack = store.postgres().expect("it is a stack").name().to_owned();
                let standby = schema.standby(self.composition.builder(), &stack);
                assert!(store.close(TIMEOUT).is_complete());
                drop(store);
                Ok(standby.promote(OnLiveOwner::Fail).expect("it has no owner"))
            }
            Base::Memory => Err(store),
            Base::Model(latest) => {
                assert!(store.close(TIMEOUT).is_complete());
                drop(store);
                let model = Arc::clone(&latest.lock().unwrap_or_else(PoisonError::into_inner));
                model.reopen(at);
                Ok(self.composition.over(model))
            }
        }
    }

    fn large_count(&self) -> usize {
        match (&self.base, self.composition.buffer) {
            // Each mutation of the direct composition is a transaction on a server.
            (Base::Postgres(_) | Base::PostgresPromoted(_), None) => 100,
            (_, None) => 400,
            (_, Some(_)) => 2_000,
        }
    }
}

/// Runs the whole suite over each fixture, every check as a test of its own.
macro_rules! conforms {
    ($($name:ident: $fixture:expr;)*) => {
        $(mod $name {
            use super::*;

            shape_meta_core::conformance_tests!(composition: $fixture);
        })*
    };
}

conforms! {
    direct_over_wal: wal(DIRECT);
    direct_over_exclusive: exclusive(DIRECT);
    direct_in_memory: in_memory(DIRECT);
    direct_over_a_model: model(DIRECT);

    direct_cached_over_wal: wal(DIRECT_CACHED);
    direct_cached_over_a_model: model(DIRECT_CACHED);
    direct_cached_with_lookups_on_disk: wal(DIRECT_DISK_LOOKUPS);

    buffered_over_wal: wal(BUFFERED.with_flush_schedule(FlushSchedule::Continuous));
    buffered_over_a_model: model(BUFFERED.with_flush_schedule(FlushSchedule::Continuous));

    product_over_wal: wal(PRODUCT);
    product_over_wal_with_constant_flushes: wal(PRODUCT.with_flush_schedule(FlushSchedule::Continuous));
    product_after_a_promotion: promoted(PRODUCT);
    buffered_after_a_promotion: promoted(BUFFERED.with_flush_schedule(FlushSchedule::Continuous));
    product_over_exclusive: exclusive(PRODUCT);
    product_in_memory: in_memory(PRODUCT);
    product_over_a_model: model(PRODUCT.with_flush_schedule(FlushSchedule::Manual));
    product_with_cached_definitions: wal(PRODUCT_DEFINITION_CACHE.with_flush_schedule(FlushSchedule::Continuous));
    product_with_cached_definitions_after_a_promotion: promoted(PRODUCT_DEFINITION_CACHE);
    direct_over_postgres: postgres(DIRECT);
    direct_cached_over_postgres: postgres(DIRECT_CACHED);
    buffered_over_postgres: postgres(BUFFERED.with_flush_schedule(FlushSchedule::Continuous));
    product_over_postgres: postgres(PRODUCT);
    product_over_postgres_after_a_promotion: postgres_promoted(PRODUCT);
    product_with_lookups_on_disk: wal(PRODUCT_DISK_LOOKUPS.with_flush_schedule(FlushSchedule::Continuous));
}
