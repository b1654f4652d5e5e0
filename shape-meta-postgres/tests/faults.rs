//! Servers and networks that fail (C9), and commits whose answer is lost (C6, I6).

use std::{sync::Arc, time::Duration};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Change, ErrorKind, MutateShapesExt, NoopObserver, ReadShapes, ReadShapesExt, Seq, ShapeStore,
    SnapshotState, StoreControl, Wait, conformance,
};
use shape_meta_postgres::{DiskIndexes, Durability, PostgresPool, PostgresStore};

use shape_meta_testing_postgres::{Cluster, Direction, Fault, Proxy};

use crate::{
    server,
    support::{self, Schema, add, batch, fill, live, remove, wait_until},
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A server of its own behind a proxy.
struct Proxied {
    proxy: Proxy,
    schema: Schema,
    _cluster: Cluster,
}

impl Proxied {
    fn new() -> Option<Self> {
        let cluster = server::own(&[])?;
        let proxy = Proxy::to(cluster.port);
        let mut schema = Schema::of(&cluster.connection());
        schema.pool = Self::pool(&proxy);
        Some(Self { proxy, schema, _cluster: cluster })
    }

    fn pool(proxy: &Proxy) -> PostgresPool {
        let connection = server::connection(proxy.port, server::PASSWORD);
        let options = support::pool_options(&connection)
            .statement_timeout(Duration::from_secs(2))
            .lock_timeout(Duration::from_secs(1))
            .transaction_timeout(Duration::from_millis(500));
        PostgresPool::new(options).expect("the thread starts")
    }
}

/// The batches of the next tests: a transaction, and a single statement.
fn changes() -> [(&'static str, Vec<Change>, Vec<u64>); 2] {
    let added = || add(4, SnapshotState::Pending);
    [("transaction", vec![added(), remove(1)], vec![2, 3, 4]), ("statement", vec![added()], vec![1, 2, 3, 4])]
}

#[test]
fn c6_a_commit_that_never_arrived_is_not_confirmed() {
    let Some(proxied) = Proxied::new() else { return };
    for (at, fault) in [Fault::CutBefore, Fault::HangBefore].into_iter().enumerate() {
        for (name, changes, expected) in changes() {
            let store = proxied.schema.open_below_cache(&format!("{fault:?} {name}"));
            fill(&store, 1..=3);
            proxied.proxy.fail_next_commit(fault);
            let change = batch(5, changes);
            let error = store.apply(&change).expect_err("the server never saw the commit");
            // The server may end the transaction before the store gives the connection up.
            let kinds = [&[ErrorKind::Io][..], &[ErrorKind::Io, ErrorKind::Interrupted]][at];
            assert!(kinds.contains(&error.kind()), "{fault:?} of a {name}: {error}");
            assert!(proxied.proxy.has_failed());
            assert_eq!(
                (live(&store), store.last_seq().expect("reads")),
                (vec![1, 2, 3], Seq::new(3)),
                "{fault:?} of a {name}"
            );
            // What `Buffered` does.
            wait_until("the server ends the transaction", || store.apply(&change).is_ok());
            assert_eq!(live(&store), expected);
            assert_eq!(support::tasks(&store).len(), 4 - expected.len());
        }
    }
}

#[test]
fn i6_a_commit_whose_answer_was_lost_is_settled() {
    let Some(proxied) = Proxied::new() else { return };
    for fault in [Fault::CutAfter, Fault::HangAfter] {
        for (name, changes, expected) in changes() {
            let store = proxied.schema.open_below_cache(&format!("{fault:?} {name}"));
            fill(&store, 1..=3);
            proxied.proxy.fail_next_commit(fault);
            let change = batch(5, changes);
            store.apply(&change).expect("the row of the stack says that it is committed");
            assert!(proxied.proxy.has_failed());
            let total = store.counts().expect("reads").total;
            assert_eq!((live(&store), total), (expected.clone(), expected.len() as u64));
            let tasks = 4 - expected.len();
            assert_eq!(store.resource_usage().cleanup_tasks, Some(tasks as u64));
            store.apply(&change).expect("it is skipped");
            assert_eq!((live(&store), store.last_seq().expect("reads")), (expected, Seq::new(5)));
            assert_eq!(support::tasks(&store).len(), tasks);
        }
    }
}

/// If another process takes the stack over before the question is settled, the answer is `Fenced`: what the
/// new owner found decides.
#[test]
fn c11_a_lost_answer_is_never_confirmed_by_a_fenced_owner() {
    let Some(proxied) = Proxied::new() else { return };
    for (name, changes, _) in changes() {
        let store = proxied.schema.open_below_cache(name);
        fill(&store, 1..=3);
        proxied.proxy.fail_next_commit(Fault::CutBefore);
        let change = batch(4, changes);
        assert!(store.apply(&change).is_err());
        assert!(proxied.proxy.has_failed());
        let newer = proxied.schema.open_below_cache(name);
        let error = store.apply(&change).expect_err("it is fenced");
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert_eq!(live(&newer), [1, 2, 3]);
    }
}

#[test]
fn c9_broken_connections_are_replaced() {
    let Some(proxied) = Proxied::new() else { return };
    for name in ["transactions", "statements"] {
        let store = match name {
            "transactions" => proxied.schema.open(name),
            _ => proxied.schema.open_below_cache(name),
        };
        check_that_connections_are_replaced(&proxied, &store);
    }
}

fn check_that_connections_are_replaced(proxied: &Proxied, store: &PostgresStore) {
    fill(store, 1..=3);
    for round in 4..8 {
        let before = proxied.proxy.accepted();
        proxied.proxy.cut();
        // The connections were idle, so neither reads nor writes notice it.
        assert_eq!(store.counts().expect("reads").total, round - 1);
        proxied.proxy.cut();
        fill(store, round..=round);
        assert!(proxied.proxy.accepted() > before);
    }
    proxied.proxy.down();
    let error = store.last_seq().expect_err("there is no server");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    proxied.proxy.up();
    assert_eq!(store.last_seq().expect("reads"), Seq::new(7));
}

/// Nothing that was reported as durable is lost when the server is killed, and a buffer rides it out.
#[test]
fn c6_c9_a_killed_server_loses_nothing_durable() {
    let Some(mut cluster) = server::own(&["fsync=on"]) else { return };
    let schema = Schema::of(&cluster.connection());
    for durability in [Durability::ServerCrash, Durability::FailOver] {
        let name = format!("{durability:?}");
        let store = schema.open_with(&name, schema.options().durability(durability));
        let options = BufferOptions::default().flush_interval(Duration::from_millis(1));
        let store = Cached::open_below_buffer(store, CacheOptions::default(), Arc::new(NoopObserver));
        let store =
            Buffered::new(store.expect("it loads"), options, Arc::new(NoopObserver)).expect("it opens");
        for number in 1..=50 {
            store.add(conformance::shape(number), Wait::UpTo(TIMEOUT)).expect("it is accepted");
        }
        store.flush(TIMEOUT).expect("nothing fails");
        cluster.kill();
        store.add(conformance::shape(51), Wait::UpTo(TIMEOUT)).expect("memory accepts it");
        assert_eq!(
            store.metadata(&conformance::handle(51)).expect("from memory").map(|one| one.created.get()),
            Some(51)
        );
        store.flush(Duration::from_millis(50)).expect_err("there is no server");
        cluster.start();
        store.flush(TIMEOUT).expect("the flusher has tried again");
        assert!(store.health().is_ready());
        drop(store);
        let store = schema.open_with(&name, schema.options());
        assert_eq!(live(&store), (1..=51).collect::<Vec<_>>());
    }
}

#[test]
fn c9_a_restart_of_the_server_is_survived() {
    let Some(mut cluster) = server::own(&[]) else { return };
    let schema = Schema::of(&cluster.connection());
    let store = schema.open("stack");
    fill(&store, 1..=3);
    let scan = store.scan().expect("it opens");
    cluster.stop();
    assert_eq!(store.last_seq().expect_err("there is no server").kind(), ErrorKind::Io);
    assert_eq!(store.apply(&batch(4, [])).expect_err("there is no server").kind(), ErrorKind::Io);
    cluster.start();
    assert_eq!(scan.count(), 3, "it was read to its end at once");
    assert_eq!(store.last_seq().expect("reads"), Seq::new(3));
    fill(&store, 4..=5);
    assert_eq!(live(&store), [1, 2, 3, 4, 5]);
}

/// The server has ended the snapshot before the answer to its begin arrives.
#[test]
fn c14_a_scan_whose_begin_is_answered_late_is_interrupted() {
    let Some(proxied) = Proxied::new() else { return };
    let limit = Duration::from_millis(200);
    let store = proxied.schema.open_with("stack", proxied.schema.options().scan_timeout(limit));
    fill(&store, 1..=3);
    assert_eq!(live(&store), [1, 2, 3], "all statements are prepared");
    let sessions = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
                    AND query NOT LIKE '%pg_stat_activity%'";
    let before = proxied.schema.query(sessions);
    let error = std::thread::scope(|scope| {
        proxied.proxy.hang(Direction::ToClient);
        let scan = scope.spawn(|| store.scan().err());
        wait_until("the server ends the transaction", || {
            let now = proxied.schema.query(sessions);
            before.iter().any(|session| !now.contains(session))
        });
        proxied.proxy.flow();
        scan.join().expect("it does not panic")
    });
    let error = error.expect("the snapshot is over");
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert_eq!(live(&store), [1, 2, 3]);
}

#[test]
fn c9_an_administrator_who_ends_a_session_in_a_batch_costs_a_retry() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=2);
    // The trigger ends the session of the batch in the middle of it.
    schema.execute(
        "CREATE FUNCTION @ends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
         CREATE TRIGGER ends BEFORE INSERT ON @shape FOR EACH ROW EXECUTE FUNCTION @ends()",
    );
    let change = batch(3, [add(3, SnapshotState::Pending)]);
    let error = store.apply(&change).expect_err("the session has ended");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    schema.execute("DROP TRIGGER ends ON @shape");
    store.apply(&change).expect("a new session commits it");
    assert_eq!(live(&store), [1, 2, 3]);
}

