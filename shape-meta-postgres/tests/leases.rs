//! Leases: which process may take a stack over, and when an owner stops acknowledging (C11).

use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Direct, ErrorKind, HealthState, Limits, MutateError, MutateShapesExt, NoopObserver, ShapeStore,
    SnapshotState, StoreControl, Wait, conformance,
};
use shape_meta_postgres::{OnLiveOwner, PostgresOptions, PostgresPool, PostgresStore};
use shape_meta_testing_postgres::{Cluster, Proxy};

use crate::{
    server,
    support::{self, Schema, add, batch, fill, live, wait_until},
};

/// Long enough for a busy machine, and short enough for a test.
const LEASE: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(60);

/// A pool as another process has it.
fn another_pool(connection: &str) -> PostgresPool {
    let options = support::pool_options(connection)
        .lease(LEASE)
        .address("10.0.0.7:3000")
        .statement_timeout(Duration::from_secs(2))
        .transaction_timeout(Duration::from_millis(500));
    PostgresPool::new(options).expect("the thread starts")
}

fn options(schema: &Schema, on_live_owner: OnLiveOwner) -> PostgresOptions {
    schema.options().on_live_owner(on_live_owner)
}

fn open(schema: &Schema, pool: &PostgresPool, on_live_owner: OnLiveOwner) -> PostgresStore {
    support::open(pool, "stack", options(schema, on_live_owner)).expect("it opens")
}

/// The lease of a process ends while it opens another stack. The end waits for the opening, and then finds
/// its stack: without the lease, another process could take that stack over at once.
#[test]
fn c11_a_lease_does_not_end_under_an_opening() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open("another"));
    let store = schema.open("stack");
    let (begun, commits) = (Barrier::new(2), Barrier::new(2));
    let sessions = |state: &str| {
        schema.query(&format!(
            "SELECT pid FROM pg_stat_activity
             WHERE {state} AND query LIKE '%{}%process%' AND pid <> pg_backend_pid()",
            schema.name
        ))
    };
    wait_until("the lease is renewed", || !sessions("state = 'idle' AND query LIKE '%renewed%'").is_empty());
    std::thread::scope(|scope| {
        // What an opening of the process changes.
        let opening = scope.spawn(|| {
            let name = &schema.name;
            let changes = format!(
                "BEGIN; UPDATE \"{name}\".process SET lease_until = lease_until;
                 UPDATE \"{name}\".stack SET owner = (SELECT id FROM \"{name}\".process)
                 WHERE name = 'another'"
            );
            support::on_connection(schema.connection(), async |client| {
                client.batch_execute(&changes).await?;
                begun.wait();
                commits.wait();
                client.batch_execute("COMMIT").await
            })
        });
        begun.wait();
        drop(store);
        wait_until("the end of the lease waits", || !sessions("wait_event_type = 'Lock'").is_empty());
        commits.wait();
        opening.join().expect("no panic").expect("it commits");
    });
    wait_until("it is decided", || sessions("state <> 'idle'").is_empty());
    assert_eq!(schema.query("SELECT count(*) FROM @process"), ["1"]);
}

/// Opens stack `a` with the first pool and `b` with the second one at once.
fn open_at_once(schema: &Schema, pools: [&PostgresPool; 2]) -> [Result<(), ErrorKind>; 2] {
    let both = Barrier::new(2);
    std::thread::scope(|scope| {
        let opened = [("a", pools[0]), ("b", pools[1])].map(|(stack, pool)| {
            let both = &both;
            scope.spawn(move || {
                both.wait();
                let opened = support::open(pool, stack, options(schema, OnLiveOwner::Fail));
                opened.map(drop).map_err(|error| error.kind())
            })
        });
        opened.map(|opened| opened.join().expect("no panic"))
    })
}

