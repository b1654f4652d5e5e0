//! Servers that are replaced, full, slow or out of reach beneath a buffer: everything that was reported as
//! durable is kept, memory is bounded, and the health names the reason (C6, C7, C9).

use std::{sync::Arc, time::Duration};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    ErrorKind, MutateError, MutateShapesExt, NoopObserver, ReadShapes, ReadShapesExt, Refusal, ShapeStore,
    SnapshotState, StoreControl, Wait, conformance,
};
use shape_meta_postgres::{Durability, PostgresPool, PostgresStore};
use shape_meta_testing_postgres::{Cluster, Direction, Proxy};

use crate::{
    server,
    support::{self, Schema, add, batch, fill, live, wait_until},
};

const TIMEOUT: Duration = Duration::from_secs(60);
/// No failure of a test takes longer.
const LEASE: Duration = Duration::from_secs(300);

type Stack = Buffered<Cached<PostgresStore>>;

/// Puts a cache and a buffer above a store.
fn buffered(store: PostgresStore) -> Stack {
    let options = BufferOptions::default().flush_interval(Duration::from_millis(1)).max_pending_shapes(100);
    let cached = Cached::open_below_buffer(store, CacheOptions::default(), Arc::new(NoopObserver));
    Buffered::new(cached.expect("it loads"), options, Arc::new(NoopObserver)).expect("it opens")
}

fn pool(connection: &str) -> PostgresPool {
    let options = support::pool_options(connection)
        .lease(LEASE)
        .statement_timeout(Duration::from_secs(2))
        .lock_timeout(Duration::from_secs(1))
        .checkout_timeout(Duration::from_secs(2))
        .transaction_timeout(Duration::from_millis(500));
    PostgresPool::new(options).expect("the thread starts")
}

fn add_shapes(store: &Stack, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        store.add(conformance::shape(number), Wait::UpTo(TIMEOUT)).expect("it is accepted");
    }
}

/// Checks what every failure has in common, while the server fails: mutations are accepted up to the bound
/// and refused above it, reads are served, nothing is reported as durable, and the health has the reason.
#[track_caller]
fn assert_rides_out(store: &Stack, numbers: std::ops::RangeInclusive<u64>, kinds: &[ErrorKind]) {
    let first = *numbers.start();
    add_shapes(store, numbers);
    let shown = store.metadata(&conformance::handle(first)).expect("from memory");
    assert!(shown.is_some());
    store.flush(Duration::from_millis(20)).expect_err("nothing new is durable");
    let last_error = || store.health().last_error.map(|last| last.error);
    wait_until("the health has the reason", || {
        last_error().is_some_and(|error| kinds.contains(&error.kind()))
    });
    assert_eq!(store.health().state.name(), "degraded", "{}", store.health());
    let refused = (10_000..10_200).find_map(|number| store.add(conformance::shape(number), Wait::No).err());
    let refused = refused.expect("the bound is 100 shapes");
    assert!(matches!(refused, MutateError::Refused(Refusal::Overloaded { .. })), "{refused}");
}

/// Removes what `assert_rides_out` has added to reach the bound, when the server works again.
#[track_caller]
fn assert_recovers(store: &Stack, expected: u64) {
    store.flush(TIMEOUT).expect("the flusher has tried again");
    for number in 10_000..10_200 {
        let _ = store.remove(&conformance::handle(number), Wait::UpTo(TIMEOUT));
    }
    store.flush(TIMEOUT).expect("the server works");
    wait_until("the health is good again", || store.health().state.is_ready());
    assert_eq!(store.counts().expect("from memory").total, expected);
}

/// A server and its replica.
struct Pair {
    primary: Cluster,
    replica: Cluster,
    schema: Schema,
}

impl Pair {
    fn new() -> Option<Self> {
        let primary = server::own(&["fsync=on"])?;
        let replica = primary.replica();
        let mut schema = Schema::of(&primary.connection());
        schema.pool = pool(&server::connection_to_any([primary.port, replica.port]));
        Some(Self { primary, replica, schema })
    }

    /// Makes commits wait for the replica.
    fn synchronous(&self) {
        let connection = self.primary.connection();
        support::execute(&connection, "ALTER SYSTEM SET synchronous_standby_names = '*'");
        support::execute(&connection, "SELECT pg_reload_conf()");
        wait_until("the replica is synchronous", || {
            support::query_texts(&connection, "SELECT sync_state FROM pg_stat_replication") == ["sync"]
        });
    }

