use std::sync::Arc;

use shape_meta_core::{Batch, Change, MemoryStore, NoopObserver, Seq, ShapeStore, SnapshotState};

use super::record;
use crate::{CacheOptions, Cached};

/// Shapes with handles, keys and relations of their own are added and removed. The table keeps nothing of
/// them, not even empty slots.
#[test]
fn removed_shapes_leave_no_slots() {
    let cached = Cached::open(MemoryStore::new(), CacheOptions::default(), Arc::new(NoopObserver)).unwrap();
    let mut seq = 0;
    let mut apply = |changes: Vec<Change>| {
        seq += 1;
        cached.apply(&Batch { changes, through: Seq::new(seq) }).unwrap();
        cached.writer().expect("not within a write").table.slots()
    };
    for round in 0..50 {
        let records: Vec<_> =
            (1..=40).map(|n| record(40 * round + n, 40 * round + n, 40 * round + n, 50)).collect();
        let slots = apply(
            records
                .iter()
                .map(|record| Change::Add { record: Arc::clone(record), state: SnapshotState::Pending })
                .collect(),
        );
        assert!(
            (40 + 50 + 1..=40 + 50 + 40).contains(&slots),
            "handles, relations, and keys in groups: {slots}"
        );
        let slots =
            apply(records.iter().map(|record| Change::Remove { entry: Arc::clone(&record.entry) }).collect());
        assert_eq!(slots, 0);
        assert!(cached.mirror.entry_list.chunks().is_empty());
    }
}
