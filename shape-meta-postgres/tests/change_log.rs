//! The change log: the changes since a sequence number.

use shape_meta_core::{Change, Counts, Delta, Seq, ShapeStoreExt, SnapshotState};
use shape_meta_postgres::PostgresStore;

use crate::support::{Schema, add, apply, fill, mark, remove};

fn since(store: &PostgresStore, seq: u64) -> Option<Delta> {
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
fn c6_a_delta_has_removals_marks_and_adds() {
    use SnapshotState::{Complete, Pending, Started};
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    assert!(since(&store, 0).is_none(), "the change log does not reach back to its creation");
    apply(&store, 5, (1..=5).map(|number| add(number, Pending)));
    let delta = since(&store, 5).expect("the change log has it");
    assert_eq!((parts(&delta), delta.through, delta.reset), ((vec![], vec![], vec![]), Seq::new(5), None));

    apply(&store, 8, [mark(1, Started), mark(2, Started), remove(3), add(7, Pending)]);
    apply(&store, 12, [mark(1, Complete), remove(2), add(9, Complete), remove(7)]);
    apply(&store, 13, []);
    let delta = since(&store, 5).expect("the change log has it");
    assert_eq!(parts(&delta), (vec![2, 3, 7], vec![(1, Complete)], vec![9]));
    assert_eq!((delta.through, delta.counts), (Seq::new(13), Counts { total: 4, indexed: 1 }));
    assert_eq!(delta.added[0].state(), Complete);
    let delta = since(&store, 8).expect("the change log has it");
    assert_eq!(parts(&delta).0, [2, 3, 7], "the last row is repeated (I6)");
    let delta = since(&store, 13).expect("the change log has it");
    assert_eq!(parts(&delta), (vec![], vec![], vec![]));
    assert!(since(&store, 14).is_none(), "a reader ahead of the stack has read another one");

    apply(&store, 20, [Change::Reset, add(15, Pending)]);
    let delta = since(&store, 5).expect("the change log has it");
    assert_eq!((delta.reset, parts(&delta)), (Some(Seq::new(13)), (vec![], vec![], vec![15])));
}

#[test]
fn c7_the_log_is_trimmed_and_older_readers_reload() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=10);
    // Each row holds the removal of shapes far back, in four bytes.
    schema.execute(
        "INSERT INTO @change_log SELECT (SELECT id FROM @stack), 100 + row, convert_to(repeat('x', 100000), 'UTF8'), 0 \
         FROM generate_series(1, 30) AS row",
    );
    drop(store);
    let store = schema.open("stack");
    apply(&store, 1_000, [remove(1)]);
    let kept: u64 =
        schema.query("SELECT sum(length(changed)) FROM @change_log")[0].parse().expect("a number");
    assert!((1 << 20..(1 << 20) + 200_000).contains(&kept), "{kept}");
    assert!(since(&store, 10).is_none(), "the floor is later");
    assert_eq!(parts(&since(&store, 1_000).expect("the change log has it")).0, [1]);
}

#[test]
fn c9_a_damaged_row_of_the_log_makes_readers_reload() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=5);
    apply(&store, 6, [remove(1)]);
    assert!(since(&store, 5).is_some());
    schema.execute("UPDATE @change_log SET changed = changed || '\\x01'::bytea WHERE through = 6");
    assert!(since(&store, 5).is_none());
    // A recovery appends to the damaged row, and begins the log anew.
    store.recover().expect("it recovers");
    apply(&store, 8, [add(7, SnapshotState::Pending)]);
    store.recover().expect("it recovers");
    assert!(since(&store, 6).is_none());
}
