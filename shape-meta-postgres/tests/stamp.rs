//! The stamp of the application: a stack with another one is kept, refused or emptied. And the time of
//! creation in tables of version 1.

use std::sync::Arc;

use shape_meta_core::{
    Change, Entry, ErrorKind, OnOtherStamp, ReadShapes, Record, Seq, ShapeStore, SnapshotState, Stamp,
    StampCheck, StampOutcome, conformance,
};
use shape_meta_postgres::PostgresOptions;

use crate::support::{self, Schema};

fn stamped(schema: &Schema, version: u64, reaction: OnOtherStamp) -> PostgresOptions {
    let check = StampCheck::new(Stamp::of_postgres(version, 7, 1, "app")).on_other_version(reaction);
    schema.options().stamp(check)
}

#[test]
fn c12_a_stack_with_another_stamp_is_refused_kept_or_emptied() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open_with("main", stamped(&schema, 1, OnOtherStamp::Refuse));
    assert_eq!(store.report().stamp, StampOutcome::Recorded);
    let adds = (1..=5).map(|number| support::add(number, SnapshotState::Complete));
    store.apply(&support::batch(5, adds)).expect("the batch applies");
    let epoch = store.report().epoch;

    let error = support::open(&schema.pool, "main", stamped(&schema, 2, OnOtherStamp::Refuse))
        .expect_err("it has another stamp");
    assert_eq!(error.kind(), ErrorKind::OtherStamp);
    assert!(error.to_string().contains("version 1 of source \"7/1/app\""), "{error}");
    assert_eq!(store.counts().expect("it is not fenced").total, 5);

    let found = Stamp::of_postgres(1, 7, 1, "app");
    let store = schema.open_with("main", stamped(&schema, 2, OnOtherStamp::Keep));
    assert_eq!(store.report().epoch, epoch + 1, "the refused open has not taken the stack over");
    assert_eq!(store.report().stamp, StampOutcome::Kept { found });
    assert_eq!(store.counts().expect("reads").total, 5);

    let found = Stamp::of_postgres(2, 7, 1, "app");
    let options = stamped(&schema, 3, OnOtherStamp::RemoveAll);
    let store = schema.open_with("main", options.clone());
    assert_eq!(store.report().stamp, StampOutcome::RemovedAll { found, removed: 5 });
    assert_eq!(store.report().counts.total, 0);
    assert_eq!(store.counts().expect("reads").total, 0);
    let tasks = store.cleanup_tasks(None, 9).expect("reads");
    let handles: Vec<_> = tasks.iter().map(|task| task.handle().clone()).collect();
    assert_eq!(handles, [1, 2, 3, 4, 5].map(conformance::handle));
    assert_eq!(schema.open_with("main", options).report().stamp, StampOutcome::Unchanged);
    // Each stack has its own.
    let other = schema.open_with("other", stamped(&schema, 9, OnOtherStamp::Refuse));
    assert_eq!(other.report().stamp, StampOutcome::Recorded);
}

#[test]
fn c11_tables_of_version_1_are_migrated_and_their_times_are_unknown() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("main");
    // As version 1 has written it.
    let Record { entry, dependencies, definition } = Record::clone(&support::record(1));
    let (handle, relations) = (entry.handle().clone(), entry.relations().to_vec().into());
    let entry = Entry::new(Seq::new(1), handle, *entry.key(), entry.hash(), relations, entry.is_indexed());
    let record = Arc::new(Record { entry: Arc::new(entry), dependencies, definition });
    let change = Change::Add { record, state: SnapshotState::Complete };
    store.apply(&support::batch(1, [change])).expect("the batch applies");
    schema.execute(
        "DROP TABLE @stamp; ALTER TABLE @shape DROP COLUMN created_at; UPDATE @key_lookup SET hash = 7; \
         UPDATE @format SET version = 1",
    );

    let store = schema.open("main");
    assert_eq!(store.report().migrated_from, Some(1));
    let adds = (2..=100).map(|number| support::add(number, SnapshotState::Complete));
    store.apply(&support::batch(100, adds)).expect("the batch applies");
    store.apply(&support::batch(101, [support::add(101, SnapshotState::Complete)])).expect("applies");
    for number in [1, 2, 100, 101] {
        let record = store.record(&conformance::handle(number)).expect("reads").expect("it is live");
        let new = conformance::shape(number);
        assert_eq!(store.handle_for(&new.key).expect("reads"), Some(new.handle), "shape {number}");
        let known = new.created_at.filter(|_| number > 1);
        assert_eq!(record.entry.created_at(), known, "shape {number}");
    }
}
