use std::sync::Arc;

use shape_meta_core::{
    Change, NewShape, Record, Seq, SnapshotState,
    conformance::{relations, shape},
};

use crate::memtable::{Generation, Hashes, Hashing};

pub(crate) const SHAPES: u64 = 1_000;

pub(crate) fn records(read: &[u32]) -> Vec<Arc<Record>> {
    let shapes = (1..=SHAPES).map(|number| NewShape { relations: relations(read), ..shape(number) });
    shapes.zip(1..).map(|(shape, number)| Arc::new(shape.record(Seq::new(number)))).collect()
}

pub(crate) fn insert(generation: &mut Generation, changes: impl Iterator<Item = Change>) {
    for (change, number) in changes.zip(1..) {
        let seq = generation.last().next();
        // Spread over the parts of the tables.
        let hash = u64::wrapping_mul(number, 0x9e37_79b9_7f4a_7c15);
        generation.insert(change, Hashes { handle: hash, key: hash }, seq);
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

/// Checks that the bound counts no less than is held, and at most 2.5 times as much.
#[track_caller]
fn assert_counts_what_is_held(generation: &Generation, case: &str) {
    let (counted, held) = (generation.bytes(), generation.held());
    assert!(counted >= held && 2 * counted <= 5 * held, "{case}: {counted} counted, {held} held");
}

#[test]
fn c7_the_bound_counts_what_tables_and_lists_hold() {
    // Just before and just after tables double.
    for shapes in [100, 448, 449, 896, 897, 1_000] {
        for read in [vec![], vec![1], (1..=1_000).collect::<Vec<_>>()] {
            let records = &records(&read)[..if read.len() > 1 { shapes.min(100) } else { shapes }];
            let case = format!("{} shapes that read {} relations", records.len(), read.len());
            let mut generation = Generation::default();
            insert(&mut generation, adds(records));
            assert_counts_what_is_held(&generation, &case);
            insert(&mut generation, removals(records));
            assert_counts_what_is_held(&generation, &format!("{case}, removed again"));
            let mut generation = Generation::default();
            insert(&mut generation, removals(records));
            assert_counts_what_is_held(&generation, &format!("{case}, removed below"));
        }
    }
}

/// Each key is known after its shape was removed. Once, one handle counted once, however many keys it had.
#[test]
fn c7_the_bound_counts_each_key_of_one_handle() {
    let mut generation = Generation::default();
    for number in 1..=SHAPES {
        let shape = NewShape { handle: shape(1).handle, ..shape(number) };
        let record = Arc::new(shape.record(Seq::new(number)));
        let entry = Arc::clone(&record.entry);
        let hashes = Hashes { handle: 1, key: number };
        let seq = Seq::new(2 * number);
        generation.insert(Change::Add { record, state: SnapshotState::Pending }, hashes, seq);
        generation.insert(Change::Remove { entry }, hashes, seq.next());
    }
    assert_eq!(generation.len(), 1);
    assert_counts_what_is_held(&generation, "many keys of one handle");
}

#[test]
fn c7_pending_changes_count_with_their_index_elements() {
    let records = records(&[1]);
    let mut generation = Generation::default();
    insert(&mut generation, adds(&records));
    let added = bytes_per_shape(&generation, &records);
    assert!((200..=320).contains(&added), "{added}");
    let (three, mut reading_three) = (self::records(&[1, 2, 3]), Generation::default());
    insert(&mut reading_three, adds(&three));
    let more = bytes_per_shape(&reading_three, &three) - added;
    assert!((2 * 16..=2 * 17).contains(&more), "slot and id in each relation, not {more}");

    // The record is freed; the mutation is still counted, since it may have to be reported as rejected.
    insert(&mut generation, removals(&records));
    assert_eq!(bytes_per_shape(&generation, &[]), added + 8);
    let mut removing = Generation::default();
    insert(&mut removing, removals(&records));
    let before = removing.bytes();
    insert(&mut removing, std::iter::once(Change::Reset));
    assert_eq!(removing.bytes(), before + 8, "what is not freed yet counts");
    let condensed = removing.take_replaced().condense();
    removing.put_back(condensed);
    assert_eq!(removing.bytes(), 8, "only the reset is left");
}

#[test]
fn c7_revoked_changes_count_no_more() {
    let records = records(&[1]);
    let mut generation = Generation::default();
    insert(&mut generation, adds(&records));
    let (bytes, all) = (generation.bytes(), generation.count_delta());
    let lost = generation.revoke(7, &Hashing::default()).0;
    assert_eq!(bytes - generation.bytes(), records[7].memory());
    assert_eq!((lost.total, generation.count_delta()), (1, all - lost));
    assert_eq!(generation.revoke(7, &Hashing::default()).0.total, 0, "once");
    assert_eq!(bytes - generation.bytes(), records[7].memory());
}
