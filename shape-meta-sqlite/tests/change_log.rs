//! The change log: the changes since a sequence number.

use shape_meta_core::{
    Batch, Change, Counts, Delta, Seq, ShapeStore, ShapeStoreExt, SnapshotState, Timestamp,
};
use shape_meta_sqlite::SqliteStore;

use crate::support::{self, add, batch, record};

fn remove(number: u64) -> Change {
    Change::Remove { entry: record(number).entry.clone() }
}

fn mark(number: u64, state: SnapshotState) -> Change {
    Change::Mark { entry: record(number).entry.clone(), state }
}

fn apply(store: &SqliteStore, batch: &Batch) {
    store.apply(batch).expect("the batch applies");
}

fn since(store: &SqliteStore, seq: u64) -> Option<Delta> {
    store.changes_since(Seq::new(seq)).expect("reads")
}

/// Returns the sequence numbers of removed, marked and added shapes.
fn parts(delta: &Delta) -> (Vec<u64>, Vec<(u64, SnapshotState)>, Vec<u64>) {
    (
        delta.removed.iter().map(|one| one.get()).collect(),
        delta.marked.iter().map(|(one, state)| (one.get(), *state)).collect(),
        delta.added.iter().map(|one| one.created().get()).collect(),
    )
}

#[test]
fn a_delta_has_removals_marks_and_adds() {
    use SnapshotState::{Complete, Pending, Started};
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    assert!(since(&store, 0).is_none(), "the change log does not reach back to its creation");
    apply(&store, &batch(5, (1..=5).map(|number| add(number, Pending))));
    let delta = since(&store, 5).expect("the change log has it");
    assert_eq!((parts(&delta), delta.through, delta.reset), ((vec![], vec![], vec![]), Seq::new(5), None));

    apply(&store, &batch(8, [mark(1, Started), mark(2, Started), remove(3), add(7, Pending)]));
    apply(&store, &batch(12, [mark(1, Complete), remove(2), add(9, Complete), remove(7)]));
    apply(&store, &batch(13, []));
    let delta = since(&store, 5).expect("the change log has it");
    assert_eq!(parts(&delta), (vec![2, 3, 7], vec![(1, Complete)], vec![9]));
    assert_eq!((delta.through, delta.counts), (Seq::new(13), Counts { total: 4, indexed: 1 }));
    assert_eq!(delta.added[0].state(), Complete);
    assert_eq!(
        parts(&since(&store, 8).expect("the change log has it")).0,
        [2, 7],
        "the row of 8 itself is known: an owner appends to it at its open alone"
    );
    assert_eq!(parts(&since(&store, 13).expect("the change log has it")), (vec![], vec![], vec![]));
    assert!(since(&store, 14).is_none(), "a reader ahead of the database has read another database");
}

#[test]
fn a_batch_of_adds_leaves_no_row() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=500);
    // Added, marked and removed within one batch: no reader has seen the shape before.
    apply(
        &store,
        &batch(510, [add(501, SnapshotState::Pending), mark(501, SnapshotState::Started), remove(501)]),
    );
    let rows = support::raw_connection(directory.path())
        .query_row("SELECT count(*), sum(length(changed)) FROM change_log", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .expect("reads");
    assert_eq!(rows, (1, 0), "only the floor row is there");
}

#[test]
fn a_reset_removes_earlier_shapes_and_keeps_later_ones() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=5);
    let complete = SnapshotState::Complete;
    let pending = add(8, SnapshotState::Pending);
    apply(&store, &batch(9, [add(6, complete), remove(2), Change::Reset, pending]));
    apply(&store, &batch(11, [mark(8, complete), add(10, complete)]));
    let delta = since(&store, 5).expect("the change log has it");
    assert_eq!(delta.reset, Some(Seq::new(5)));
    assert_eq!(parts(&delta), (vec![], vec![(8, complete)], vec![8, 10]));
    // A reader that has applied the reset does not read its row again.
    let delta = since(&store, 9).expect("the change log has it");
    assert_eq!((delta.reset, parts(&delta).2), (None, vec![10]));
}

#[test]
fn a_delta_includes_the_removals_of_a_recovery() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    apply(&store, &batch(5, [add(4, SnapshotState::Started), add(5, SnapshotState::Started)]));
    apply(&store, &batch(6, [remove(2)]));
    drop(store);
    let store = support::open(directory.path(), support::options());
    store.recover().expect("the recovery succeeds");
    for seq in [5, 6] {
        assert_eq!(parts(&since(&store, seq).expect("the change log has it")).0, [2, 4, 5]);
    }
    assert_eq!(parts(&since(&store, 3).expect("the change log has it")), (vec![2, 4, 5], vec![], vec![]));
}

#[test]
fn an_add_out_of_order_forces_a_full_reload() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    apply(&store, &batch(6, [remove(1)]));
    // As after a flush that was split into several transactions.
    apply(&store, &batch(7, [add(5, SnapshotState::Complete)]));
    for seq in [3, 6] {
        assert!(since(&store, seq).is_none(), "since {seq}");
    }
    apply(&store, &batch(8, [remove(5)]));
    assert!(since(&store, 6).is_none());
    assert_eq!(parts(&since(&store, 7).expect("a reader at 7 has seen the shape")).0, [5]);
    assert!(parts(&since(&store, 8).expect("the change log has it")).0.is_empty());
}

#[test]
fn a_damaged_row_of_the_change_log_yields_no_delta() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    apply(&store, &batch(4, [remove(1)]));
    for damaged in [&[0x80][..], &[0xff; 20], &[6]] {
        let connection = support::raw_connection(directory.path());
        connection
            .execute("UPDATE change_log SET changed = ?1 WHERE through = 4", [damaged])
            .expect("writes");
        assert!(since(&store, 3).is_none(), "{damaged:?}");
    }
}

#[test]
fn a_delta_includes_last_reads_of_added_shapes() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=4);
    apply(&store, &batch(5, [remove(4)]));
    let at = Timestamp::from_micros(77);
    let reads = [1, 3, 4, 9].map(|number| (Seq::new(number), at));
    store.save_reads(&reads).expect("the batch applies");
    let mut saved = Vec::new();
    store.saved_reads(&mut |id, at| saved.push((id.get(), at))).expect("reads");
    assert_eq!(saved, [(1, at), (3, at)], "last reads of removed shapes are not saved");
    support::fill(&store, 6..=7);
    store
        .save_reads(&[(Seq::new(1), Timestamp::from_micros(5)), (Seq::new(7), at)])
        .expect("the batch applies");
    let delta = since(&store, 5).expect("the change log has it");
    let times: Vec<_> = delta.added.iter().map(|entry| entry.last_read()).collect();
    assert_eq!(times, [None, Some(at)]);
    apply(&store, &batch(8, [remove(1)]));
    saved.clear();
    store.saved_reads(&mut |id, at| saved.push((id.get(), at))).expect("reads");
    assert_eq!(saved, [(3, at), (7, at)]);
    apply(&store, &batch(9, [Change::Reset]));
    saved.clear();
    store.saved_reads(&mut |id, at| saved.push((id.get(), at))).expect("reads");
    assert_eq!(saved, []);
}
