use shape_meta_cache::{CacheOptions, LookupIndex};
use shape_meta_core::{
    ErrorKind, MemoryStore, ReadShapes, ReadShapesExt, Seq, ShapeStore, ShapeStoreExt, Timestamp,
    conformance::{
        FailingStore, handle, key, shape,
        store::{added, removed},
    },
};

use crate::support::{batch, cached, cached_below_buffer, record, relation};

#[test]
fn finds_what_was_applied_by_every_way() {
    for lookups in [LookupIndex::Memory, LookupIndex::Disk] {
        let cached = cached(MemoryStore::new(), CacheOptions::default().lookup_index(lookups));
        let records: Vec<_> = (1..=100).map(|number| record(number, number)).collect();
        cached.apply(&batch(100, records.iter().map(added))).unwrap();
        cached.apply(&batch(150, records[..50].iter().map(removed))).unwrap();

        assert_eq!(cached.metadata(&handle(50)).unwrap(), None);
        assert_eq!(cached.handle_for(&key(50)).unwrap(), None);
        assert_eq!(cached.metadata(&handle(51)).unwrap().unwrap().created, Seq::new(51));
        assert_eq!(cached.handle_for(&key(51)).unwrap(), Some(handle(51)));
        assert_eq!(cached.record(&handle(51)).unwrap().unwrap().definition, shape(51).definition);
        assert_eq!(cached.counts().unwrap().total, 50);
        assert_eq!(cached.last_seq().unwrap(), Seq::new(150));
        let mut reading = cached.handles_for_relations(&[relation(3), relation(4), relation(3)]).unwrap();
        reading.sort();
        let mut expected: Vec<_> =
            (51..=100).filter(|number| [3, 4].contains(&(number % 7))).map(handle).collect();
        expected.sort();
        assert_eq!(reading, expected);
        assert!(cached.touch(&handle(60), Timestamp::from_micros(7)).unwrap());
        assert!(!cached.touch(&handle(40), Timestamp::from_micros(7)).unwrap());
        let stalest = cached.stalest(10).unwrap();
        assert_eq!(stalest.shapes, [(handle(60), Timestamp::from_micros(7))]);
        assert_eq!(cached.list().unwrap().len(), 50);
        assert!(cached.changes_since(Seq::ZERO).unwrap().is_none(), "a mirror does not remember");
    }
}

#[test]
fn says_what_it_needs_and_how_it_was_made() {
    for (lookups, needed) in [(LookupIndex::Memory, false), (LookupIndex::Disk, true)] {
        let options = CacheOptions::default().lookup_index(lookups);
        assert_eq!(options.needs_indexes_below(), needed);
        let debug = format!("{:?}", cached_below_buffer(MemoryStore::new(), options.preallocated_readers(1)));
        assert!(debug.contains(&format!("lookup_index: {lookups:?}, below_buffer: true")), "{debug}");
    }
}

#[test]
fn c9_readers_of_no_relation_are_told_without_the_disk() {
    let inner = FailingStore::new(MemoryStore::new());
    let cached = cached(inner, CacheOptions::default().lookup_index(LookupIndex::Disk));
    cached.inner().faults().fail_reads(1, ErrorKind::Io);
    assert!(cached.handles_for_relations(&[]).unwrap().is_empty());
    cached.handles_for_relations(&[relation(1)]).unwrap_err();
}
