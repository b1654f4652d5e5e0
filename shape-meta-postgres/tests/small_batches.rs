//! Small batches of adds to a stack without look-ups, which are one statement, and the commits that are sent
//! with the last statement.

use shape_meta_core::{ErrorKind, ReadShapes, Seq, ShapeStore, SnapshotState};
use shape_meta_postgres::PostgresStore;

use crate::support::{self, Schema, add, apply, batch, fill, live, mark, remove};

/// Records the statements that write to the rows of stacks.
fn record_statements(schema: &Schema) {
    schema.execute(
        "CREATE TABLE @statements (id bigint GENERATED ALWAYS AS IDENTITY, text text);
         CREATE FUNCTION @records() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO @statements (text) VALUES (current_query()); RETURN NEW; END $$;
         CREATE TRIGGER records BEFORE UPDATE ON @stack FOR EACH ROW EXECUTE FUNCTION @records()",
    );
}

/// Returns for each of them, oldest first, whether it wrote a whole batch.
fn whole_batches(schema: &Schema) -> Vec<bool> {
    let texts = schema.query("SELECT text FROM @statements ORDER BY id");
    texts.iter().map(|text| text.contains("definition")).collect()
}

fn rows(schema: &Schema, table: &str) -> Vec<String> {
    schema.query(&format!("SELECT to_jsonb(t)::text FROM @{table} t ORDER BY 1"))
}

#[test]
fn c5_one_statement_and_a_transaction_leave_the_same_rows() {
    let Some(schema) = Schema::new() else { return };
    let [small, large] = ["small", "large"].map(|name| schema.open_below_cache(name));
    let state = |number| [SnapshotState::Pending, SnapshotState::Started][number as usize % 2];
    record_statements(&schema);
    for number in 1..=40 {
        apply(&small, 10 * number, (10 * number - 9..=10 * number).map(|one| add(one, state(one))));
    }
    assert_eq!(whole_batches(&schema), [true; 40]);
    apply(&large, 400, (1..=400).map(|number| add(number, state(number))));
    assert!(!whole_batches(&schema)[40], "it is a large one");
    for table in ["shape", "definition"] {
        let rows = |stack: &str| {
            schema.query(&format!(
                "SELECT (to_jsonb(t) - 'stack')::text FROM @{table} t JOIN @stack s ON s.id = t.stack \
                 WHERE s.name = '{stack}' ORDER BY 1"
            ))
        };
        assert_eq!(rows("small"), rows("large"), "{table}");
        assert_eq!(rows("small").len(), 400);
    }
    let counts = |store: &PostgresStore| store.counts().expect("reads");
    assert_eq!(counts(&small), counts(&large));
    // What removes, marks, or adds what may be stored already, is a transaction.
    apply(&small, 401, [remove(1)]);
    apply(&small, 402, [mark(2, SnapshotState::Complete)]);
    apply(&small, 403, [add(403, SnapshotState::Pending), add(7, SnapshotState::Pending)]);
    assert_eq!(whole_batches(&schema)[41..], [false; 3]);
    apply(&small, 404, [add(404, SnapshotState::Pending)]);
    assert!(whole_batches(&schema)[44], "the counts after each of them are known");
    assert_eq!(counts(&small).total, 401);
}

#[test]
fn c11_a_small_batch_of_a_fenced_owner_writes_nothing() {
    let Some(schema) = Schema::new() else { return };
    let first = schema.open_below_cache("stack");
    fill(&first, 1..=3);
    let second = schema.open_below_cache("stack");
    let before = ["stack", "shape", "definition"].map(|table| rows(&schema, table));
    let error = first.apply(&batch(4, [add(4, SnapshotState::Pending)])).expect_err("it is fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert!(error.to_string().contains("a newer owner"), "{error}");
    assert_eq!(["stack", "shape", "definition"].map(|table| rows(&schema, table)), before);
    fill(&second, 4..=5);
    assert_eq!(live(&second), [1, 2, 3, 4, 5]);
}

/// Each difference between the row of the stack and what is known of it has the error that any other batch
/// has.
#[test]
fn c11_c13_a_small_batch_writes_nothing_to_another_state() {
    let Some(schema) = Schema::new() else { return };
    for (damage, kind) in [
        ("last_seq = last_seq + 1", ErrorKind::Corrupt),
        ("total = 77", ErrorKind::Corrupt),
        ("indexed = indexed + 1", ErrorKind::Corrupt),
        ("checksum = checksum + 1", ErrorKind::Corrupt),
        ("database_id = decode(repeat('07', 16), 'hex')", ErrorKind::Corrupt),
        ("opening_id = decode(repeat('07', 16), 'hex')", ErrorKind::Corrupt),
        ("epoch = epoch + 1", ErrorKind::Corrupt),
        ("id = id + 1000", ErrorKind::Fenced),
    ] {
        let name = support::unique("stack");
        let store = schema.open_below_cache(&name);
        fill(&store, 1..=2);
        schema.execute(&format!("UPDATE @stack SET {damage} WHERE name = '{name}'"));
        let before = rows(&schema, "shape");
        let error = store.apply(&batch(3, [add(3, SnapshotState::Pending)])).expect_err(damage);
        assert_eq!(error.kind(), kind, "{damage}: {error}");
        assert_eq!(rows(&schema, "shape"), before, "{damage}");
    }
}

#[test]
fn c8_a_bad_row_of_a_small_batch_is_named_with_its_own_error() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open_below_cache("stack");
    fill(&store, 1..=2);
    schema.execute(
        "ALTER TABLE @definition ADD CONSTRAINT refused CHECK (body <> convert_to('definition 5', 'UTF8'))",
    );
    let adds = |last| (3..=last).map(|number| add(number, SnapshotState::Pending));
    let error = store.apply(&batch(9, adds(9))).expect_err("one of them is rejected");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(5))), "{error}");
    assert!(error.to_string().contains("refused"), "it names the reason: {error}");
    assert_eq!(live(&store), [1, 2], "nothing of it is committed");
    record_statements(&schema);
    apply(&store, 9, (6..=9).map(|number| add(number, SnapshotState::Pending)));
    assert_eq!(whole_batches(&schema), [true], "the rest is committed at once");
}

