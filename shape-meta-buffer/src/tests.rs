//! What cannot be seen from outside.

mod capacity;
mod drain_rate;
mod filter;
mod hashing;
mod memory;
mod overlay;
mod steps;

use std::sync::Arc;

use shape_meta_core::{
    Change, NewShape, Relation, Seq, SnapshotState,
    conformance::{relations, shape},
};

use crate::memtable::{Generation, Hashes};

/// Reads of relations while 50,000 changes were pending took 41 to 81 ms, because each went through the queue. All
/// that a read of a relation walks here are the changes to its own readers, however many others are pending.
#[test]
fn c1_a_read_of_a_relation_walks_its_own_changes_alone() {
    let mut generation = Generation::default();
    let mut own = Vec::new();
    for number in 1..=50_000 {
        // Three of all, and they read a common relation besides.
        let read: &[u32] = if number % 20_000 == 1 { &[1, 2] } else { &[2] };
        let new = NewShape { relations: relations(read), ..shape(number) };
        let record = Arc::new(new.record(Seq::new(number)));
        if read.len() == 2 {
            own.push(record.handle().clone());
        }
        let hashes = Hashes { handle: number, key: number };
        generation.put(Change::Add { record, state: SnapshotState::Pending }, hashes, Seq::new(number));
    }
    let readers = generation.readers(Relation::new(1)).expect("three of them");
    let walked: Vec<_> = generation.added(readers).map(|entry| entry.handle().clone()).collect();
    assert_eq!(walked, own);
    assert_eq!((readers.walked(), own.len()), (3, 3));
    assert!(
        generation.readers(Relation::new(3)).is_none(),
        "nothing to walk for a relation that nobody reads"
    );
    let changes = |read: &[u32]| {
        generation.changes_readers(relations(read).iter().copied().collect::<Vec<_>>().as_slice())
    };
    assert!(changes(&[1]) && changes(&[3, 2]) && !changes(&[3, 4]), "nor is it looked at for others");
}
