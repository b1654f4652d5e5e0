//! Extreme values of the options: none panics, none allocates without a bound, and none flips its meaning.

use std::sync::Arc;

use shape_meta_cache::{CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    Batch, Change, Entry, MemoryStore, NoopObserver, ReadShapes, ReadShapesExt, Seq, ShapeStore,
    SnapshotState, conformance::shape,
};

type Setter = fn(CacheOptions) -> CacheOptions;

const EXTREMES: &[(&str, Setter)] = &[
    ("initial_capacity(MAX)", |options| options.initial_capacity(usize::MAX)),
    ("initial_capacity(MAX / 2)", |options| options.initial_capacity(usize::MAX / 2)),
    ("initial_capacity(0)", |options| options.initial_capacity(0)),
    ("preallocated_readers(MAX)", |options| options.preallocated_readers(usize::MAX)),
    ("preallocated_readers(0)", |options| options.preallocated_readers(0)),
    ("keys_per_slot(MAX)", |options| options.keys_per_slot(u32::MAX)),
    ("keys_per_slot(MAX), always", |options| options.keys_per_slot(u32::MAX).exact_key_slots_up_to(0)),
    ("keys_per_slot(0)", |options| options.keys_per_slot(0)),
    ("keys_per_slot(0), always", |options| options.keys_per_slot(0).exact_key_slots_up_to(0)),
    ("exact_key_slots_up_to(MAX)", |options| options.exact_key_slots_up_to(usize::MAX)),
    ("exact_key_slots_up_to(0)", |options| options.exact_key_slots_up_to(0)),
    ("everything", |options| {
        let options = options.initial_capacity(usize::MAX).preallocated_readers(usize::MAX);
        options.keys_per_slot(u32::MAX).exact_key_slots_up_to(usize::MAX)
    }),
    ("look-ups on disk", |options| options.lookup_index(LookupIndex::Disk).initial_capacity(usize::MAX)),
    #[cfg(feature = "definitions")]
    ("definition_cache_bytes(MAX)", |options| options.definition_cache_bytes(usize::MAX)),
    #[cfg(feature = "definitions")]
    ("definition_cache_bytes(1)", |options| options.definition_cache_bytes(1)),
    #[cfg(feature = "definitions")]
    ("definition_cache_bytes(0)", |options| options.definition_cache_bytes(0)),
];

#[test]
fn c7_extreme_options_neither_panic_nor_flip_their_meaning() {
    for (name, set) in EXTREMES {
        let options = set(CacheOptions::default());
        let store = Cached::open(MemoryStore::new(), options, Arc::new(NoopObserver)).expect(name);
        let records: Vec<_> =
            (1..=100).map(|number| Arc::new(shape(number).record(Seq::new(number)))).collect();
        let add =
            |record: &Arc<_>| Change::Add { record: Arc::clone(record), state: SnapshotState::Complete };
        store
            .apply(&Batch { changes: records.iter().map(add).collect(), through: Seq::new(100) })
            .expect(name);
        let removed: Arc<Entry> = Arc::clone(&records[6].entry);
        let changes = vec![Change::Remove { entry: removed }];
        store.apply(&Batch { changes, through: Seq::new(101) }).expect(name);

        assert_eq!(store.counts().expect(name).total, 99, "{name}");
        for number in 1..=100 {
            let shape = shape(number);
            let is_live = number != 7;
            assert_eq!(store.has_handle(shape.handle.as_str()).expect(name), is_live, "{name}");
            let found = store.handle_for(&shape.key).expect(name);
            assert_eq!(found, is_live.then_some(shape.handle.clone()), "{name}");
            let record = store.record(shape.handle.as_str()).expect(name);
            assert_eq!(record.is_some(), is_live, "{name}");
        }
        // A thousand bytes a shape and the clamped capacity: not what was asked for.
        assert!(store.memory().total() < 1 << 32, "{name}: {:?}", store.memory());
    }
}
