//! Errors of the server as typed errors, and their texts.

use shape_meta_core::{Error, ErrorKind, ReadShapes, ShapeStore, SnapshotState};

use crate::{
    server,
    support::{self, Schema, add, batch, fill, live},
};

/// Returns the text of an error and its sources, without what differs between runs.
fn text(error: &Error, port: u16) -> String {
    format!("{:?}: {error}", error.kind()).replace(&port.to_string(), "PORT")
}

#[test]
fn c9_refusals_of_the_server_are_typed_and_say_what_to_do() {
    let Some(cluster) = server::own(&["max_connections=6", "superuser_reserved_connections=1"]) else {
        return;
    };
    let (port, superuser) = (cluster.port, cluster.connection());
    support::execute(
        &superuser,
        "CREATE ROLE reader LOGIN PASSWORD 'x'; CREATE ROLE outsider LOGIN PASSWORD 'x'",
    );
    support::execute(&superuser, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    cluster.allow("host all all all scram-sha-256");
    support::execute(&superuser, "SELECT pg_reload_conf()");
    let open = |connection: &str| {
        let schema = Schema::of(&superuser);
        let opened = support::open(&support::pool(connection), "stack", schema.options());
        text(&opened.map(drop).expect_err("it is refused"), port)
    };
    let login = |user: &str, password: &str, database: &str| {
        open(&format!("host=127.0.0.1 port={port} user={user} password={password} dbname={database}"))
    };
    support::wait_until("the rules are in force", || login("reader", "wrong", "postgres").contains("login"));
    let mut texts = vec![
        login("postgres", "wrong", "postgres"),
        login("absent", "x", "postgres"),
        login("reader", "x", "absent"),
        login("reader", "x", "postgres"),
        open(&format!("host=127.0.0.1 port={port} user=reader dbname=postgres")),
        login("reader", "x", "postgres sslmode=require"),
        open(&format!("{superuser} dbname=latin")),
        open("host=127.0.0.1 port=1 user=x dbname=x").replace(":1:", ":PORT:"),
    ];
    cluster.allow("hostssl all outsider all scram-sha-256\nhostnossl all outsider all reject");
    support::execute(&superuser, "SELECT pg_reload_conf()");
    support::wait_until("the rules are in force", || {
        login("outsider", "x", "postgres").contains("pg_hba.conf")
    });
    texts.push(login("outsider", "x", "postgres"));
    support::execute(&superuser, "ALTER DATABASE postgres SET default_transaction_read_only = on");
    texts.push(login("reader", "x", "postgres"));
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn c9_a_server_without_connections_is_busy() {
    let Some(cluster) = server::own(&["max_connections=4", "superuser_reserved_connections=0"]) else {
        return;
    };
    let schema = Schema::of(&cluster.connection());
    let store = schema.open("stack");
    fill(&store, 1..=1);
    let others: Vec<_> = (0..8).map(|_| support::pool(&cluster.connection())).collect();
    let refused = others.iter().enumerate().find_map(|(number, pool)| {
        let stack = number.to_string();
        let store = support::open(pool, &stack, schema.options());
        store.map(drop).err()
    });
    let error = refused.expect("not all of them get a connection");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains("max_connections"), "{error}");
    assert_eq!(store.last_seq().expect("it has its connection").get(), 1);
    drop(others);
    drop(store);
}

#[test]
fn c9_a_server_that_becomes_read_only_is_ridden_out() {
    let Some(cluster) = server::own(&[]) else { return };
    let schema = Schema::of(&cluster.connection());
    let store = schema.open("stack");
    fill(&store, 1..=2);
    let superuser = format!("{} options='-c default_transaction_read_only=off'", cluster.connection());
    support::execute(&superuser, "ALTER SYSTEM SET default_transaction_read_only = on");
    support::execute(&superuser, "SELECT pg_reload_conf()");
    let change = batch(3, [add(3, SnapshotState::Pending)]);
    support::wait_until("the setting is in force", || {
        store.apply(&batch(2, [])).is_err_and(|error| error.kind() == ErrorKind::ReadOnly)
    });
    let error = store.apply(&change).expect_err("it is read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert_eq!(live(&store), [1, 2], "reads go on");
    support::execute(&superuser, "ALTER SYSTEM RESET default_transaction_read_only");
    support::execute(&superuser, "SELECT pg_reload_conf()");
    support::wait_until("the setting is in force", || store.apply(&change).is_ok());
    assert_eq!(live(&store), [1, 2, 3]);
}

#[test]
fn c9_a_revoked_privilege_is_typed_and_can_be_granted_again() {
    let Some(cluster) = server::own(&[]) else { return };
    support::execute(
        &cluster.connection(),
        "CREATE ROLE sync LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE postgres TO sync",
    );
    let mut schema = Schema::of(&cluster.connection());
    schema.pool =
        support::pool(&format!("host=127.0.0.1 port={} user=sync password=x dbname=postgres", cluster.port));
    let store = schema.open("stack");
    fill(&store, 1..=2);
    schema.execute("REVOKE INSERT ON @shape FROM sync");
    let change = batch(3, [add(3, SnapshotState::Pending)]);
    let error = store.apply(&change).expect_err("it may not insert");
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert!(error.to_string().contains("shape"), "{error}");
    schema.execute("GRANT INSERT ON @shape TO sync");
    store.apply(&change).expect("it may");
    // An open needs no privilege to create, once the tables are there.
    support::execute(&cluster.connection(), "REVOKE CREATE ON DATABASE postgres FROM sync");
    drop(store);
    assert_eq!(live(&schema.open("stack")), [1, 2, 3]);
}