/// The server answers the statement before it commits.
#[test]
fn c6_what_fails_at_the_commit_itself_is_not_confirmed() {
    let Some(schema) = Schema::new() else { return };
    let stores = [schema.open_below_cache("one statement"), schema.open("a transaction")];
    schema.execute(
        "CREATE FUNCTION @fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'it fails at the end'; END $$;
         CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON @shape DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION @fails()",
    );
    for store in &stores {
        let error = store.apply(&batch(2, [add(1, SnapshotState::Pending)])).expect_err("it is rolled back");
        assert!(error.to_string().contains("it fails at the end"), "{error}");
        assert_eq!((live(store), store.last_seq().expect("reads")), (vec![], Seq::ZERO));
    }
    schema.execute("DROP TRIGGER fails ON @shape");
    for store in &stores {
        fill(store, 1..=3);
        assert_eq!(live(store), [1, 2, 3]);
    }
}

/// The commit is on its way when the last statement is executed, so that statement fails by itself.
#[test]
fn c11_a_commit_behind_a_statement_without_effect_commits_nothing() {
    let Some(schema) = Schema::new() else { return };
    let names = ["one statement", "a transaction", "copies"];
    let stores = names.map(|name| match name {
        "one statement" => schema.open_below_cache(name),
        _ => schema.open(name),
    });
    stores.iter().for_each(|store| fill(store, 1..=2));
    schema.execute(
        "CREATE FUNCTION @skips() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER skips BEFORE UPDATE ON @stack FOR EACH ROW EXECUTE FUNCTION @skips()",
    );
    for (name, store) in names.iter().zip(&stores) {
        let last = if *name == "copies" { 300 } else { 3 };
        let adds = (3..=last).map(|number| add(number, SnapshotState::Pending));
        let error = store.apply(&batch(last, adds)).expect_err("no row is changed");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{name}: {error}");
        assert_eq!((live(store), store.last_seq().expect("reads")), (vec![1, 2], Seq::new(2)));
    }
    assert_eq!(schema.query("SELECT id FROM @shape WHERE id > 2"), [""; 0]);
    schema.execute("DROP TRIGGER skips ON @stack");
    stores.iter().for_each(|store| fill(store, 3..=3));
}

/// The statements that were sent behind one that fails do so as well, for another reason.
#[test]
fn c8_the_first_error_of_statements_that_were_sent_together_counts() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=2);
    schema.execute("ALTER TABLE @shape ADD CONSTRAINT refused CHECK (id <> 4)");
    let error = store.apply(&batch(4, [add(3, SnapshotState::Pending), add(4, SnapshotState::Pending)]));
    let error = error.expect_err("one of them is rejected");
    assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, Some(Seq::new(4))), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert_eq!(live(&store), [1, 2]);
}

/// A copy that the server refuses before its rows arrive leaves the library and the server out of step.
#[test]
fn c9_a_connection_whose_copies_have_failed_is_not_used_again() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=200);
    assert_eq!(schema.pool.usage().idle, 1);
    for table in ["shape", "definition"] {
        schema.execute(&format!(
            "CREATE FUNCTION @fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'the first error' USING ERRCODE = 'system_error'; END $$;
             CREATE TRIGGER fails BEFORE INSERT ON @{table} FOR EACH ROW EXECUTE FUNCTION @fails()"
        ));
        let change = batch(400, (201..=400).map(|number| add(number, SnapshotState::Pending)));
        let error = store.apply(&change).expect_err("the copy fails");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("the first error"), "{table}: {error}");
        assert_eq!(schema.pool.usage().idle, 0, "{table}");
        schema.execute("DROP FUNCTION @fails CASCADE");
        assert_eq!(live(&store).len(), 200);
    }
    fill(&store, 201..=400);
    assert_eq!(live(&store).len(), 400);
}

/// The server warns if a commit has not waited for its standby servers. A warning of a function is another
/// one.
#[test]
fn c9_a_trigger_that_warns_fails_no_commit() {
    let Some(schema) = Schema::new() else { return };
    let stores = [schema.open_below_cache("one statement"), schema.open("a transaction")];
    schema.execute(
        "CREATE FUNCTION @warns() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE WARNING 'a row has changed'; RETURN NEW; END $$;
         CREATE TRIGGER warns BEFORE UPDATE ON @stack FOR EACH ROW EXECUTE FUNCTION @warns()",
    );
    for store in &stores {
        fill(store, 1..=3);
        assert_eq!(live(store), [1, 2, 3]);
    }
}
