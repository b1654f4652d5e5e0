//! Opening stacks, and what refuses it.

use std::{sync::Barrier, time::Duration};

use shape_meta_core::{ErrorKind, ReadShapes, Seq, ShapeStore};
use shape_meta_postgres::{DiskIndexes, OnLiveOwner, PoolOptions, PostgresOptions, PostgresPool};

use crate::{
    server,
    support::{self, Schema, fill, live},
};

#[test]
fn c6_a_stack_is_created_and_found_again() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    let report = store.report();
    assert_eq!((report.created, report.migrated_from, report.epoch), (true, Some(0), 1));
    fill(&store, 1..=3);
    drop(store);
    let store = schema.open("stack");
    let report = store.report();
    assert_eq!((report.created, report.migrated_from, report.epoch), (false, None, 2));
    assert_eq!((report.counts.total, report.last_seq), (3, Seq::new(3)));
    assert_eq!(live(&store), [1, 2, 3]);
    let owner = schema.query(
        "SELECT pid || ' ' || (lease_until > now()) FROM @stack AS stack JOIN @process AS process ON process.id = owner",
    );
    assert_eq!(owner, [format!("{} true", std::process::id())]);
    assert_eq!(schema.query("SELECT count(*) FROM @lineage"), ["2"]);
}

#[test]
fn c11_many_stacks_in_one_schema_are_apart() {
    let Some(schema) = Schema::new() else { return };
    let names: Vec<_> = (0..20).map(|number| format!("stack {number}")).collect();
    // All of them create the tables at once.
    let stores: Vec<_> = std::thread::scope(|scope| {
        let opens: Vec<_> = names.iter().map(|name| scope.spawn(|| schema.open(name))).collect();
        opens.into_iter().map(|open| open.join().expect("it opens")).collect()
    });
    for (number, store) in (1..).zip(&stores) {
        fill(store, 1..=number);
    }
    for (number, store) in (1..).zip(&stores) {
        assert_eq!(live(store).len() as u64, number);
        assert_eq!(store.counts().expect("reads").total, number);
    }
    assert!(schema.pool.usage().used <= 8);
    stores[3].apply(&support::batch(9, [shape_meta_core::Change::Reset])).expect("it applies");
    assert_eq!([&stores[2], &stores[3], &stores[4]].map(|store| live(store).len()), [3, 0, 5]);
    let mut found: Vec<_> = schema.query("SELECT name FROM @stack ORDER BY id");
    found.sort_unstable();
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn c11_of_openings_at_once_one_owns_the_stack() {
    let Some(schema) = Schema::new() else { return };
    let stores: Vec<_> = std::thread::scope(|scope| {
        let opens: Vec<_> = (0..6).map(|_| scope.spawn(|| schema.open("stack"))).collect();
        opens.into_iter().map(|open| open.join().expect("it opens")).collect()
    });
    assert_eq!(stores.iter().filter(|store| store.report().created).count(), 1);
    let mut epochs: Vec<_> = stores.iter().map(|store| store.report().epoch).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6]);
    let owners = stores.iter().filter(|store| store.apply(&support::batch(1, [])).is_ok());
    assert_eq!(owners.map(|store| store.report().epoch).collect::<Vec<_>>(), [6]);
    assert_eq!(schema.query("SELECT count(*) FROM @stack"), ["1"]);
}

/// None of them finds the stack, and each waits for the one that creates it, in its process or another one.
#[test]
fn c11_of_openings_that_create_a_stack_at_once_none_is_fenced() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open("creates the tables"));
    let (pool, another) = (&schema.pool, support::pool(schema.connection()));
    let pools = [pool, &another, pool, &another];
    let options = schema.options().on_live_owner(OnLiveOwner::Fail);
    for number in 0..20 {
        let (name, barrier) = (format!("stack {number}"), Barrier::new(pools.len()));
        let open = |pool| {
            barrier.wait();
            support::open(pool, &name, options.clone())
        };
        let opened: Vec<_> = std::thread::scope(|scope| {
            let opens: Vec<_> = pools.iter().map(|&pool| scope.spawn(move || open(pool))).collect();
            opens.into_iter().map(|open| open.join().expect("no panic")).collect()
        });
        let mut owners = opened.iter().filter_map(|opened| opened.as_ref().ok());
        let owner = owners.next().expect("one of them has created it");
        assert!(owners.next().is_none(), "{name} has two owners");
        assert_eq!((owner.report().created, owner.report().epoch), (true, 1));
        owner.apply(&support::batch(1, [])).expect("it owns the stack");
        for refused in opened.iter().filter_map(|opened| opened.as_ref().err()) {
            assert_eq!(refused.kind(), ErrorKind::AlreadyOpen, "{refused}");
        }
    }
}

#[test]
fn c11_tables_of_a_newer_version_are_refused_and_unchanged() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open("stack"));
    schema.execute("UPDATE @format SET version = 99");
    let error = support::open(&schema.pool, "stack", schema.options()).expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::UnsupportedSchema);
    assert!(error.to_string().contains("99"), "{error}");
    assert_eq!(schema.query("SELECT epoch FROM @stack"), ["1"], "nothing has changed");
}

