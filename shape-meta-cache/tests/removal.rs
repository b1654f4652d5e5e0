//! Removed shapes do not stay in memory.

use std::sync::Arc;

use shape_meta_cache::{CacheOptions, LookupIndex};
use shape_meta_core::{
    Change, MemoryStore, ReadShapes, ShapeStore,
    conformance::{
        handle, key,
        store::{added, removed},
    },
};

use crate::support::{batch, cached, record};

#[test]
fn an_idle_table_holds_no_removed_values() {
    for lookup_index in [LookupIndex::Memory, LookupIndex::Disk] {
        let cached = cached(MemoryStore::new(), CacheOptions::default().lookup_index(lookup_index));
        let records: Vec<_> = (1..=100).map(|number| record(number, number)).collect();
        cached.apply(&batch(100, records.iter().map(added))).unwrap();
        let entries: Vec<_> = records.iter().map(|record| Arc::downgrade(&record.entry)).collect();

        cached.apply(&batch(101, records[..60].iter().map(removed))).unwrap();
        drop(records);
        let alive: Vec<_> = (1..=100).filter(|number| entries[number - 1].strong_count() > 0).collect();
        assert_eq!(alive, Vec::from_iter(61..=100));

        cached.apply(&batch(102, [Change::Reset])).unwrap();
        assert!(entries.iter().all(|entry| entry.strong_count() == 0));
        assert_eq!(cached.memory().entries, 0);
    }
}

#[test]
fn c3_handle_and_key_are_free_at_once_and_churn_leaves_nothing() {
    let cached = cached(MemoryStore::new(), CacheOptions::default());
    for round in 0..500 {
        let (old, new) = (record(7, 3 * round + 1), record(7, 3 * round + 2));
        cached.apply(&batch(3 * round + 1, [added(&old)])).unwrap();
        cached.apply(&batch(3 * round + 2, [removed(&old), added(&new)])).unwrap();
        assert_eq!(cached.metadata(&handle(7)).unwrap().unwrap().created, new.entry.created());
        assert_eq!(cached.handle_for(&key(7)).unwrap(), Some(handle(7)));
        assert_eq!(cached.handles_for_relations(new.entry.relations()).unwrap(), [handle(7)]);
        cached.apply(&batch(3 * round + 3, [removed(&new)])).unwrap();
        assert_eq!(cached.counts().unwrap().total, 0);
    }
}

#[test]
fn i6_a_batch_that_was_applied_is_skipped() {
    let cached = cached(MemoryStore::new(), CacheOptions::default());
    let one = record(1, 1);
    let adding = batch(1, [added(&one)]);
    cached.apply(&adding).unwrap();
    cached.apply(&adding).unwrap();
    cached.apply(&batch(2, [removed(&one)])).unwrap();
    cached.apply(&adding).unwrap();
    assert_eq!(cached.counts().unwrap().total, 0);
    assert_eq!(cached.metadata(&handle(1)).unwrap(), None);
}