/// All stacks of a process that is gone for more than a day are taken over at once. Each opening looks at the
/// row of that process, and would delete it.
#[test]
fn c11_stacks_of_a_process_that_is_forgotten_are_opened_at_once() {
    let Some(schema) = Schema::new() else { return };
    ["a", "b"].into_iter().for_each(|stack| drop(schema.open(stack)));
    let pools = [another_pool(schema.connection()), another_pool(schema.connection())];
    for round in 0..6 {
        let gone = format!("decode(lpad('{round}', 32, '0'), 'hex')");
        schema.execute(&format!(
            "INSERT INTO @process (id, address, host, pid, lease_until)
                 VALUES ({gone}, '', 'gone', 1, now() - interval '2 days');
             UPDATE @stack SET owner = {gone}"
        ));
        let at_once = open_at_once(&schema, [&pools[0], &pools[round % 2]]);
        assert_eq!(at_once, [Ok(()), Ok(())], "{round}");
    }
}

/// Two processes whose leases have run out take over each other's stack at once: each looks at the lease of
/// the other one, and then begins its own.
#[test]
fn c11_processes_whose_leases_have_run_out_swap_their_stacks() {
    let Some(schema) = Schema::new() else { return };
    let pools = [another_pool(schema.connection()), another_pool(schema.connection())];
    for round in 0..6 {
        let open = |pool, stack| support::open(pool, stack, options(&schema, OnLiveOwner::Fence));
        let own = [open(&pools[1], "a").expect("it opens"), open(&pools[0], "b").expect("it opens")];
        schema.execute("UPDATE @process SET lease_until = now() - interval '1 second'");
        for opened in open_at_once(&schema, [&pools[0], &pools[1]]) {
            // A lease may have been renewed meanwhile.
            assert!(matches!(opened, Ok(()) | Err(ErrorKind::AlreadyOpen)), "{round}: {opened:?}");
        }
        drop(own);
    }
}

#[track_caller]
fn assert_open_elsewhere(schema: &Schema, pool: &PostgresPool) -> String {
    let error = support::open(pool, "stack", options(schema, OnLiveOwner::Fail)).expect_err("it is owned");
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{error}");
    error.to_string()
}

#[test]
fn c11_a_live_owner_keeps_its_stack() {
    let Some(connection) = server::shared() else { return };
    let schema = Schema::of(connection);
    let pools = [another_pool(connection), another_pool(connection)];
    let first = open(&schema, &pools[0], OnLiveOwner::Fail);
    fill(&first, 1..=3);
    let text = assert_open_elsewhere(&schema, &pools[1]);
    assert!(text.contains("10.0.0.7:3000") && text.contains(&std::process::id().to_string()), "{text}");
    assert_open_elsewhere(&schema, &pools[0]);
    let wait = OnLiveOwner::Wait(Duration::from_millis(250));
    let error = support::open(&pools[1], "stack", options(&schema, wait)).expect_err("it is not closed");
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen);
    fill(&first, 4..=4);
    assert!(first.check_lease().is_ok());
}

