//! Rows that were damaged, or edited by another program (C9, C11).

use shape_meta_core::{ErrorKind, ReadShapes, ShapeStore, SnapshotState, conformance};

use crate::support::{self, Schema, add, batch, fill, record};

#[test]
fn c9_every_damaged_column_is_found_when_its_row_is_read() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=3);
    let handle = conformance::handle(2);
    for damage in [
        "UPDATE @shape SET key = set_byte(key, 3, 7) WHERE id = 2",
        "UPDATE @shape SET hash = hash + 1 WHERE id = 2",
        "UPDATE @shape SET state = 1 WHERE id = 2",
        "UPDATE @shape SET state = 2 WHERE id = 2",
        "UPDATE @shape SET indexed = NOT indexed WHERE id = 2",
        "UPDATE @shape SET relations = relations || '\\x01'::bytea WHERE id = 2",
        "UPDATE @shape SET relations = '\\x01020304'::bytea WHERE id = 2",
        "UPDATE @shape SET checksum = checksum + 1 WHERE id = 2",
        "UPDATE @shape SET handle = '' WHERE id = 2",
        "UPDATE @definition SET body = body || '\\x00'::bytea WHERE id = 2",
        "UPDATE @definition SET dependencies = '\\x00'::bytea WHERE id = 2",
        "UPDATE @definition SET checksum = checksum + 1 WHERE id = 2",
        "DELETE FROM @definition WHERE id = 2",
        "UPDATE @definition SET body = (SELECT body FROM @definition WHERE id = 3) WHERE id = 2",
    ] {
        schema.execute(
            "CREATE TABLE @shapes AS SELECT * FROM @shape; CREATE TABLE @definitions AS SELECT * FROM @definition",
        );
        schema.execute(damage);
        // The list goes on after the damaged shape.
        let scanned: Vec<_> = store.scan().expect("it opens").collect();
        assert_eq!(scanned.len(), 3, "{damage}");
        let error = scanned[1].as_ref().expect_err(damage);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}: {error}");
        assert!(error.to_string().contains("shape 2"), "{error}");
        assert!(scanned[0].is_ok() && scanned[2].is_ok());
        let is_definition = damage.contains("@definition");
        let record = store.record_of(&record(2).entry);
        match is_definition {
            true => assert_eq!(record.expect_err(damage).kind(), ErrorKind::Corrupt),
            false => assert!(record.is_ok(), "a definition is verified with its own entry"),
        }
        if !damage.contains("handle") {
            let served = store.record(&handle).map(|record| record.is_some());
            assert_eq!(served.expect_err(damage).kind(), ErrorKind::Corrupt, "{damage}");
        }
        let loaded = store.load(&mut |_| ());
        assert_eq!(loaded.is_ok(), is_definition, "{damage}");
        schema.execute(
            "DELETE FROM @shape; INSERT INTO @shape SELECT * FROM @shapes; DELETE FROM @definition; \
             INSERT INTO @definition SELECT * FROM @definitions; DROP TABLE @shapes, @definitions",
        );
        assert_eq!(support::live(&store), [1, 2, 3]);
    }
}

#[test]
fn c11_a_damaged_row_of_the_stack_stops_writing() {
    let Some(schema) = Schema::new() else { return };
    for damage in ["last_seq = last_seq + 1", "total = 77", "indexed = -1", "opening_id = '\\x00'::bytea"] {
        let name = support::unique("stack");
        let store = schema.open(&name);
        fill(&store, 1..=2);
        schema.execute(&format!("UPDATE @stack SET {damage} WHERE name = '{name}'"));
        let change = batch(3, [add(3, SnapshotState::Pending)]);
        let error = store.apply(&change).expect_err(damage);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}: {error}");
        let opened = support::open(&schema.pool, &name, schema.options());
        assert_eq!(opened.expect_err(damage).kind(), ErrorKind::Corrupt, "{damage}");
    }
}

#[test]
fn c9_tables_that_another_program_has_changed_are_named() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=2);
    let change = batch(3, [add(3, SnapshotState::Pending)]);
    schema.execute("ALTER TABLE @definition RENAME TO elsewhere");
    let error = store.apply(&change).expect_err("the table is gone");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("definition"), "{error}");
    assert_eq!(store.counts().expect("reads").total, 2, "what does not need it goes on");
    schema.execute("ALTER TABLE @elsewhere RENAME TO definition");
    store.apply(&change).expect("it is back");
    // A prepared statement whose result has changed is prepared again.
    schema.execute("ALTER TABLE @shape ALTER COLUMN state TYPE integer");
    support::wait_until("the statement is prepared again", || {
        store
            .metadata(&conformance::handle(1))
            .map_or_else(|error| error.kind() == ErrorKind::Corrupt, |_| false)
    });
    schema.execute("ALTER TABLE @shape ALTER COLUMN state TYPE smallint");
    support::wait_until("the statement is prepared again", || {
        store.metadata(&conformance::handle(1)).is_ok()
    });
    assert_eq!(support::live(&store), [1, 2, 3]);
}