    fn replica_has(&self, last_seq: u64) -> bool {
        let query = format!("SELECT last_seq FROM \"{}\".stack", self.schema.name);
        // Until then it may not have the tables.
        self.replica.query(&query).is_ok_and(|found| found == last_seq.to_string())
    }
}

#[test]
fn c6_c9_a_promoted_replica_has_everything_durable() {
    for durability in [Durability::FailOver, Durability::FailOverApplied] {
        let Some(mut pair) = Pair::new() else { return };
        pair.synchronous();
        let options = pair.schema.options().durability(durability);
        let store = buffered(pair.schema.open_with("stack", options.clone()));
        add_shapes(&store, 1..=50);
        store.flush(TIMEOUT).expect("nothing fails");
        add_shapes(&store, 51..=60);
        pair.primary.kill();
        // No host accepts writes until the promotion.
        assert_rides_out(&store, 61..=65, &[ErrorKind::Io, ErrorKind::ReadOnly]);
        pair.replica.promote();
        assert_recovers(&store, 65);
        drop(store);
        let again = support::open(&pair.schema.pool, "stack", options).expect("it opens");
        assert_eq!(live(&again), (1..=65).collect::<Vec<_>>(), "{durability:?}");
    }
}

/// What the levels below may lose is a suffix, and the owner notices the loss: it confirms nothing more.
#[test]
fn c6_c13_a_promoted_replica_that_is_behind_is_noticed() {
    for durability in [Durability::ProcessCrash, Durability::ServerCrash] {
        let Some(mut pair) = Pair::new() else { return };
        let options = pair.schema.options().durability(durability);
        let store = pair.schema.open_with("stack", options.clone());
        fill(&store, 1..=50);
        // The server flushes asynchronous commits within a second.
        wait_until("the replica has the first batch", || pair.replica_has(50));
        pair.replica.stop();
        fill(&store, 51..=60);
        pair.primary.kill();
        pair.replica.start();
        pair.replica.promote();
        let change = batch(61, [add(61, SnapshotState::Pending)]);
        let refused = || store.apply(&change).expect_err("the promoted server is behind");
        // Until the connections to the killed server are replaced.
        wait_until("the owner sees the promoted server", || refused().to_string().contains("acknowledged"));
        let error = refused();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("sequence number 50, but 60"), "{error}");
        drop(store);
        let again = support::open(&pair.schema.pool, "stack", options).expect("it opens");
        assert_eq!(live(&again), (1..=50).collect::<Vec<_>>(), "{durability:?}: a prefix");
    }
}

/// A recovery takes no sequence number. If it is lost, the shapes that it has removed are there again, and
/// the owner, which gives their handles and keys to others, must not go on.
#[test]
fn c2_c6_c13_a_promoted_replica_without_the_recovery_is_noticed() {
    let Some(mut pair) = Pair::new() else { return };
    let options = pair.schema.options().durability(Durability::ServerCrash);
    let store = pair.schema.open_with("stack", options.clone());
    fill(&store, 1..=3);
    support::apply(&store, 4, [add(4, SnapshotState::Started)]);
    drop(store);
    let store = pair.schema.open_with("stack", options.clone());
    let epoch = format!("SELECT epoch FROM \"{}\".stack", pair.schema.name);
    wait_until("the replica has the opening", || pair.replica.query(&epoch).is_ok_and(|epoch| epoch == "2"));
    pair.replica.stop();
    assert_eq!(store.recover().expect("the primary works").removed, [conformance::handle(4)]);
    pair.primary.kill();
    pair.replica.start();
    pair.replica.promote();
    let change = batch(5, [add(5, SnapshotState::Complete)]);
    let refused = || store.apply(&change).expect_err("the promoted server is behind");
    // Until the connections to the killed server are replaced.
    wait_until("the owner sees the promoted server", || refused().to_string().contains("recovery"));
    let error = refused();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains("4 shapes at sequence number 4"), "{error}");
    drop(store);
    let again = support::open(&pair.schema.pool, "stack", options).expect("it opens");
    assert_eq!(again.recover().expect("it works").removed, [conformance::handle(4)]);
    assert_eq!(live(&again), [1, 2, 3]);
}

