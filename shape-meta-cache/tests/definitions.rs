//! The definition cache.

use std::sync::{Arc, Barrier};

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    MemoryStore, NewShape, ReadShapes, Record, Seq, ShapeStore,
    conformance::{
        FailingStore, handle, shape,
        store::{self, added, removed},
    },
};

use crate::{
    scripted::Scripted,
    support::{batch, cached, record},
};

fn with_cache(bytes: usize) -> CacheOptions {
    CacheOptions::default().definition_cache_bytes(bytes)
}

/// A cache over a store that counts its reads.
fn counted(bytes: usize, records: &[Arc<Record>]) -> Cached<FailingStore<MemoryStore>> {
    counted_with(with_cache(bytes), records)
}

fn counted_with(options: CacheOptions, records: &[Arc<Record>]) -> Cached<FailingStore<MemoryStore>> {
    let below = MemoryStore::new();
    below.apply(&batch(records.len() as u64, records.iter().map(added))).unwrap();
    cached(FailingStore::new(below), options)
}

fn reads(cached: &Cached<FailingStore<MemoryStore>>) -> u64 {
    cached.inner().faults().reads()
}

fn records(count: u64) -> Vec<Arc<Record>> {
    (1..=count).map(|number| record(number, number)).collect()
}

#[test]
fn a_definition_is_read_from_disk_once() {
    let cached = counted(1 << 20, &records(3));
    assert_eq!(cached.memory().definitions, 0);
    let before = reads(&cached);
    let first = cached.record(&handle(2)).unwrap().unwrap();
    assert_eq!(reads(&cached), before + 1);
    let again = cached.record(&handle(2)).unwrap().unwrap();
    assert_eq!(reads(&cached), before + 1, "it comes from memory");
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(*again.definition, *shape(2).definition);
    assert!(
        Arc::ptr_eq(&again.entry, &cached.entry(&handle(2)).unwrap().unwrap()),
        "it has the entry of the mirror"
    );

    let memory = cached.memory();
    let held = again.memory() - again.entry.memory();
    assert_eq!(memory.definitions, held + 160, "with the overhead");
    assert_eq!(memory.total(), memory.entries + memory.table + memory.entry_list + memory.definitions);
    assert_eq!(cached.resource_usage().cache_bytes, memory.total());
}

#[test]
fn definitions_are_cached_unless_that_is_turned_off() {
    for (options, reads_of_two) in [(CacheOptions::default(), 1), (with_cache(0), 2)] {
        let cached = counted_with(options, &records(1));
        let before = reads(&cached);
        for _ in 0..2 {
            cached.record(&handle(1)).unwrap().unwrap();
        }
        assert_eq!(reads(&cached), before + reads_of_two);
        assert_eq!(cached.memory().definitions > 0, reads_of_two == 1);
    }
}

#[test]
fn c7_the_definition_cache_stays_within_its_bound() {
    const BYTES: usize = 64 << 10;
    let cached = counted(BYTES, &records(2_000));
    for number in (1..=2_000).chain(1..=2_000) {
        let record = cached.record(&handle(number)).unwrap().unwrap();
        assert_eq!(*record.definition, *shape(number).definition);
        assert!(cached.memory().definitions <= BYTES);
    }
    assert!(cached.memory().definitions > BYTES / 2, "the capacity is used");
}

#[test]
fn c3_the_definition_of_a_removed_shape_is_dropped() {
    let all = records(3);
    let cached = counted(1 << 20, &all);
    for number in 1..=3 {
        cached.record(&handle(number)).unwrap().unwrap();
    }
    let full = cached.memory().definitions;
    cached.apply(&batch(4, [removed(&all[1])])).unwrap();
    assert!(cached.record(&handle(2)).unwrap().is_none());
    assert!(cached.memory().definitions < full);

    // The same handle is used again with another definition.
    let other = NewShape { definition: b"another one".as_slice().into(), ..shape(2) };
    let other = store::record(&other, 5);
    cached.apply(&batch(5, [added(&other)])).unwrap();
    for _ in 0..2 {
        assert_eq!(*cached.record(&handle(2)).unwrap().unwrap().definition, *b"another one");
    }
    cached.apply(&batch(6, [shape_meta_core::Change::Reset])).unwrap();
    assert_eq!(cached.memory().definitions, 0);
}

/// A standby can follow its owner to another database, in which another shape has the same sequence number.
#[test]
fn c1_a_shape_of_another_database_with_the_same_seq_is_not_confused() {
    let below = Arc::new(MemoryStore::new());
    let own = record(7, 1);
    below.apply(&batch(1, [added(&own)])).unwrap();
    let cached = cached(Arc::clone(&below), with_cache(1 << 20));
    assert_eq!(cached.record(&handle(7)).unwrap().unwrap().definition, own.definition);

    let other = store::record(&NewShape { definition: b"of another".as_slice().into(), ..shape(8) }, 1);
    below.apply(&batch(2, [removed(&own), added(&other)])).unwrap();
    cached.reload().unwrap();
    assert!(cached.record(&handle(7)).unwrap().is_none());
    for _ in 0..2 {
        assert_eq!(*cached.record(&handle(8)).unwrap().unwrap().definition, *b"of another");
    }
}

/// A definition that is being read while the cache is reloaded from another line of history is not kept.
#[test]
fn c13_a_read_across_a_reload_is_not_kept() {
    let with = |definition: &[u8]| {
        let store = MemoryStore::new();
        let shape = NewShape { definition: definition.into(), ..shape(1) };
        store.apply(&batch(1, [added(&Arc::new(shape.record(Seq::new(1))))])).unwrap();
        store
    };
    let scripted = Scripted::default();
    *scripted.repaired.lock().unwrap() = Some(with(b"old"));
    scripted.replace();
    let pause = Arc::new(Barrier::new(2));
    *scripted.pause_record.lock().unwrap() = Some(Arc::clone(&pause));
    let cached = cached(scripted, CacheOptions::default());
    let definition = || cached.record(&handle(1)).unwrap().unwrap().definition.to_vec();
    std::thread::scope(|scope| {
        let read = scope.spawn(definition);
        pause.wait();
        *cached.inner().repaired.lock().unwrap() = Some(with(b"new"));
        cached.inner().replace();
        cached.reload().unwrap();
        pause.wait();
        assert_eq!(read.join().unwrap(), b"old", "the read began before the reload");
    });
    assert_eq!(definition(), b"new");
}
