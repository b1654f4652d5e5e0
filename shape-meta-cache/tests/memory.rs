//! How much memory is told, for some numbers of shapes. It is an estimate, and `cargo bench -p shape-meta-cache --bench
//! memory` compares it with what the process takes: who changes these figures looks there as well.

use shape_meta_cache::{CacheMemory, CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    Entry, MemoryStore, NewShape, ReadShapes, Relation, Relations, ShapeStore,
    conformance::{
        shape,
        store::{added, record, removed},
    },
};

use crate::support::{batch, cached};

/// A slot of the table takes so many bytes on each side.
const SLOT: usize = 49;

/// A mirror of so many shapes that were there when it was opened, each of so many relations.
fn opened(options: CacheOptions, shapes: u64, relations: u32) -> Cached<MemoryStore> {
    let below = MemoryStore::new();
    let records = (1..=shapes).map(|number| {
        let relations = (0..relations).map(Relation::new).collect();
        record(&NewShape { relations, ..shape(number) }, number)
    });
    below.apply(&batch(shapes, records.map(|record| added(&record)))).unwrap();
    cached(below, options)
}

fn table(options: CacheOptions, shapes: u64, relations: u32) -> usize {
    opened(options, shapes, relations).memory().table
}

fn on_disk() -> CacheOptions {
    CacheOptions::default().lookup_index(LookupIndex::Disk)
}

#[test]
fn entries_and_roster_are_what_each_shape_takes() {
    let CacheMemory { entries, roster, .. } = opened(CacheOptions::default(), 100, 1).memory();
    let counts_of_arc = 16;
    assert_eq!((entries, roster), (100 * (size_of::<Entry>() + counts_of_arc), 100 * 8));
    let several = opened(CacheOptions::default(), 100, 3).memory();
    assert_eq!(several.entries, entries + 100 * (size_of::<Relations>() + 3 * 4));
    assert_eq!(several.total(), several.entries + several.roster + several.table);
}

#[test]
fn the_table_is_two_sides_of_a_power_of_two_of_slots() {
    // With an eighth more room than there are shapes: 1125, and 14,625.
    assert_eq!(table(on_disk(), 1_000, 1), 2 * SLOT * 2_048);
    assert_eq!(table(on_disk(), 13_000, 3), 2 * SLOT * 32_768);
    // What does not fit into a slot: 24 bytes for each key, and 40 for each shape that reads a relation.
    assert_eq!(table(CacheOptions::default(), 1_000, 1), 2 * (SLOT * 4_096 + 1_000 * (24 + 40)));
    assert_eq!(table(CacheOptions::default(), 1_000, 3), 2 * (SLOT * 4_096 + 1_000 * (24 + 3 * 40)));
    assert_eq!(table(CacheOptions::default(), 13_000, 1), 2 * (SLOT * 65_536 + 13_000 * (24 + 40)));
}

#[test]
fn shapes_that_are_expected_have_room() {
    assert_eq!(table(on_disk().initial_capacity(100_000), 100, 1), 2 * SLOT * 131_072);
    let in_memory = CacheOptions::default().initial_capacity(100_000);
    assert_eq!(table(in_memory.clone(), 0, 1), 2 * SLOT * 262_144);
    let sharing = in_memory.exact_key_slots_up_to(0);
    assert_eq!(table(sharing.clone(), 0, 1), 2 * SLOT * 262_144, "which costs nothing");
    let fewer = sharing.initial_capacity(70_000);
    assert_eq!(table(fewer.clone(), 0, 1), 2 * SLOT * 131_072, "handles, and keys, four to a slot");
    assert_eq!(table(fewer.keys_per_slot(1), 0, 1), 2 * SLOT * 262_144);
}

#[test]
fn what_goes_is_not_counted_any_more() {
    let records: Vec<_> = (1..=1_000).map(|number| record(&shape(number), number)).collect();
    let cached = cached(MemoryStore::new(), CacheOptions::default());
    assert_eq!(cached.memory().total(), 2 * SLOT);
    cached.apply(&batch(1_000, records.iter().map(added))).unwrap();
    let full = cached.memory();
    let slots = 2 * SLOT * 4_096;
    assert_eq!((full.table, full.roster), (slots + 2 * 1_000 * (24 + 40), 1_000 * 8));
    cached.apply(&batch(1_001, records[..999].iter().map(removed))).unwrap();
    let one = cached.memory();
    assert_eq!((one.entries, one.roster), (full.entries / 1_000, 8));
    assert_eq!(one.table, slots + 2 * (24 + 40), "the table does not shrink");
}

#[test]
fn usage_adds_what_the_mirror_knows_to_what_is_known_below() {
    let inner = opened(CacheOptions::default(), 100, 1);
    let (counts, below) = (inner.counts().unwrap(), inner.memory().total());
    assert_eq!(inner.resource_usage().cache_bytes, below);
    let outer = cached(inner, CacheOptions::default());
    assert_eq!(outer.resource_usage().cache_bytes, below + outer.memory().total());
    assert_eq!(outer.resource_usage().shapes, Some(counts));
}