/// A killed server keeps a recovery whatever the durability, so the owner goes on.
#[test]
fn c2_c6_a_killed_server_keeps_the_recovery() {
    let Some(mut cluster) = server::own(&["fsync=on", "wal_writer_delay=10s"]) else { return };
    let mut schema = Schema::of(&cluster.connection());
    schema.pool = pool(&cluster.connection());
    let options = schema.options().durability(Durability::ProcessCrash);
    let store = schema.open_with("stack", options.clone());
    fill(&store, 1..=3);
    support::apply(&store, 4, [add(4, SnapshotState::Started)]);
    drop(store);
    let store = schema.open_with("stack", options);
    // Another commit that waits for the disk, so that the opening is not lost.
    schema.execute("CREATE TABLE @other ()");
    assert_eq!(store.recover().expect("it works").removed, [conformance::handle(4)]);
    cluster.kill();
    cluster.start();
    let change = batch(5, [add(5, SnapshotState::Complete)]);
    wait_until("the connections are replaced", || store.apply(&change).is_ok());
    assert_eq!(live(&store), [1, 2, 3, 5]);
}

/// With a killed server each level but the first keeps all that it has confirmed.
#[test]
fn c6_a_killed_server_keeps_what_each_durability_says() {
    for durability in [Durability::ProcessCrash, Durability::ServerCrash] {
        let Some(mut cluster) = server::own(&["fsync=on", "wal_writer_delay=10s"]) else { return };
        let mut schema = Schema::of(&cluster.connection());
        schema.pool = pool(&cluster.connection());
        let options = schema.options().durability(durability);
        let store = schema.open_with("stack", options.clone());
        for number in 1..=200 {
            fill(&store, number..=number);
        }
        cluster.kill();
        cluster.start();
        drop(store);
        let again = support::open(&schema.pool, "stack", options).expect("it opens");
        let found = live(&again);
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "{durability:?}: a prefix");
        if durability == Durability::ServerCrash {
            assert_eq!(found.len(), 200, "everything was confirmed");
        }
    }
}

#[test]
fn c9_a_full_disk_of_the_server_is_ridden_out() {
    let Some(cluster) = server::own(&[]) else { return };
    let connection = cluster.connection();
    let disk = cluster.small_disk(16 << 20);
    if let Some(disk) = &disk {
        let place = disk.path.display();
        support::execute(&connection, &format!("CREATE TABLESPACE small LOCATION '{place}'"));
        support::execute(&connection, "ALTER DATABASE postgres SET default_tablespace = small");
    }
    let mut schema = Schema::of(&connection);
    schema.pool = pool(&connection);
    let store = buffered(schema.open("stack"));
    add_shapes(&store, 1..=10);
    store.flush(TIMEOUT).expect("there is space");
    match disk {
        // Page by page, so that no page is left in the end.
        Some(_) => {
            schema.execute("CREATE TABLE @filler (page text)");
            let full = "DO $$ BEGIN LOOP BEGIN INSERT INTO @filler SELECT repeat(md5(random()::text), 60)
                 FROM generate_series(1, 4); EXCEPTION WHEN disk_full THEN EXIT; END; END LOOP; END $$"
                .replace('@', &format!("\"{}\".", schema.name));
            support::execute(&connection, &full);
            // What is free in pages that exist.
            schema.execute(
                "ALTER TABLE @shape SET (fillfactor = 10); ALTER TABLE @definition SET (fillfactor = 10)",
            );
        }
        // Without the right to mount, the server says so by a trigger.
        None => schema.execute(
            "CREATE FUNCTION @full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
             CREATE TABLE @filler (page text);
             CREATE TRIGGER full_disk BEFORE INSERT ON @shape FOR EACH ROW EXECUTE FUNCTION @full()",
        ),
    }
    assert_rides_out(&store, 11..=80, &[ErrorKind::StorageFull]);
    let text = store.health().to_string();
    assert!(text.contains("the disk of the server is full"), "{text}");
    schema.execute("DROP TABLE @filler; DROP TRIGGER IF EXISTS full_disk ON @shape");
    assert_recovers(&store, 80);
    drop(store);
    assert_eq!(live(&schema.open("stack")), (1..=80).collect::<Vec<_>>());
    drop(schema);
    drop(cluster);
}

/// Clients of another application that take connections of a server for as long as this lives.
struct OtherClients {
    runtime: tokio::runtime::Runtime,
    clients: Vec<tokio_postgres::Client>,
    connection: String,
}