#[test]
fn c11_tables_of_another_application_are_refused_and_unchanged() {
    if server::shared().is_none() {
        return;
    }
    for table in ["CREATE TABLE @shape (id integer)", "CREATE TABLE @format (name text)"] {
        let schema = Schema::new().expect("there is a server");
        schema.execute(&format!("CREATE SCHEMA \"{}\"", schema.name));
        schema.execute(table);
        let error = support::open(&schema.pool, "stack", schema.options()).expect_err("it is not ours");
        assert_eq!(error.kind(), ErrorKind::NotADatabase, "{table}: {error}");
        let tables = format!("SELECT tablename FROM pg_tables WHERE schemaname = '{}'", schema.name);
        assert_eq!(schema.query(&tables).len(), 1);
    }
}

#[test]
fn c11_a_schema_name_may_be_hostile() {
    let Some(mut hostile) = Schema::new() else { return };
    let name = format!("{}\"; DROP SCHEMA public; --", hostile.name);
    hostile.name = name;
    let store = hostile.open("it's \"a\" stack; --");
    fill(&store, 1..=2);
    drop(store);
    let store = hostile.open("it's \"a\" stack; --");
    assert_eq!(live(&store), [1, 2]);
    store.release().expect("the server answers");
    let connection = server::shared().expect("there is a server");
    let quoted = hostile.name.replace('"', "\"\"");
    support::execute(connection, &format!("DROP SCHEMA \"{quoted}\" CASCADE"));
}

#[test]
fn c4_invalid_options_are_refused_before_anything_is_connected() {
    let pool = PostgresPool::new(PoolOptions::parse("postgres://sync@127.0.0.1:1/x").expect("it is valid"));
    let pool = pool.expect("the thread starts");
    let kind = |stack: &str, options| support::open(&pool, stack, options).expect_err("it fails").kind();
    let options = PostgresOptions::default;
    assert_eq!(kind("stack", options().schema("pg_ours")), ErrorKind::Configuration);
    assert_eq!(kind("", options()), ErrorKind::Configuration);
    assert_eq!(kind("a\0b", options()), ErrorKind::Configuration);
    assert_eq!(kind(&"a".repeat(1_001), options()), ErrorKind::Configuration);
    assert_eq!(kind("stack", options()), ErrorKind::Io, "nothing listens there");
    for connection in ["postgres://", "host=", "nonsense", "dbname=x"] {
        let error = PoolOptions::parse(connection).expect_err("it is invalid");
        assert_eq!(error.kind(), ErrorKind::Configuration, "{connection}");
    }
    let few = PoolOptions::parse("postgres://a@b/c").expect("it is valid").max_connections(1);
    assert_eq!(PostgresPool::new(few).expect_err("a scan would take it").kind(), ErrorKind::Configuration);
}

#[test]
fn c11_the_password_is_in_no_text() {
    let secret = "s3cret-p4ss";
    let connection = format!("postgres://sync:{secret}@127.0.0.1:1/x");
    let options =
        PoolOptions::parse(&connection).expect("it is valid").checkout_timeout(Duration::from_secs(1));
    assert!(!format!("{options:?}").contains(secret));
    let pool = PostgresPool::new(options).expect("the thread starts");
    let error = support::open(&pool, "stack", PostgresOptions::default()).expect_err("nothing listens");
    let texts = [format!("{pool:?}"), pool.place(), error.to_string(), format!("{error:?}")];
    assert!(texts.iter().all(|text| !text.contains(secret)), "{texts:?}");
    let error = PoolOptions::parse(&format!("host=a password={secret} port=x")).expect_err("no port");
    assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
}

#[test]
fn c5_look_ups_are_built_and_deleted_by_an_open() {
    let Some(schema) = Schema::new() else { return };
    let mirrored = schema.options().disk_indexes(DiskIndexes::Omitted);
    let store = schema.open_with("stack", mirrored.clone());
    fill(&store, 1..=6_000);
    support::apply(&store, 6_001, [support::remove(2)]);
    assert_eq!(store.metadata("x").expect_err("there are no look-ups").kind(), ErrorKind::Unsupported);
    let rows = "SELECT (SELECT count(*) FROM @handle_lookup) + (SELECT count(*) FROM @key_lookup) \
                + (SELECT count(*) FROM @relation_lookup)";
    assert_eq!(schema.query(rows), ["0"]);
    drop(store);

    let store = schema.open("stack");
    assert_eq!(store.report().disk_indexes_before, Some(DiskIndexes::Omitted));
    assert_eq!(schema.query(rows), [(3 * 5_999).to_string()]);
    for number in [1, 2, 6_000] {
        let shape = shape_meta_core::conformance::shape(number);
        let found = store.metadata(&shape.handle).expect("reads").map(|one| one.created.get());
        assert_eq!(found, (number != 2).then_some(number));
        assert_eq!(store.handle_for(&shape.key).expect("reads"), (number != 2).then_some(shape.handle));
    }
    drop(store);
    let store = schema.open_with("stack", mirrored);
    assert_eq!(store.report().disk_indexes_before, Some(DiskIndexes::Maintained));
    assert_eq!(schema.query(rows), ["0"]);
}
