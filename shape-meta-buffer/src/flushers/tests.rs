use std::{sync::Arc, time::Duration};

use shape_meta_core::{ControlWrites, MemoryStore, MutateShapesExt, Silent, Wait, conformance::shape};

use super::{FlusherOptions, Flushers};
use crate::{BufferOptions, Buffered};

/// Nothing of a pool is left when the last of its stores is closed and the last clone dropped, in whatever order.
#[test]
fn c10_the_threads_of_a_pool_end_with_it() {
    for store_first in [true, false] {
        let flushers = Flushers::new(FlusherOptions::default());
        let pool = Arc::downgrade(&flushers.0.0);
        let options = BufferOptions::default().flushers(&flushers);
        let store =
            Buffered::new(MemoryStore::new(), options, Arc::new(Silent)).expect("memory does not fail");
        store.add(shape(1), Wait::No).expect("room");
        store.flush(Duration::from_secs(60)).expect("flush");
        assert_eq!(flushers.stats().threads, 1);
        if store_first {
            drop(store);
            drop(flushers);
        } else {
            drop(flushers);
            drop(store);
        }
        assert!(pool.upgrade().is_none());
    }
}
