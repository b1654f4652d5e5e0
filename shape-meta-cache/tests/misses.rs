//! I4: only the flush path writes the cache.

use std::sync::Arc;

use shape_meta_cache::{CacheOptions, LookupIndex};
use shape_meta_core::{
    MemoryStore, ReadShapes, ReadShapesExt, ShapeStore,
    conformance::{
        FailingStore, handle, key, shape,
        store::{added, removed},
    },
};

use crate::support::{batch, cached, record, relation};

/// A shape that is only in the store below is a miss every time. No read adds it to the cache, not even one
/// that has found it on disk: all reads by handle, key and relation agree.
#[test]
fn i4_a_miss_never_fills_the_cache() {
    for lookup_index in [LookupIndex::Memory, LookupIndex::Disk] {
        let below = Arc::new(FailingStore::new(MemoryStore::new()));
        let cached = cached(Arc::clone(&below), CacheOptions::default().lookup_index(lookup_index));
        below.apply(&batch(1, [added(&record(1, 1))])).unwrap();
        let (memory, counts) = (cached.memory(), cached.counts().unwrap());
        for _ in 0..3 {
            let reads = below.faults().reads();
            assert_eq!(cached.metadata(&handle(1)).unwrap(), None);
            assert!(cached.entry(&handle(1)).unwrap().is_none());
            assert!(cached.record(&handle(1)).unwrap().is_none());
            assert!(!cached.validate_handle(&handle(1), shape(1).hash).unwrap());
            assert!(cached.lru(9).unwrap().shapes.is_empty());
            assert_eq!(below.faults().reads(), reads, "a miss is the answer, without a disk read");
            assert_eq!(cached.handle_for(&key(1)).unwrap(), None, "{lookup_index:?}");
            assert!(cached.handles_for_relations(&[relation(1)]).unwrap().is_empty(), "{lookup_index:?}");
            assert_eq!(cached.scan().unwrap().count(), 1, "a scan reads the store below");
            assert_eq!((cached.memory(), cached.counts().unwrap()), (memory, counts));
        }
    }
}

/// A removed shape does not come back through reads that find it in the store below.
#[test]
fn i4_what_was_removed_is_not_read_back() {
    let below = Arc::new(MemoryStore::new());
    let cached = cached(Arc::clone(&below), CacheOptions::default());
    let shape = record(1, 1);
    cached.apply(&batch(1, [added(&shape)])).unwrap();
    assert!(cached.record(&handle(1)).unwrap().is_some());
    cached.apply(&batch(2, [removed(&shape)])).unwrap();
    below.apply(&batch(3, [added(&shape)])).unwrap();
    for _ in 0..2 {
        assert!(cached.record(&handle(1)).unwrap().is_none());
        assert_eq!(cached.handle_for(&key(1)).unwrap(), None);
        assert_eq!(cached.scan().unwrap().count(), 1);
    }
}