/// The clock of the server decides about leases. Setting it has the same effect as moving the end of all
/// leases the other way.
#[test]
fn c11_a_jump_of_the_servers_clock_makes_no_second_owner() {
    let Some(connection) = server::shared() else { return };
    let schema = Schema::of(connection);
    let pools = [another_pool(connection), another_pool(connection)];
    let first = open(&schema, &pools[0], OnLiveOwner::Fail);
    fill(&first, 1..=3);
    // It is set back: the next renewal ends the lease by the clock as it is then.
    schema.execute("UPDATE @process SET lease_until = lease_until + interval '1 hour'");
    wait_until("the lease is renewed", || {
        let is_short = "SELECT lease_until < clock_timestamp() + interval '1 minute' FROM @process";
        schema.query(is_short) == ["t"]
    });
    assert_open_elsewhere(&schema, &pools[1]);
    // It is set forward: the lease has run out, unless its owner is faster and begins another one.
    let began = std::time::Instant::now();
    let second = loop {
        assert!(began.elapsed() < TIMEOUT, "the lease has run out");
        schema.execute("UPDATE @process SET lease_until = lease_until - interval '1 hour'");
        match support::open(&pools[1], "stack", options(&schema, OnLiveOwner::Fail)) {
            Ok(store) => break store,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{error}"),
        }
    };
    let error = first.apply(&batch(4, [add(4, SnapshotState::Pending)])).expect_err("it is fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    wait_until("a renewal notices it", || first.check_lease().is_err());
    fill(&second, 4..=4);
    assert_eq!(live(&second), [1, 2, 3, 4]);
}

#[test]
fn c11_a_stack_that_was_closed_released_or_dropped_is_free() {
    let Some(connection) = server::shared() else { return };
    let schema = Schema::of(connection);
    let pools = [another_pool(connection), another_pool(connection)];
    let first = open(&schema, &pools[0], OnLiveOwner::Fail);
    fill(&first, 1..=3);
    first.release().expect("the server answers");
    let second = open(&schema, &pools[1], OnLiveOwner::Fail);
    fill(&second, 4..=4);
    assert_eq!(live(&first), [1, 2, 3, 4], "a released store reads what the next owner writes");
    let error = first.apply(&batch(5, [add(5, SnapshotState::Pending)])).expect_err("it was released");
    assert_eq!(error.kind(), ErrorKind::Closed);
    second.close();
    let third = open(&schema, &pools[0], OnLiveOwner::Fail);
    drop(third);
    // In the same process at once, and in another one as soon as the server knows.
    let fourth = open(&schema, &pools[0], OnLiveOwner::Fail);
    drop(fourth);
    let fifth = open(&schema, &pools[1], OnLiveOwner::Wait(Duration::MAX));
    assert_eq!(live(&fifth), [1, 2, 3, 4]);
}

/// A server of its own, and an owner behind a proxy.
struct CutOff {
    proxy: Proxy,
    owner: PostgresPool,
    other: PostgresPool,
    schema: Schema,
    _cluster: Cluster,
}

impl CutOff {
    fn new() -> Option<Self> {
        let cluster = server::own(&[])?;
        let proxy = Proxy::to(cluster.port);
        Some(Self {
            owner: another_pool(&server::connection(proxy.port, server::PASSWORD)),
            other: another_pool(&cluster.connection()),
            schema: Schema::of(&cluster.connection()),
            proxy,
            _cluster: cluster,
        })
    }
}

#[test]
fn c11_an_owner_that_cannot_renew_stops_before_its_lease_ends() {
    let Some(cut_off) = CutOff::new() else { return };
    let CutOff { proxy, schema, .. } = &cut_off;
    let store = open(schema, &cut_off.owner, OnLiveOwner::Fail);
    let options = BufferOptions::default().flush_interval(Duration::from_millis(1));
    let cached = Cached::open_below_buffer(store, CacheOptions::default(), Arc::new(NoopObserver));
    let store = Buffered::new(cached.expect("it loads"), options, Arc::new(NoopObserver)).expect("it opens");
    store.add(conformance::shape(1), Wait::No).expect("it is accepted");
    store.flush(TIMEOUT).expect("the server answers");

    proxy.down();
    store.add(conformance::shape(2), Wait::No).expect("the lease lasts");
    let next = open(schema, &cut_off.other, OnLiveOwner::Wait(TIMEOUT));
    // The lease has ended for the server, so it has ended for the owner before.
    let refused = store.add(conformance::shape(3), Wait::No).expect_err("the lease has ended");
    let MutateError::Failed(error) = refused else { panic!("{refused}") };
    assert_eq!(error.kind(), ErrorKind::LeaseExpired, "{error}");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Stopped { .. }) && health.is_live(), "{health}");
    assert_eq!(live(&next), [1]);
    fill(&next, 10..=10);

    proxy.up();
    wait_until("the former owner learns that it is fenced", || {
        matches!(store.health().state, HealthState::Fenced { .. })
    });
    assert!(store.inner().check_lease().is_err());
    assert_eq!(live(&next), [1, 10]);
}

