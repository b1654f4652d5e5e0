//! Recovery after an open.

use shape_meta_core::{Change, Counts, ReadShapes, Seq, ShapeStoreExt, SnapshotState, conformance};

use crate::support::{Schema, add, apply, fill, live, tasks};

#[test]
fn c6_shapes_without_a_complete_snapshot_are_removed() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=3);
    apply(
        &store,
        6,
        [add(4, SnapshotState::Pending), add(5, SnapshotState::Started), add(6, SnapshotState::Complete)],
    );
    drop(store);
    let store = schema.open("stack");
    let recovery = store.recover().expect("it recovers");
    assert_eq!((recovery.valid, recovery.cleanup_tasks), (4, 2));
    assert_eq!(recovery.removed, [4, 5].map(conformance::handle));
    assert_eq!(tasks(&store), recovery.removed);
    assert_eq!(live(&store), [1, 2, 3, 6]);
    assert_eq!(store.counts().expect("reads"), Counts { total: 4, indexed: 2 });
    assert_eq!(store.last_seq().expect("reads"), Seq::new(6), "a recovery takes no sequence number");
    assert_eq!(store.handle_for(&conformance::key(4)).expect("reads"), None);
    // A standby at this sequence number learns of it.
    let delta = store.changes_since(Seq::new(6)).expect("reads").expect("the log has it");
    assert_eq!(delta.removed, [4, 5].map(Seq::new));
    let again = store.recover().expect("it recovers");
    assert_eq!((again.valid, again.removed.len(), again.cleanup_tasks), (4, 0, 2));
}

#[test]
fn c12_a_task_of_a_live_shape_is_dropped() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    apply(&store, 1, [add(1, SnapshotState::Complete)]);
    let again = Change::Add {
        record: std::sync::Arc::new(conformance::shape(1).record(Seq::new(3))),
        state: SnapshotState::Complete,
    };
    apply(&store, 3, [crate::support::remove(1), again]);
    assert_eq!(tasks(&store), [conformance::handle(1)]);
    drop(store);
    let store = schema.open("stack");
    assert_eq!(store.pending_cleanup_tasks(), 1);
    assert_eq!(store.recover().expect("it recovers").cleanup_tasks, 0);
    assert_eq!((tasks(&store), live(&store)), (vec![], vec![3]));
}
