//! The memory estimate for some numbers of shapes. `cargo bench -p shape-meta-bench-criterion --bench memory`
//! compares the estimate with the memory of the process. Run it as well if these figures change.

use shape_meta_cache::{CacheMemory, CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    DefinitionHash, Entry, MemoryStore, NewShape, ReadShapes, Relation, Relations, ShapeStore,
    conformance::{
        shape,
        store::{added, record, removed},
    },
};

use crate::support::{batch, cached};

/// The bytes of a slot on each side of the table.
const SLOT: usize = 49;

/// Opens a cache over this number of shapes, with this number of relations each.
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
fn entries_and_list_are_counted_for_each_shape() {
    let CacheMemory { entries, entry_list, .. } = opened(CacheOptions::default(), 100, 1).memory();
    let arc_counters = 16;
    assert_eq!((entries, entry_list), (100 * (size_of::<Entry>() + arc_counters), 100 * 8));
    let several = opened(CacheOptions::default(), 100, 3).memory();
    let unusual = size_of::<Relations>() + size_of::<DefinitionHash>();
    assert_eq!(several.entries, entries + 100 * (unusual + 3 * 4));
    assert_eq!(several.total(), several.entries + several.entry_list + several.table);
}

#[test]
fn the_table_is_two_sides_of_a_power_of_two_of_slots() {
    // The capacity is an eighth more than the number of shapes: 1125, and 14,625.
    assert_eq!(table(on_disk(), 1_000, 1), 2 * SLOT * 2_048);
    assert_eq!(table(on_disk(), 13_000, 3), 2 * SLOT * 32_768);
    // The values that do not fit into a slot: 24 bytes for each key, and 40 for each relation of a shape.
    assert_eq!(table(CacheOptions::default(), 1_000, 1), 2 * (SLOT * 4_096 + 1_000 * (24 + 40)));
    assert_eq!(table(CacheOptions::default(), 1_000, 3), 2 * (SLOT * 4_096 + 1_000 * (24 + 3 * 40)));
    assert_eq!(table(CacheOptions::default(), 13_000, 1), 2 * (SLOT * 65_536 + 13_000 * (24 + 40)));
}

#[test]
fn the_initial_capacity_is_counted() {
    assert_eq!(table(on_disk().initial_capacity(100_000), 100, 1), 2 * SLOT * 131_072);
    let in_memory = CacheOptions::default().initial_capacity(100_000);
    assert_eq!(table(in_memory.clone(), 0, 1), 2 * SLOT * 262_144);
    let sharing = in_memory.exact_key_slots_up_to(0);
    assert_eq!(table(sharing.clone(), 0, 1), 2 * SLOT * 262_144, "own slots cost nothing here");
    let fewer = sharing.initial_capacity(70_000);
    assert_eq!(
        table(fewer.clone(), 0, 1),
        2 * SLOT * 131_072,
        "one slot for each handle, and one for four keys"
    );
    assert_eq!(table(fewer.keys_per_slot(1), 0, 1), 2 * SLOT * 262_144);
}

#[test]
fn removed_shapes_are_not_counted() {
    let records: Vec<_> = (1..=1_000).map(|number| record(&shape(number), number)).collect();
    let cached = cached(MemoryStore::new(), CacheOptions::default());
    assert_eq!(cached.memory().total(), 2 * SLOT);
    cached.apply(&batch(1_000, records.iter().map(added))).unwrap();
    let full = cached.memory();
    let slots = 2 * SLOT * 4_096;
    assert_eq!((full.table, full.entry_list), (slots + 2 * 1_000 * (24 + 40), 1_000 * 8));
    cached.apply(&batch(1_001, records[..999].iter().map(removed))).unwrap();
    let one = cached.memory();
    assert_eq!((one.entries, one.entry_list), (full.entries / 1_000, 8));
    assert_eq!(one.table, slots + 2 * (24 + 40), "the table does not shrink");
}

#[test]
fn usage_adds_the_mirror_to_the_store_below() {
    let inner = opened(CacheOptions::default(), 100, 1);
    let (counts, below) = (inner.counts().unwrap(), inner.memory().total());
    assert_eq!(inner.resource_usage().cache_bytes, below);
    let outer = cached(inner, CacheOptions::default());
    assert_eq!(outer.resource_usage().cache_bytes, below + outer.memory().total());
    assert_eq!(outer.resource_usage().shapes, Some(counts));
}
