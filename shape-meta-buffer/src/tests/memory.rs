use std::sync::Arc;

use shape_meta_core::{
    Change, NewShape, Record, Seq, SnapshotState,
    conformance::{relations, shape},
};

use crate::memtable::{Generation, Hashes};

pub(crate) const SHAPES: u64 = 1_000;

pub(crate) fn records(read: &[u32]) -> Vec<Arc<Record>> {
    let shapes = (1..=SHAPES).map(|number| NewShape { relations: relations(read), ..shape(number) });
    shapes.zip(1..).map(|(shape, number)| Arc::new(shape.record(Seq::new(number)))).collect()
}

pub(crate) fn insert(generation: &mut Generation, changes: impl Iterator<Item = Change>) {
    for (change, number) in changes.zip(1..) {
        let seq = generation.last().next();
        generation.insert(change, Hashes { handle: number, key: number }, seq);
    }
}

/// Returns the bytes that a generation counts for each shape, without the records.
fn bytes_per_shape(generation: &Generation, records: &[Arc<Record>]) -> u64 {
    let held: usize = records.iter().map(|record| record.memory()).sum();
    (generation.bytes() - held) as u64 / SHAPES
}

pub(crate) fn adds(records: &[Arc<Record>]) -> impl Iterator<Item = Change> {
    records.iter().map(|record| Change::Add { record: Arc::clone(record), state: SnapshotState::Pending })
}

fn removals(records: &[Arc<Record>]) -> impl Iterator<Item = Change> {
    records.iter().map(|record| Change::Remove { entry: Arc::clone(&record.entry) })
}

/// The bound in bytes counts these. The tables count as half empty, the worst case.
#[test]
fn c7_pending_changes_count_with_their_index_elements() {
    let records = records(&[1]);
    let mut generation = Generation::default();
    insert(&mut generation, adds(&records));
    let added = bytes_per_shape(&generation, &records);
    assert!((190..=240).contains(&added), "{added}");
    let (three, mut reading_three) = (self::records(&[1, 2, 3]), Generation::default());
    insert(&mut reading_three, adds(&three));
    assert_eq!(bytes_per_shape(&reading_three, &three), added + 2 * 16, "slot and id in each relation");

    // The record is freed; the mutation is still counted, since it may have to be reported as rejected.
    insert(&mut generation, removals(&records));
    assert_eq!(bytes_per_shape(&generation, &[]), added + 4);
    let mut removing = Generation::default();
    insert(&mut removing, removals(&records));
    assert_eq!(bytes_per_shape(&removing, &[]), added - 16 + 32, "the handle instead of slot and id");
    insert(&mut removing, std::iter::once(Change::Reset));
    assert_eq!(removing.bytes(), 4, "only the reset is left");
}

#[test]
fn c7_revoked_changes_count_no_more() {
    let records = records(&[1]);
    let mut generation = Generation::default();
    insert(&mut generation, adds(&records));
    let (bytes, all) = (generation.bytes(), generation.count_delta());
    let lost = generation.revoke(7);
    assert_eq!(bytes - generation.bytes(), records[7].memory());
    assert_eq!((lost.total, generation.count_delta()), (1, all - lost));
    assert_eq!(generation.revoke(7).total, 0, "once");
    assert_eq!(bytes - generation.bytes(), records[7].memory());
}
