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
fn every_look_up_finds_applied_shapes() {
    for lookup_index in [LookupIndex::Memory, LookupIndex::Disk] {
        let cached = cached(MemoryStore::new(), CacheOptions::default().lookup_index(lookup_index));
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
        let mut handles = cached.handles_for_relations(&[relation(3), relation(4), relation(3)]).unwrap();
        handles.sort();
        let mut expected: Vec<_> =
            (51..=100).filter(|number| [3, 4].contains(&(number % 7))).map(handle).collect();
        expected.sort();
        assert_eq!(handles, expected);
        assert!(cached.touch(&handle(60), Timestamp::from_micros(7)).unwrap());
        assert!(!cached.touch(&handle(40), Timestamp::from_micros(7)).unwrap());
        let least_recently_used = cached.lru(10).unwrap();
        assert_eq!(least_recently_used.shapes, [(handle(60), Timestamp::from_micros(7))]);
        assert_eq!(cached.list().unwrap().len(), 50);
        assert!(cached.changes_since(Seq::ZERO).unwrap().is_none(), "a mirror has no change log");
    }
}

#[test]
fn options_and_debug_output_show_the_configuration() {
    for (lookup_index, needed) in [(LookupIndex::Memory, false), (LookupIndex::Disk, true)] {
        let options = CacheOptions::default().lookup_index(lookup_index);
        assert_eq!(options.needs_indexes_below(), needed);
        let debug = format!("{:?}", cached_below_buffer(MemoryStore::new(), options.preallocated_readers(1)));
        assert!(debug.contains(&format!("lookup_index: {lookup_index:?}, below_buffer: true")), "{debug}");
    }
}

#[test]
fn c9_a_look_up_of_no_relation_needs_no_disk() {
    let inner = FailingStore::new(MemoryStore::new());
    let cached = cached(inner, CacheOptions::default().lookup_index(LookupIndex::Disk));
    cached.inner().faults().fail_reads(1, ErrorKind::Io);
    assert!(cached.handles_for_relations(&[]).unwrap().is_empty());
    cached.handles_for_relations(&[relation(1)]).unwrap_err();
}