#[test]
fn c9_slow_statements_and_held_locks_end_by_their_time_outs() {
    let Some(connection) = server::shared() else { return };
    let mut schema = Schema::of(connection);
    let options = support::pool_options(connection)
        .statement_timeout(Duration::from_millis(400))
        .lock_timeout(Duration::from_millis(100));
    schema.pool = PostgresPool::new(options).expect("the thread starts");
    let store = schema.open("stack");
    fill(&store, 1..=2);
    schema.execute(
        "CREATE FUNCTION @slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_sleep(60); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON @shape FOR EACH ROW EXECUTE FUNCTION @slow()",
    );
    let change = batch(3, [add(3, SnapshotState::Pending)]);
    let error = store.apply(&change).expect_err("the statement is cancelled");
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert!(error.to_string().contains("time-out"), "{error}");
    schema.execute("DROP TRIGGER slow ON @shape");

    let lock = format!("BEGIN; LOCK TABLE \"{}\".stack IN EXCLUSIVE MODE", schema.name);
    support::on_connection(connection, async |client| {
        client.batch_execute(&lock).await?;
        let error = store.apply(&change).expect_err("the row is locked");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        Ok(())
    })
    .expect("the lock is taken");
    store.apply(&change).expect("nothing is in its way");
}

/// An administrator who cancels the wait for a standby server makes the server report success.
#[test]
fn c6_a_commit_that_no_standby_server_has_is_not_confirmed() {
    [DiskIndexes::Maintained, DiskIndexes::Omitted].into_iter().for_each(check_that_no_wait_is_confirmed);
}

