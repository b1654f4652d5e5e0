//! How often the store below is read: each read may be one of the disk.

use shape_meta_core::{HandleSet, MutateShapesExt, ReadShapes, Timestamp, Wait};

use crate::support::{add, manual};

#[test]
fn a_mark_on_a_pending_shape_reads_nothing_below() {
    let (store, faults) = manual();
    add(&store, "h", 1);
    let before = faults.reads();
    store.mark_snapshot_started("h", Wait::No).expect("live");
    store.mark_snapshot_complete("h", Wait::No).expect("live");
    store.remove("h", Wait::No).expect("live");
    assert_eq!(faults.reads(), before);
    add(&store, "below", 2);
    store.flush_once().expect("flush");
    let before = faults.reads();
    store.mark_snapshot_started("below", Wait::No).expect("live");
    assert_eq!(faults.reads(), before + 1);
}

/// Whether pending shapes were read as early as those of the store below, or not.
#[test]
fn c14_least_recently_used_reads_once_without_flushes() {
    let (store, faults) = manual();
    let (none, at) = (HandleSet::default(), Timestamp::from_micros);
    add(&store, "first", 1);
    add(&store, "second", 2);
    store.flush_once().expect("flush");
    store.touch("first", at(10)).expect("read");
    store.touch("second", at(20)).expect("read");
    add(&store, "pending", 3);
    let reads = |n: usize, expected: &[&str]| {
        let before = faults.reads();
        let found = store.least_recently_used(n, &none).expect("read");
        let found: Vec<_> = found.shapes.iter().map(|(handle, _)| handle.as_ref()).collect();
        assert_eq!(found, expected);
        faults.reads() - before
    };
    store.touch("pending", at(30)).expect("read");
    assert_eq!(reads(2, &["first", "second"]), 1);
    assert_eq!(reads(3, &["first", "second", "pending"]), 1, "the store below has too few");
    add(&store, "early", 4);
    store.touch("early", at(15)).expect("read");
    assert_eq!(reads(2, &["first", "early"]), 1);
}