impl OtherClients {
    fn new(connection: &str) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().enable_time().build().expect("it starts");
        let connection = format!("{connection} application_name=other");
        Self { runtime, clients: Vec::new(), connection }
    }

    /// Connects until the server refuses it because it has no connection left.
    fn take_all(&mut self) {
        loop {
            let connected = tokio_postgres::connect(&self.connection, tokio_postgres::NoTls);
            match self.runtime.block_on(connected) {
                Ok((client, driver)) => {
                    drop(self.runtime.spawn(driver));
                    self.clients.push(client);
                }
                Err(error) => {
                    let code = error.code().map(|code| code.code());
                    assert_eq!(code, Some("53300"), "{error}");
                    return;
                }
            }
        }
    }

    /// Returns the first column of a query, by the first of the clients.
    fn query(&self, query: &str) -> Vec<String> {
        let rows = self.runtime.block_on(self.clients[0].query(query, &[])).expect("it runs");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Other applications take all connections of the server, and those of the store are ended.
#[test]
fn c6_c7_c9_a_server_without_connections_is_ridden_out() {
    const MAX: usize = 12;
    let settings = [&format!("max_connections={MAX}"), "superuser_reserved_connections=0"];
    let Some(cluster) = server::own(&settings) else { return };
    let connection = cluster.connection();
    let mut schema = Schema::of(&connection);
    schema.pool = pool(&format!("{connection} application_name=ours"));
    let store = buffered(schema.open("stack"));
    add_shapes(&store, 1..=10);
    store.flush(TIMEOUT).expect("nothing fails");
    let mut others = OtherClients::new(&connection);
    others.take_all();
    // Each connection of the store that ends is taken by another client, unless the store is faster.
    let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'ours'";
    let began = std::time::Instant::now();
    while others.clients.len() < MAX {
        assert!(began.elapsed() < TIMEOUT, "the store keeps a connection");
        others.query(end);
        others.take_all();
    }
    let receipt = store.add(conformance::shape(11), Wait::No).expect("it is accepted");
    assert_rides_out(&store, 12..=20, &[ErrorKind::Busy]);
    let text = store.health().to_string();
    assert!(text.contains("max_connections"), "{text}");
    assert!(!receipt.is_durable());
    let last_seq = format!("SELECT last_seq::text FROM \"{}\".stack", schema.name);
    assert_eq!(others.query(&last_seq), ["10"], "nothing was written");
    drop(others);
    receipt.wait_durable(TIMEOUT).expect("there are connections again");
    assert_recovers(&store, 20);
    drop(store);
    assert_eq!(live(&schema.open("stack")), (1..=20).collect::<Vec<_>>());
}

/// A server behind a proxy.
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
        let connection = server::connection(proxy.port, server::PASSWORD);
        schema.pool = pool(&format!("{connection} connect_timeout=1"));
        Some(Self { proxy, schema, _cluster: cluster })
    }
}

#[test]
fn c9_c14_a_slow_server_delays_commits_and_nothing_else() {
    let Some(Proxied { proxy, schema, _cluster }) = Proxied::new() else { return };
    let store = buffered(schema.open("stack"));
    add_shapes(&store, 1..=10);
    store.flush(TIMEOUT).expect("nothing fails");
    proxy.delay(Duration::from_millis(50));
    // One statement takes 50 ms, and memory none of them.
    let began = std::time::Instant::now();
    let receipt = store.add(conformance::shape(11), Wait::No).expect("it is accepted");
    assert!(store.has_handle(&conformance::handle(11)).expect("from memory"));
    let accepted = began.elapsed();
    receipt.wait_durable(TIMEOUT).expect("it is only slow");
    let durable = began.elapsed();
    assert!(durable >= Duration::from_millis(150) && accepted < durable, "{accepted:?}, {durable:?}");
    for number in 12..=90 {
        store.add(conformance::shape(number), Wait::UpTo(TIMEOUT)).expect("it is accepted");
    }
    store.flush(TIMEOUT).expect("batches share the delay");
    assert!(store.health().is_ready() && store.health().last_error.is_none(), "{}", store.health());
    assert_eq!(live(&schema.open("stack")).len(), 90);
}

#[test]
fn c9_a_network_that_hangs_in_either_direction_is_ridden_out() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let Some(Proxied { proxy, schema, _cluster }) = Proxied::new() else { return };
        let store = buffered(schema.open("stack"));
        add_shapes(&store, 1..=10);
        store.flush(TIMEOUT).expect("nothing fails");
        proxy.hang(direction);
        // A read that needs the server ends by its time-out.
        let began = std::time::Instant::now();
        let error = store.inner().inner().last_seq().expect_err("there is no answer");
        assert!([ErrorKind::Io, ErrorKind::Interrupted].contains(&error.kind()), "{direction:?}: {error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{direction:?}: {:?}", began.elapsed());
        let kinds = [ErrorKind::Io, ErrorKind::Interrupted, ErrorKind::Busy];
        assert_rides_out(&store, 11..=20, &kinds);
        proxy.flow();
        assert_recovers(&store, 20);
        drop(store);
        assert_eq!(live(&schema.open("stack")), (1..=20).collect::<Vec<_>>(), "{direction:?}");
    }
}

