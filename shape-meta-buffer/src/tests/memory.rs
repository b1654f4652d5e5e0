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

pub(crate) fn put(generation: &mut Generation, changes: impl Iterator<Item = Change>) {
    for (change, number) in changes.zip(1..) {
        let seq = generation.last().next();
        generation.put(change, Hashes { handle: number, key: number }, seq);
    }
}

/// Bytes that a generation counts for each of the shapes, beside their records.
fn of_each(generation: &Generation, records: &[Arc<Record>]) -> u64 {
    let held: usize = records.iter().map(|record| record.memory()).sum();
    (generation.bytes() - held) as u64 / SHAPES
}

pub(crate) fn adds(records: &[Arc<Record>]) -> impl Iterator<Item = Change> {
    records.iter().map(|record| Change::Add { record: Arc::clone(record), state: SnapshotState::Pending })
}

fn removals(records: &[Arc<Record>]) -> impl Iterator<Item = Change> {
    records.iter().map(|record| Change::Remove { entry: Arc::clone(&record.entry) })
}

/// The bound in bytes is about what is counted here. The tables are taken to be half empty at worst.
#[test]
fn c7_what_is_pending_counts_with_its_place_in_the_tables() {
    let records = records(&[1]);
    let mut generation = Generation::default();
    put(&mut generation, adds(&records));
    let added = of_each(&generation, &records);
    assert!((190..=240).contains(&added), "{added}");
    let (three, mut reading_three) = (self::records(&[1, 2, 3]), Generation::default());
    put(&mut reading_three, adds(&three));
    assert_eq!(of_each(&reading_three, &three), added + 2 * 16, "place and id in each relation");

    // Its record is let go; its place in the order is still to be told.
    put(&mut generation, removals(&records));
    assert_eq!(of_each(&generation, &[]), added + 4);
    let mut removing = Generation::default();
    put(&mut removing, removals(&records));
    assert_eq!(of_each(&removing, &[]), added - 16 + 32, "the handle in place of place and id");
    put(&mut removing, std::iter::once(Change::Reset));
    assert_eq!(removing.bytes(), 4, "nothing of it is left");
}

#[test]
fn c7_what_is_taken_back_counts_no_more() {
    let records = records(&[1]);
    let mut generation = Generation::default();
    put(&mut generation, adds(&records));
    let (bytes, all) = (generation.bytes(), generation.count_delta());
    let effect = generation.take_back(7);
    assert_eq!(bytes - generation.bytes(), records[7].memory());
    assert_eq!((effect.total, generation.count_delta()), (1, all - effect));
    assert_eq!(generation.take_back(7).total, 0, "once");
    assert_eq!(bytes - generation.bytes(), records[7].memory());
}
