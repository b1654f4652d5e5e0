//! The conformance suite over every composition and everything that it can stand on.

use std::sync::{Arc, Mutex, PoisonError};

use shape_meta::{Mode, OnLiveOwner, ShapeMeta, StoreControl, Timestamp};
use shape_meta_core::{
    MemoryStore,
    conformance::{Fixture, control},
};
use tempfile::TempDir;

use shape_meta_harness::compositions::{
    BUFFERED, Composition, DIRECT, DIRECT_CACHED, DIRECT_ON_DISK, Flushing, PATIENT, PRODUCT,
    PRODUCT_DEFINITIONS, PRODUCT_ON_DISK, directory, sqlite,
};

/// What a composition stands on.
enum Over {
    /// A database in a directory that lives as long as the fixture.
    File(Mode, TempDir),
    /// The same, owned by one who was a standby.
    Promoted(TempDir),
    /// A database in memory.
    Memory,
    /// The reference model, by `Builder::over`. The one that was opened last is kept for a reopening.
    Model(Mutex<Arc<MemoryStore>>),
}

struct Composed {
    composition: Composition,
    over: Over,
}

fn wal(composition: Composition) -> Composed {
    Composed { composition, over: Over::File(Mode::Wal, directory()) }
}

fn exclusive(composition: Composition) -> Composed {
    Composed { composition, over: Over::File(Mode::Exclusive, directory()) }
}

fn promoted(composition: Composition) -> Composed {
    Composed { composition, over: Over::Promoted(directory()) }
}

fn in_memory(composition: Composition) -> Composed {
    Composed { composition, over: Over::Memory }
}

fn model(composition: Composition) -> Composed {
    Composed { composition, over: Over::Model(Mutex::default()) }
}

impl Fixture for Composed {
    type Store = ShapeMeta;

    fn open(&self) -> ShapeMeta {
        let builder = self.composition.builder();
        match &self.over {
            Over::File(mode, all) => {
                let own = tempfile::tempdir_in(all).expect("there is room for temporary files").keep();
                builder.sqlite(sqlite().mode(*mode)).open(own).expect("it opens")
            }
            Over::Promoted(all) => {
                let own = tempfile::tempdir_in(all).expect("there is room for temporary files").keep();
                drop(self.composition.open(&own));
                let standby = builder.open_standby(own).expect("there is a database");
                standby.promote(OnLiveOwner::Fail).expect("nobody owns it")
            }
            Over::Memory => builder.open_in_memory().expect("it opens"),
            Over::Model(latest) => {
                let model = Arc::new(MemoryStore::new());
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&model);
                self.composition.over(model)
            }
        }
    }

    fn flush(&self, store: &ShapeMeta) {
        store.flush(PATIENT).expect("nothing fails");
    }

    fn pause(&self, store: &ShapeMeta) -> bool {
        store.pause();
        self.composition.buffer.is_some()
    }

    fn resume(&self, store: &ShapeMeta) {
        store.resume();
    }

    fn reopen(&self, store: ShapeMeta, at: Timestamp) -> Result<ShapeMeta, ShapeMeta> {
        match &self.over {
            Over::File(mode, _) => {
                let database = store.database().expect("it stands on a database");
                let own = database.directory().expect("it is on disk").to_owned();
                assert!(store.close(PATIENT).is_complete());
                drop(store);
                Ok(self.composition.builder().sqlite(sqlite().mode(*mode)).open(own).expect("it opens"))
            }
            Over::Promoted(_) => {
                let database = store.database().expect("it stands on a database");
                let own = database.directory().expect("it is on disk").to_owned();
                let standby = self.composition.builder().open_standby(own).expect("there is a database");
                assert!(store.close(PATIENT).is_complete());
                drop(store);
                Ok(standby.promote(OnLiveOwner::Fail).expect("nobody owns it"))
            }
            Over::Memory => Err(store),
            Over::Model(latest) => {
                assert!(store.close(PATIENT).is_complete());
                drop(store);
                let model = Arc::clone(&latest.lock().unwrap_or_else(PoisonError::into_inner));
                model.reopen(at);
                Ok(self.composition.over(model))
            }
        }
    }

    fn many(&self) -> usize {
        if self.composition.buffer.is_some() { 2_000 } else { 400 }
    }
}

/// The whole suite, each check a test of its own, over each of these fixtures.
macro_rules! conforms {
    ($($name:ident: $fixture:expr;)*) => {
        $(mod $name {
            use super::*;

            shape_meta_core::conformance_tests!($fixture);

            #[test]
            fn on_the_way_to_disk() {
                control::run_all(&$fixture);
            }
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
    direct_cached_with_lookups_on_disk: wal(DIRECT_ON_DISK);

    buffered_over_wal: wal(BUFFERED.flushing(Flushing::Busy));
    buffered_over_a_model: model(BUFFERED.flushing(Flushing::Busy));

    product_over_wal: wal(PRODUCT);
    product_over_wal_flushed_all_the_time: wal(PRODUCT.flushing(Flushing::Busy));
    product_after_a_promotion: promoted(PRODUCT);
    buffered_after_a_promotion: promoted(BUFFERED.flushing(Flushing::Busy));
    product_over_exclusive: exclusive(PRODUCT);
    product_in_memory: in_memory(PRODUCT);
    product_over_a_model: model(PRODUCT.flushing(Flushing::Stepped));
    product_that_keeps_definitions: wal(PRODUCT_DEFINITIONS.flushing(Flushing::Busy));
    product_that_keeps_definitions_after_a_promotion: promoted(PRODUCT_DEFINITIONS);
    product_with_lookups_on_disk: wal(PRODUCT_ON_DISK.flushing(Flushing::Busy));
}