/// An administrator ends the session while its commit waits for a standby server. The server has committed
/// it, which is not confirmed until a standby server has it.
#[test]
fn c6_an_admin_shutdown_in_mid_commit_is_not_confirmed() {
    let Some(cluster) = server::own(&[]) else { return };
    let connection = cluster.connection();
    let mut schema = Schema::of(&connection);
    schema.pool = pool(&connection);
    let store = buffered(schema.open_with("stack", schema.options().durability(Durability::FailOver)));
    add_shapes(&store, 1..=2);
    store.flush(TIMEOUT).expect("nothing fails");
    support::execute(&connection, "ALTER SYSTEM SET synchronous_standby_names = 'absent'");
    support::execute(&connection, "ALTER SYSTEM SET synchronous_commit = local");
    support::execute(&connection, "SELECT pg_reload_conf()");
    wait_until("the setting is in force", || {
        support::query_texts(&connection, "SHOW synchronous_standby_names") == ["absent"]
    });
    let receipt = store.add(conformance::shape(3), Wait::UpTo(TIMEOUT)).expect("it is accepted");
    let waiting = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until("a commit is ended", || !support::query_texts(&connection, waiting).is_empty());
    wait_until("the health says so", || store.health().state.name() == "degraded");
    receipt.wait_durable(Duration::from_millis(20)).expect_err("no standby server has it");
    support::execute(&connection, "ALTER SYSTEM RESET ALL");
    support::execute(&connection, "SELECT pg_reload_conf()");
    wait_until("the setting is in force", || {
        support::query_texts(&connection, "SHOW synchronous_standby_names") == [""]
    });
    receipt.wait_durable(TIMEOUT).expect("it waits for none");
    assert_eq!(store.counts().expect("from memory").total, 3);
}

#[cfg(feature = "rustls")]
#[test]
fn c9_a_server_that_requires_tls_is_reached_by_tls_alone() {
    use shape_meta_postgres::{OnLiveOwner, Tls};

    let Some(mut cluster) = server::own(&[]) else { return };
    let Some(authority) = cluster.enable_tls() else { return };
    let superuser = cluster.connection();
    support::execute(&superuser, "CREATE ROLE sync LOGIN; GRANT CREATE ON DATABASE postgres TO sync");
    cluster.allow("hostssl all sync 127.0.0.1/32 trust\nhostnossl all sync all reject");
    support::execute(&superuser, "SELECT pg_reload_conf()");
    let schema = Schema::of(&superuser);
    let line = |host: &str, mode: &str| {
        format!(
            "host={host} hostaddr=127.0.0.1 port={} user=sync dbname=postgres sslmode={mode}",
            cluster.port
        )
    };
    let open = |line: &str, roots: Option<&[u8]>| {
        let mut options = support::pool_options(line);
        if let Some(roots) = roots {
            options = options.tls(Tls::roots(roots)?)?;
        }
        let pool = PostgresPool::new(options)?;
        support::open(&pool, "stack", schema.options().on_live_owner(OnLiveOwner::Wait(TIMEOUT)))
    };
    let kind = |line: &str, roots: Option<&[u8]>| open(line, roots).map(drop).expect_err(line).kind();
    wait_until("the rules are in force", || {
        open(&line("127.0.0.1", "disable"), None).is_err_and(|error| error.kind() == ErrorKind::AccessDenied)
    });
    assert_eq!(kind(&line("127.0.0.1", "disable"), Some(&authority)), ErrorKind::AccessDenied);
    assert_eq!(kind(&line("127.0.0.1", "require"), None), ErrorKind::Configuration, "there is no TLS here");
    assert_eq!(
        kind(&line("localhost", "require"), Some(&authority)),
        ErrorKind::Configuration,
        "another name"
    );
    let other = server::own(&[]).and_then(|mut cluster| cluster.enable_tls()).expect("there is openssl");
    assert_eq!(kind(&line("127.0.0.1", "require"), Some(&other)), ErrorKind::Configuration, "not trusted");
    let store = open(&line("127.0.0.1", "require"), Some(&authority)).expect("it is encrypted");
    fill(&store, 1..=3);
    let encrypted = "SELECT bool_and(ssl)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE usename = 'sync'";
    assert_eq!(support::query_texts(&superuser, encrypted), ["true"]);
}