fn check_that_no_wait_is_confirmed(disk_indexes: DiskIndexes) {
    let Some(cluster) = server::own(&[]) else { return };
    let schema = Schema::of(&cluster.connection());
    let options = schema.options().durability(Durability::FailOverApplied).disk_indexes(disk_indexes);
    let store: Arc<PostgresStore> = Arc::new(schema.open_with("stack", options));
    fill(&store, 1..=2);
    for setting in ["synchronous_standby_names = 'absent'", "synchronous_commit = local"] {
        support::execute(&cluster.connection(), &format!("ALTER SYSTEM SET {setting}"));
    }
    support::execute(&cluster.connection(), "SELECT pg_reload_conf()");
    let waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until("the setting is in force", || {
        support::query_texts(&cluster.connection(), "SHOW synchronous_standby_names") == ["absent"]
    });
    let applied = std::thread::scope(|scope| {
        let applies = scope.spawn(|| store.apply(&batch(3, [add(3, SnapshotState::Pending)])));
        // Each commit waits, also the one that settles it.
        while !applies.is_finished() {
            if !support::query_texts(&cluster.connection(), waits).is_empty() {
                let cancel = format!("SELECT pg_cancel_backend(pid) FROM ({waits}) AS waiting");
                support::query_texts(&cluster.connection(), &cancel);
            }
        }
        applies.join().expect("it does not panic")
    });
    let error = applied.expect_err("no standby server has it");
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert_eq!(live(&*store), [1, 2, 3], "the server itself has committed it");
    support::execute(&cluster.connection(), "ALTER SYSTEM RESET synchronous_standby_names");
    support::execute(&cluster.connection(), "SELECT pg_reload_conf()");
    wait_until("the retry confirms it", || store.apply(&batch(3, [add(3, SnapshotState::Pending)])).is_ok());
    assert_eq!(store.last_seq().expect("reads"), Seq::new(3));
}

#[test]
fn c7_operations_at_the_limit_of_connections_wait_or_are_busy() {
    let Some(connection) = server::shared() else { return };
    let mut schema = Schema::of(connection);
    let options =
        support::pool_options(connection).max_connections(2).checkout_timeout(Duration::from_millis(50));
    schema.pool = PostgresPool::new(options).expect("the thread starts");
    let store = schema.open("stack");
    fill(&store, 1..=100);
    let scan = store.scan().expect("it opens");
    assert_eq!(schema.pool.usage().used, 1);
    let error = store.scan().err().expect("one connection is left for the rest");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    fill(&store, 101..=101);
    assert!(store.has_handle(&conformance::handle(101)).expect("reads"));
    drop(scan);
    wait_until("the connection is returned", || store.scan().is_ok());
    let usage = store.resource_usage().connections.expect("it has a pool");
    assert_eq!(usage.max, 2);
}
