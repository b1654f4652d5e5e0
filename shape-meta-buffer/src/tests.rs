//! Unit tests of what is not visible through the public API.

mod capacity;
mod drain_rate;
mod durable_waits;
mod filter;
mod hashing;
mod memory;
mod overlay;
mod resets;
mod slots;
mod steps;
mod table;
mod write_state;
mod writer_queue;

use std::sync::Arc;

use shape_meta_core::{
    Change, NewShape, Relation, Seq, SnapshotState,
    conformance::{relations, shape},
};

use crate::memtable::{Generation, Hashes};

/// A read of a relation costs as much as the changes to that relation, however many others are pending. A
/// system that walked all of them took 41 to 81 ms with 50,000 pending changes.
#[test]
fn c1_a_read_of_a_relation_walks_its_own_changes_alone() {
    let mut generation = Generation::default();
    let mut own = Vec::new();
    for number in 1..=50_000 {
        // Three of all read relation 1; all of them read relation 2.
        let read: &[u32] = if number % 20_000 == 1 { &[1, 2] } else { &[2] };
        let new = NewShape { relations: relations(read), ..shape(number) };
        let record = Arc::new(new.record(Seq::new(number)));
        if read.len() == 2 {
            own.push(record.handle().clone());
        }
        let hashes = Hashes { handle: number, key: number };
        generation.insert(Change::Add { record, state: SnapshotState::Pending }, hashes, Seq::new(number));
    }
    let changes = generation.relation(Relation::new(1)).expect("three shapes read it");
    let walked = changes.added.iter().filter_map(|(at, created)| generation.added(*at, *created));
    let walked: Vec<_> = walked.map(|entry| entry.handle().clone()).collect();
    assert_eq!(walked, own);
    assert_eq!((changes.walked(), own.len()), (3, 3));
    let is_changed = |read: u32| generation.relation(Relation::new(read)).is_some();
    assert!(is_changed(2) && !is_changed(3) && !is_changed(4), "nothing to walk where no shape reads");
}
