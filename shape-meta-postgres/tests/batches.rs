//! Batches: every way to write them leaves the same rows.

use std::sync::Arc;

use shape_meta_core::{
    Change, ErrorKind, NewShape, ReadShapes, Seq, ShapeStore, SnapshotState,
    conformance::{self, View},
};

use crate::support::{Schema, add, apply, batch, fill, live, mark, remove};

/// Fewer shapes are inserted, more are copied.
#[test]
fn c5_copied_and_inserted_shapes_are_equal() {
    let Some(schema) = Schema::new() else { return };
    let [copied, inserted] = ["copied", "inserted"].map(|name| schema.open(name));
    let shape = |number: u64| {
        let shape = NewShape {
            relations: conformance::relations(&(0..number as u32 % 4).collect::<Vec<_>>()),
            dependencies: (0..number % 3).map(conformance::key).collect(),
            definition: vec![number as u8; number as usize % 300].into(),
            ..conformance::shape(number)
        };
        let state =
            [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete][number as usize % 3];
        Change::Add { record: Arc::new(shape.record(Seq::new(number))), state }
    };
    apply(&copied, 500, (1..=500).map(shape));
    for number in 1..=500 {
        if number % 50 == 0 {
            apply(&inserted, number, (number - 49..=number).map(shape));
        }
    }
    assert_eq!(View::of(&copied), View::of(&inserted));
    for table in ["shape", "definition", "handle_lookup", "key_lookup", "relation_lookup"] {
        let rows = |stack: &str| {
            schema.query(&format!(
                "SELECT (to_jsonb(t) - 'stack')::text FROM @{table} t JOIN @stack s ON s.id = t.stack \
                 WHERE s.name = '{stack}' ORDER BY 1"
            ))
        };
        assert_eq!(rows("copied"), rows("inserted"), "{table}");
        assert!(!rows("copied").is_empty());
    }
}

/// After a flush that was split, a batch may contain shapes that are stored already.
#[test]
fn i6_a_batch_with_shapes_that_are_stored_adds_the_others() {
    let Some(schema) = Schema::new() else { return };
    for (name, last) in [("inserted", 20), ("copied", 200)] {
        let store = schema.open(name);
        fill(&store, 1..=5);
        apply(&store, last, (3..=last).map(|number| add(number, SnapshotState::Complete)).chain([remove(4)]));
        let expected: Vec<_> = (1..=last).filter(|number| *number != 4).collect();
        assert_eq!(live(&store), expected, "{name}");
        assert_eq!(store.counts().expect("reads").total, last - 1);
        // A batch leaves a stored shape in the state that it would leave a new one in.
        apply(&store, last + 2, [add(last + 2, SnapshotState::Pending)]);
        apply(
            &store,
            last + 3,
            [add(last + 2, SnapshotState::Pending), mark(last + 2, SnapshotState::Started)],
        );
        let found = store.metadata(&conformance::handle(last + 2)).expect("reads").expect("it is live");
        assert_eq!(found.state, SnapshotState::Started);
        apply(&store, last + 4, [add(last + 2, SnapshotState::Pending), remove(last + 2)]);
        assert_eq!(live(&store), expected, "{name}");
    }
}

/// The flusher isolates the change that the error names, and commits the rest in one transaction.
#[test]
fn c8_the_change_that_the_server_rejects_is_named() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=2);
    schema.execute("ALTER TABLE @definition ADD CHECK (body <> convert_to('definition 77', 'UTF8'))");
    for (before, last) in [(3, 80), (3, 300), (77, 77), (77, 200)] {
        let changes = (before..=last).map(|number| add(number, SnapshotState::Pending));
        let error = store.apply(&batch(last, changes)).expect_err("one of them is rejected");
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert_eq!(error.rejected_seq(), Some(Seq::new(77)), "of {before} to {last}");
        assert_eq!(live(&store), [1, 2], "nothing of it is committed");
    }
    let others = (3..=300).filter(|number| *number != 77).map(|number| add(number, SnapshotState::Pending));
    apply(&store, 300, others);
    // What no added shape causes, none is named for.
    schema.execute("ALTER TABLE @shape ADD CHECK (state <> 3 OR id < 3)");
    let changes = (301..=400)
        .map(|number| add(number, SnapshotState::Pending))
        .chain([mark(9, SnapshotState::Complete)]);
    let error = store.apply(&batch(400, changes)).expect_err("the mark is rejected");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, None));
}

#[test]
fn c8_what_cannot_be_stored_is_rejected_by_name() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    let record = Arc::new(conformance::shape(1).record(Seq::new(u64::MAX)));
    let changes = [add(1, SnapshotState::Pending), Change::Add { record, state: SnapshotState::Pending }];
    let error = store.apply(&batch(9, changes)).expect_err("it has no id");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(u64::MAX))));
    assert_eq!(live(&store), [0_u64; 0]);
    // Looked up, it is not there.
    let entry = &crate::support::record(3).entry;
    assert!(store.record_of(entry).expect("reads").is_none());
    assert!(store.metadata("a\0b").expect("reads").is_none());
}
