//! Cleanup tasks (C12).

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use shape_meta_core::{Change, Seq, ShapeStore, SnapshotState, conformance};

use crate::support::{Schema, add, apply, fill, remove, tasks};

#[test]
fn c12_every_shape_that_is_gone_is_a_task_until_it_is_acknowledged() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    let announced = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&announced);
    store.on_cleanup_tasks(move || {
        counter.fetch_add(1, Ordering::AcqRel);
    });
    fill(&store, 1..=4);
    assert_eq!(announced.load(Ordering::Acquire), 0);
    let handle = conformance::handle;
    let discard = Change::Discard { created: Seq::new(7), handle: handle(7) };
    // Shape 5 comes and goes in the batch, shape 6 never existed.
    apply(&store, 8, [remove(2), add(5, SnapshotState::Pending), remove(5), remove(6), discard]);
    let expected = [2, 5, 7].map(handle);
    assert_eq!((tasks(&store), announced.load(Ordering::Acquire)), (expected.to_vec(), 1));
    assert_eq!(store.pending_cleanup_tasks(), 3);
    drop(store);

    let store = schema.open("stack");
    assert_eq!((tasks(&store), store.pending_cleanup_tasks()), (expected.to_vec(), 3));
    let found = store.cleanup_tasks(None, 2).expect("reads");
    let rest = store.cleanup_tasks(found.last(), 9).expect("reads");
    assert_eq!([found.len(), rest.len()], [2, 1]);
    store.confirm_removals().expect("it is the owner");
    for _ in 0..2 {
        store.ack_cleanup(&found).expect("it is the owner");
        assert_eq!((tasks(&store), store.pending_cleanup_tasks()), (vec![handle(7)], 1));
    }
}

#[test]
fn c12_a_reset_leaves_a_task_for_each_shape() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=11_000);
    apply(
        &store,
        11_005,
        [add(11_001, SnapshotState::Pending), remove(3), Change::Reset, add(11_003, SnapshotState::Pending)],
    );
    assert_eq!(store.pending_cleanup_tasks(), 11_001);
    let found = tasks(&store);
    assert_eq!(
        (found.len(), &found[0], &found[11_000]),
        (11_001, &conformance::handle(1), &conformance::handle(11_001))
    );
    assert_eq!(crate::support::live(&store), [11_003]);
    let empty = "SELECT (SELECT count(*) FROM @definition) + (SELECT count(*) FROM @handle_lookup)";
    assert_eq!(schema.query(empty), ["2"]);
}

#[test]
fn c12_without_cleanup_tasks_a_removal_leaves_none() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open_with("stack", schema.options().cleanup_tasks(false));
    fill(&store, 1..=3);
    apply(&store, 4, [remove(1)]);
    apply(&store, 5, [Change::Reset]);
    assert!(tasks(&store).is_empty());
}

#[test]
fn c12_orphans_and_superseded_tasks() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    let handle = conformance::handle;
    fill(&store, 1..=3);
    apply(&store, 4, [remove(1)]);
    store.add_orphans(&[handle(50), handle(51)]).expect("writes");
    store.add_orphans(&[handle(52)]).expect("writes");
    assert_eq!(store.pending_cleanup_tasks(), 4);
    assert_eq!(tasks(&store), [52, 51, 50, 1].map(handle));
    let without = store.without_task(vec![handle(1), handle(50), handle(60)]).expect("reads");
    assert_eq!(without, [handle(60)], "orphans that were recorded count, too");
    // A newer shape has the handle of a task, and is stored; another one is not.
    let record = Arc::new(conformance::shape(1).record(Seq::new(6)));
    apply(&store, 6, [Change::Add { record, state: SnapshotState::Pending }]);
    let all = store.cleanup_tasks(None, 9).expect("reads");
    let newer: Vec<_> = all.iter().map(|task| (task.clone(), Seq::new(6))).collect();
    assert_eq!(store.drop_superseded_tasks(&newer).expect("writes"), 1);
    assert_eq!(tasks(&store), [52, 51, 50].map(handle));
    assert_eq!(store.resource_usage().cleanup_tasks, Some(3));
}

#[test]
fn c12_stored_data_is_trusted_once_it_was_confirmed() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    assert!(!store.is_storage_trusted().expect("reads"));
    store.trust_storage().expect("writes");
    store.trust_storage().expect("writes");
    drop(store);
    assert!(schema.open("stack").is_storage_trusted().expect("reads"));
    assert!(!schema.open("another").is_storage_trusted().expect("reads"));
    // As a dump and its restore do.
    schema.execute(
        "CREATE TABLE @restored (LIKE @stack INCLUDING ALL); INSERT INTO @restored SELECT * FROM @stack; \
         DROP TABLE @stack; ALTER TABLE @restored RENAME TO stack",
    );
    let restored = schema.open("stack");
    assert!(!restored.is_storage_trusted().expect("reads"));
    restored.trust_storage().expect("writes");
    assert!(restored.is_storage_trusted().expect("reads"));
}

#[test]
fn c9_a_damaged_task_is_found() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=1);
    apply(&store, 2, [remove(1)]);
    schema.execute("UPDATE @cleanup SET handle = 'another'");
    let error = store.cleanup_tasks(None, 9).expect_err("it is damaged");
    assert_eq!(error.kind(), shape_meta_core::ErrorKind::Corrupt);
}