#[test]
fn c11_health_without_a_buffer_reports_the_lease() {
    let Some(cut_off) = CutOff::new() else { return };
    let CutOff { proxy, schema, .. } = &cut_off;
    let store = open(schema, &cut_off.owner, OnLiveOwner::Fail);
    let store = Direct::new(store, Limits::default(), Arc::new(NoopObserver)).expect("it opens");
    assert!(store.health().is_ready());
    proxy.down();
    wait_until("the lease ends", || !store.health().is_ready());
    let health = store.health();
    assert!(matches!(health.state, HealthState::Stopped { .. }) && health.is_live(), "{health}");
    let _next = open(schema, &cut_off.other, OnLiveOwner::Wait(TIMEOUT));
    proxy.up();
    wait_until("the former owner learns that it is fenced", || {
        matches!(store.health().state, HealthState::Fenced { .. })
    });
}

#[test]
fn c11_an_owner_goes_on_when_its_lease_is_renewed() {
    let Some(cut_off) = CutOff::new() else { return };
    let CutOff { proxy, schema, .. } = &cut_off;
    let store = open(schema, &cut_off.owner, OnLiveOwner::Fail);
    proxy.down();
    wait_until("the lease ends", || store.check_lease().is_err());
    let error = store.check_lease().expect_err("it has ended");
    assert_eq!(error.kind(), ErrorKind::LeaseExpired);
    assert!(error.is_retryable());
    proxy.up();
    wait_until("the lease is renewed", || store.check_lease().is_ok());
    fill(&store, 1..=3);
    assert_open_elsewhere(schema, &cut_off.other);
}

#[test]
fn c11_an_idle_owner_learns_that_it_was_fenced() {
    let Some(connection) = server::shared() else { return };
    let schema = Schema::of(connection);
    let pools = [another_pool(connection), another_pool(connection)];
    let first = open(&schema, &pools[0], OnLiveOwner::Fail);
    let neighbour = support::open(&pools[0], "other", options(&schema, OnLiveOwner::Fail)).expect("it opens");
    let _second = open(&schema, &pools[1], OnLiveOwner::Fence);
    wait_until("a renewal notices it", || first.check_lease().is_err());
    assert_eq!(first.check_lease().expect_err("it is fenced").kind(), ErrorKind::Fenced);
    assert!(neighbour.check_lease().is_ok());
}

#[test]
fn c7_one_connection_and_one_row_keep_the_leases_of_all_stacks() {
    let Some(connection) = server::shared() else { return };
    let schema = Schema::of(connection);
    let name = support::unique("leases");
    let pool = support::pool_options(&format!("{connection} application_name={name}"))
        .lease(LEASE)
        .idle_timeout(Duration::from_millis(1));
    let pool = PostgresPool::new(pool).expect("the thread starts");
    let stores: Vec<_> = (0..30)
        .map(|number| support::open(&pool, &format!("stack {number}"), options(&schema, OnLiveOwner::Fail)))
        .collect::<Result<_, _>>()
        .expect("they open");
    wait_until("idle connections are closed", || pool.usage().idle == 0);
    let of_pool = || {
        support::query_texts(
            connection,
            &format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'"),
        )
    };
    wait_until("one connection is left", || of_pool().len() == 1);
    assert_eq!(schema.query("SELECT count(*) FROM @process"), ["1"]);
    let until = || schema.query("SELECT lease_until FROM @process");
    let before = until();
    wait_until("it is renewed", || until() != before);
    assert!(stores.iter().all(|store| store.check_lease().is_ok()));
    stores.iter().for_each(PostgresStore::close);
    wait_until("nothing is left", || {
        of_pool().is_empty() && schema.query("SELECT count(*) FROM @process") == ["0"]
    });
}
