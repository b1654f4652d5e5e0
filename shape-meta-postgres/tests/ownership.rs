//! Two openings of one stack, restores, and stacks that are dropped (C11, C13).

use std::sync::Arc;

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    ErrorKind, HealthState, LastReadStore, MutateShapesExt, NoopObserver, ReadShapes, Seq, ShapeStore,
    SnapshotState, StoreControl, Timestamp, Wait, conformance,
};
use shape_meta_postgres::{CleanupTask, PostgresStore};

use crate::support::{self, Schema, add, batch, fill, live, remove};

/// Every way in which a store writes.
fn writes(store: &PostgresStore, tasks: &[CleanupTask]) -> Vec<shape_meta_core::Result<()>> {
    vec![
        store.apply(&batch(100, [add(100, SnapshotState::Pending)])),
        store.apply(&batch(100, [])),
        store.apply(&batch(1, [])),
        store.save(&[(Seq::new(2), Timestamp::from_micros(5))]),
        store.recover().map(drop),
        store.ack_cleanup(tasks),
        store.drop_superseded_tasks(&[(tasks[0].clone(), Seq::new(2))]).map(drop),
        store.add_orphans(&[conformance::handle(77)]),
        store.trust_storage(),
        store.confirm_removals(),
    ]
}

#[track_caller]
fn assert_fenced(store: &PostgresStore, tasks: &[CleanupTask], text: &str) {
    for (at, write) in writes(store, tasks).into_iter().enumerate() {
        let error = write.expect_err("it is fenced");
        assert_eq!(error.kind(), ErrorKind::Fenced, "write {at}: {error}");
        assert!(error.to_string().contains(text), "write {at}: {error}");
    }
}

fn with_a_task(schema: &Schema, stack: &str) -> PostgresStore {
    let store = schema.open(stack);
    fill(&store, 1..=3);
    support::apply(&store, 4, [remove(1)]);
    store
}

#[test]
fn c11_the_second_opening_fences_the_first() {
    let Some(schema) = Schema::new() else { return };
    let first = with_a_task(&schema, "stack");
    let second = schema.open("stack");
    let tasks = first.cleanup_tasks(None, 1).expect("a fenced store reads");
    assert_fenced(&first, &tasks, "a newer owner");
    assert_eq!(live(&first), [2, 3], "it can still read");
    fill(&second, 5..=6);
    assert_eq!(live(&second), [2, 3, 5, 6]);
    assert_eq!(schema.query("SELECT last_seq FROM @stack"), ["6"]);
    let third = schema.open("stack");
    assert_fenced(&second, &tasks, "a newer owner");
    fill(&third, 7..=7);
}

#[test]
fn c11_a_fenced_buffer_stops_and_confirms_nothing() {
    let Some(schema) = Schema::new() else { return };
    let options = BufferOptions::default().background_flush(false);
    let first = Buffered::new(schema.open("stack"), options, Arc::new(NoopObserver)).expect("it opens");
    first.add(conformance::shape(1), Wait::No).expect("it is accepted");
    first.flush_once().expect("it is the owner");
    let second = schema.open("stack");
    let receipt = first.add(conformance::shape(2), Wait::No).expect("memory accepts it");
    assert!(first.flush_once().is_err());
    assert!(!receipt.is_durable());
    assert!(matches!(first.health().state, HealthState::Fenced { .. }), "{:?}", first.health());
    assert_eq!(live(&second), [1]);
}

#[test]
fn c13_a_stack_that_was_dropped_or_made_anew_is_noticed() {
    let Some(schema) = Schema::new() else { return };
    let store = with_a_task(&schema, "stack");
    let tasks = store.cleanup_tasks(None, 1).expect("reads");
    schema.execute("UPDATE @stack SET name = 'other'");
    let anew = schema.open("stack");
    assert!(anew.report().created);
    fill(&anew, 1..=1);
    // The old one goes on under its new name: nothing is known by names.
    support::apply(&store, 5, [add(5, SnapshotState::Pending)]);
    schema.execute("DELETE FROM @stack WHERE name = 'other'");
    let error = store.apply(&batch(6, [])).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("dropped"), "{error}");
    assert_eq!(store.last_seq().expect_err("it is gone").kind(), ErrorKind::Fenced);
    assert!(store.ack_cleanup(&tasks).is_err());
    // Another stack with the same number is another stack.
    schema.execute("UPDATE @stack SET id = (SELECT min(stack) FROM @shape) WHERE name = 'stack'");
    assert!(store.apply(&batch(6, [])).is_err());
    assert_eq!(anew.last_seq().expect_err("its number is another one").kind(), ErrorKind::Fenced);
}

/// A database that was restored shows the row of the stack as it was at an earlier time.
#[test]
fn c13_a_restored_database_is_noticed_by_writes_and_new_connections() {
    let Some(schema) = Schema::new() else { return };
    let save = "DROP TABLE IF EXISTS @saved; CREATE TABLE @saved AS SELECT * FROM @stack";
    let restore = "DELETE FROM @stack; INSERT INTO @stack SELECT * FROM @saved";

    let store = with_a_task(&schema, "stack");
    let tasks = store.cleanup_tasks(None, 1).expect("reads");
    schema.execute(save);
    support::apply(&store, 9, [add(9, SnapshotState::Pending)]);
    schema.execute(restore);
    for (at, write) in writes(&store, &tasks).into_iter().enumerate() {
        let error = write.expect_err("it is behind what was confirmed");
        assert_eq!(error.kind(), ErrorKind::Io, "write {at}: {error}");
        assert!(error.to_string().contains("sequence number 4, but 9"), "{error}");
    }
    // Restored to a state in which another opening owned it.
    schema.execute(save);
    let newer = schema.open("stack");
    schema.execute(restore);
    assert_fenced(&newer, &tasks, "restored");
}

fn schema_connection() -> String {
    shape_meta_testing_postgres::shared().expect("there is a server").to_owned()
}

#[test]
fn c13_a_new_connection_to_an_older_state_serves_nothing() {
    let Some(schema) = Schema::new() else { return };
    let pool = shape_meta_postgres::PostgresPool::new(
        support::pool_options(&schema_connection()).idle_timeout(std::time::Duration::from_millis(1)),
    );
    let pool = pool.expect("the thread starts");
    let store = support::open(&pool, "stack", schema.options()).expect("it opens");
    fill(&store, 1..=3);
    schema.execute("CREATE TABLE @saved AS SELECT * FROM @stack");
    fill(&store, 4..=6);
    schema.execute("DELETE FROM @stack; INSERT INTO @stack SELECT * FROM @saved");
    support::wait_until("idle connections are closed", || pool.usage().idle == 0);
    let error = store.metadata(&conformance::handle(1)).expect_err("it is behind what was confirmed");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("sequence number 3, but 6"), "{error}");
    assert!(store.scan().is_err());
    // An open takes what is there.
    drop(store);
    assert_eq!(schema.open("stack").report().last_seq, Seq::new(3));
}
