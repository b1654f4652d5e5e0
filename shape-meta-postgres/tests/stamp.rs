//! The stamp of the application: a stack with another one is kept, refused, emptied or re-keyed. And the time
//! of creation in tables of version 1.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Change, Definition, Entry, ErrorKind, NoopObserver, OnOtherStamp, ReadShapes, Record, Rekey, Relation,
    Seq, ShapeStore, ShapeStoreExt, SnapshotState, Stamp, StampCheck, StampOutcome, Timestamp,
    conformance::{self, SecondVersion},
};
use shape_meta_postgres::{
    DiskIndexes, OnLiveOwner, PoolOptions, PostgresInspector, PostgresOptions, PostgresPool, PostgresStandby,
    PostgresStore,
};
use shape_meta_testing_postgres::{Fault, Proxy};

use crate::{
    server,
    support::{self, Schema, wait_until},
};

/// More than one page, and more than one insert.
const SHAPES: u64 = 9_000;

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

/// Fills a stack of version 1 with these complete shapes.
fn filled(schema: &Schema, stack: &str, shapes: u64) {
    let store = schema.open_with(stack, stamped(schema, 1, OnOtherStamp::Refuse));
    support::fill(&store, 1..=shapes);
    store.close();
}

/// The stamp of [`stamped`].
fn version(version: u64) -> Stamp {
    Stamp::of_postgres(version, 7, 1, "app")
}

/// Re-keys to version 2, and runs `at` before one of the shapes.
fn rekey_with(number: u64, at: impl Fn() + Send + Sync + 'static) -> OnOtherStamp {
    OnOtherStamp::Rekey(Rekey::new(move |_: &Stamp, record: &Record| {
        let second = SecondVersion::of(record);
        if second.0 == number {
            at();
        }
        Ok::<_, Infallible>(Some(second))
    }))
}

/// Options of the pool of a process whose re-key waits for other processes.
fn slow_pool_options(connection: &str) -> PoolOptions {
    support::pool_options(connection).transaction_timeout(Duration::from_secs(120))
}

fn slow_pool(connection: &str) -> PostgresPool {
    PostgresPool::new(slow_pool_options(connection)).expect("the thread starts")
}

/// Asserts that the shapes have the encoding of version 2, exactly once.
fn assert_second(schema: &Schema, store: &PostgresStore, shapes: u64) {
    assert_eq!(store.last_seq().expect("reads"), Seq::new(2 * shapes));
    assert_eq!(store.counts().expect("reads").total, shapes);
    let scan = store.scan().expect("opens").map(|item| item.expect("reads").record);
    let mut number = 0;
    for record in scan {
        number += 1;
        assert_eq!(record.entry.created(), Seq::new(shapes + number));
        assert_eq!(record.handle(), &conformance::handle(number));
        assert_eq!(record.key(), &SecondVersion(number).key());
        assert_eq!(*record.definition, *SecondVersion(number).encode());
    }
    assert_eq!(number, shapes);
    assert!(support::tasks(store).is_empty(), "live data is not handed over");
    assert_sound(schema, store.name());
}

fn assert_sound(schema: &Schema, stack: &str) {
    let options = PostgresOptions::default().schema(&*schema.name);
    let inspector = PostgresInspector::open(&schema.pool, stack, options).expect("it opens");
    inspector.verify(None, &mut |problem| panic!("{problem}")).expect("it reads");
}

/// Returns all rows that a re-key may change.
fn rows(schema: &Schema) -> Vec<String> {
    let tables = [
        "shape",
        "definition",
        "last_read",
        "key_lookup",
        "relation_lookup",
        "change_log",
        "cleanup",
        "stamp",
    ];
    tables
        .iter()
        .flat_map(|table| schema.query(&format!("SELECT t::text FROM @{table} t ORDER BY 1")))
        .collect()
}

#[test]
fn c2_a_rekey_computes_anew_and_keeps_what_is_of_the_shape() {
    let Some(schema) = Schema::new() else { return };
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let stack = format!("{disk_indexes:?}");
        let first = stamped(&schema, 1, OnOtherStamp::Refuse).disk_indexes(disk_indexes);
        let store = schema.open_with(&stack, first.clone());
        support::fill(&store, 1..=9);
        support::apply(&store, 10, [support::add(10, SnapshotState::Started)]);
        let read = Timestamp::from_micros(1_768_476_874_000_000);
        store.save_reads(&[(Seq::new(4), read)]).expect("saves");
        store.close();
        let standby = PostgresStandby::open(&schema.pool, &stack, first, Arc::new(NoopObserver));
        let standby = Arc::new(standby.expect("the standby opens"));
        let mirror = Cached::open(Arc::clone(&standby), CacheOptions::default(), Arc::new(NoopObserver));
        let mirror = mirror.expect("it loads");

        // Number 3 is dropped, and number 7 gets the key of number 6.
        let rekey = Rekey::new(|found: &Stamp, record: &Record| {
            assert_eq!(found, &version(1));
            let SecondVersion(number) = SecondVersion::of(record);
            Ok::<_, Infallible>((number != 3).then_some(SecondVersion(if number == 7 { 6 } else { number })))
        });
        let options = stamped(&schema, 2, OnOtherStamp::Rekey(rekey)).disk_indexes(disk_indexes);
        let store = schema.open_with(&stack, options.clone());
        let rekeyed = StampOutcome::Rekeyed { found: version(1), rekeyed: 8, dropped: 1, merged: 1 };
        assert_eq!(store.report().stamp, rekeyed);
        assert_eq!(store.report().last_seq, Seq::new(18));
        let kept = [1, 2, 4, 5, 6, 8, 9, 10];
        // The times are the same in memory and, after another open, on disk.
        let mut times = Vec::new();
        for reopened in [false, true] {
            let store = if reopened { &schema.open_with(&stack, options.clone()) } else { &store };
            let scan: Vec<_> = store.scan().expect("opens").map(|item| item.expect("reads")).collect();
            assert_eq!(scan.len(), kept.len());
            for (item, number) in scan.iter().zip(kept) {
                let (entry, new) = (&item.record.entry, SecondVersion(number));
                assert_eq!(entry.handle(), &conformance::handle(number));
                assert_eq!(entry.created_at(), conformance::shape(number).created_at);
                let state = if number == 10 { SnapshotState::Started } else { SnapshotState::Complete };
                assert_eq!(entry.state(), state);
                assert_eq!((entry.key(), entry.hash()), (&new.key(), new.key().definition_hash()));
                assert_eq!((entry.relations(), entry.is_indexed()), (&new.relations()[..], true));
                assert_eq!(*item.record.definition, *new.encode());
                let last_read = item.metadata.last_read.expect("it counts as read when it was found first");
                assert_eq!(last_read == read, number == 4);
                times.push(last_read);
            }
            assert_eq!(store.report().counts.indexed, 8);
            if disk_indexes == DiskIndexes::Maintained {
                let handle_for = |key| store.handle_for(&key).expect("reads");
                assert_eq!(handle_for(SecondVersion(6).key()), Some(conformance::handle(6)));
                assert_eq!(handle_for(conformance::key(6)), None);
                assert_eq!(store.handles_for_relations(&[Relation::new(100)]).expect("reads").len(), 2);
            }
        }
        let store = schema.open_with(&stack, options);
        assert_eq!(store.report().stamp, StampOutcome::Unchanged);
        assert_eq!(times[..8], times[8..]);
        // A standby follows it as removals and adds.
        let delta = standby.changes_since(Seq::new(10)).expect("reads").expect("it is of the line");
        assert_eq!((delta.removed.len(), delta.added.len(), delta.counts.total), (10, 8, 8));
        let handle_for = |key| mirror.handle_for(&key).expect("from memory");
        assert_eq!(handle_for(conformance::key(6)), Some(conformance::handle(6)));
        assert!(!mirror.refresh().expect("reads").full);
        assert_eq!(handle_for(conformance::key(6)), None);
        assert_eq!(handle_for(SecondVersion(6).key()), Some(conformance::handle(6)));
        store.recover().expect("the recovery succeeds");
        let removed = [3, 7, 10].map(conformance::handle);
        assert_eq!(support::tasks(&store), removed, "live data is not handed over");
        assert_eq!(store.resource_usage().cleanup_tasks, Some(3));
        assert_sound(&schema, &stack);
    }
}

#[test]
fn c2_of_shapes_that_get_one_key_the_oldest_stays_across_pages() {
    let Some(schema) = Schema::new() else { return };
    filled(&schema, "stack", SHAPES);
    let merge = |_: &Stamp, record: &Record| {
        Ok::<_, Infallible>(Some(SecondVersion(SecondVersion::of(record).0 % 5_000)))
    };
    let store = schema.open_with("stack", stamped(&schema, 2, OnOtherStamp::Rekey(Rekey::new(merge))));
    let merged = SHAPES - 5_000;
    let rekeyed = StampOutcome::Rekeyed { found: version(1), rekeyed: 5_000, dropped: 0, merged };
    assert_eq!(store.report().stamp, rekeyed);
    assert_eq!(store.counts().expect("reads").total, 5_000);
    let handles: Vec<_> = (5_001..=SHAPES).map(conformance::handle).collect();
    assert_eq!(support::tasks(&store), handles);
    assert_sound(&schema, "stack");
}

/// A function of the application that fails changes nothing, wherever it fails, and any open goes on.
#[test]
fn c6_an_interrupted_rekey_begins_anew() {
    let Some(schema) = Schema::new() else { return };
    filled(&schema, "stack", SHAPES);
    let before = rows(&schema);
    for fails_at in [1, 4_000, SHAPES] {
        let failing = Rekey::new(move |_: &Stamp, record: &Record| match SecondVersion::of(record) {
            SecondVersion(number) if number == fails_at => Err("it cannot be decoded"),
            second => Ok(Some(second)),
        });
        let options = stamped(&schema, 2, OnOtherStamp::Rekey(failing));
        let error = support::open(&schema.pool, "stack", options).expect_err("the re-key fails");
        assert_eq!(error.kind(), ErrorKind::OtherStamp, "{error}");
        assert!(error.to_string().contains(conformance::handle(fails_at).as_str()), "{error}");
        assert!(rows(&schema) == before, "no row changes");
        // The ownership is given up.
        let options = stamped(&schema, 1, OnOtherStamp::Refuse).on_live_owner(OnLiveOwner::Fail);
        let store = support::open(&schema.pool, "stack", options).expect("what made the shapes opens them");
        assert_eq!(store.counts().expect("reads").total, SHAPES);
        store.close();
    }
    let store = schema.open_with("stack", stamped(&schema, 2, SecondVersion::rekey()));
    let rekeyed = StampOutcome::Rekeyed { found: version(1), rekeyed: SHAPES, dropped: 0, merged: 0 };
    assert_eq!(store.report().stamp, rekeyed);
    assert_second(&schema, &store, SHAPES);
}

/// The connection is lost, or the server is killed, between two pages.
#[test]
fn c6_a_rekey_that_loses_its_server_changes_nothing() {
    let Some(cluster) = server::own(&["fsync=on"]) else { return };
    let schema = Schema::of(&cluster.connection());
    let cluster = Arc::new(Mutex::new(cluster));
    for kills in [false, true] {
        let stack = format!("kills {kills}");
        filled(&schema, &stack, SHAPES);
        let before = rows(&schema);
        let (server, connection) = (Arc::clone(&cluster), schema.connection().to_owned());
        let rekey = rekey_with(8_000, move || match kills {
            true => {
                let mut server = server.lock().expect("no thread panicked");
                server.kill();
                server.start();
            }
            false => drop(support::query_texts(&connection, TERMINATE)),
        });
        let error = support::open(&schema.pool, &stack, stamped(&schema, 2, rekey)).expect_err("it is lost");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(rows(&schema) == before, "no row changes");
        let store = schema.open_with(&stack, stamped(&schema, 2, SecondVersion::rekey()));
        assert_second(&schema, &store, SHAPES);
    }
}

/// Ends the sessions that are in a transaction, between two statements.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction'";

/// The commit of a re-key is the second one of an open.
#[test]
fn i6_a_rekey_whose_answer_was_lost_is_found_by_the_next_open() {
    let Some(cluster) = server::own(&[]) else { return };
    let proxy = Arc::new(Proxy::to(cluster.port));
    let mut schema = Schema::of(&cluster.connection());
    schema.pool = PostgresPool::new(
        support::pool_options(&server::connection(proxy.port, server::PASSWORD))
            .statement_timeout(Duration::from_secs(2)),
    )
    .expect("the thread starts");
    for (fault, is_committed) in [(Fault::CutBefore, false), (Fault::CutAfter, true)] {
        let stack = format!("{fault:?}");
        filled(&schema, &stack, 20);
        let fails = Arc::clone(&proxy);
        let rekey = rekey_with(20, move || fails.fail_next_commit(fault));
        let error = support::open(&schema.pool, &stack, stamped(&schema, 2, rekey)).expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(proxy.has_failed());
        let store = schema.open_with(&stack, stamped(&schema, 2, SecondVersion::rekey()));
        let rekeyed = StampOutcome::Rekeyed { found: version(1), rekeyed: 20, dropped: 0, merged: 0 };
        let expected = if is_committed { StampOutcome::Unchanged } else { rekeyed };
        assert_eq!(store.report().stamp, expected, "{fault:?}");
        assert_second(&schema, &store, 20);
    }
}

/// What the other processes see while one re-keys, and what becomes of an owner that is taken over meanwhile.
#[test]
fn c11_other_processes_see_a_rekey_as_a_whole_or_not_at_all() {
    let Some(cluster) = server::own(&[]) else { return };
    let connection = cluster.connection();
    let mut schema = Schema::of(&connection);
    schema.pool = slow_pool(&connection);
    filled(&schema, "stack", SHAPES);
    let other = PostgresPool::new(support::pool_options(&connection).lock_timeout(Duration::from_millis(50)));
    let other = other.expect("the thread starts");
    let standby =
        PostgresStandby::open(&other, "stack", schema.options(), Arc::new(NoopObserver)).expect("it opens");
    let taken_over = Arc::new(Mutex::new(None));

    let (to, options) = (Arc::clone(&taken_over), schema.options());
    let rekey = rekey_with(8_000, move || {
        assert!(support::live(&standby).into_iter().eq(1..=SHAPES), "a standby shows the old shapes");
        assert_eq!(standby.last_seq().expect("reads"), Seq::new(SHAPES));
        let check = StampCheck::new(version(2)).on_other_version(SecondVersion::rekey());
        let options = options.clone().stamp(check);
        // No one becomes the owner meanwhile, neither by force nor by waiting.
        for on_live_owner in [OnLiveOwner::Fence, OnLiveOwner::Wait(Duration::from_millis(300))] {
            let error = support::open(&other, "stack", options.clone().on_live_owner(on_live_owner));
            assert_eq!(error.expect_err("the stack is locked").kind(), ErrorKind::Busy);
        }
        // Until the server has lost the owner.
        support::query_texts(&connection, TERMINATE);
        let newer = support::open(&other, "stack", options).expect("it opens");
        *to.lock().expect("no thread panicked") = Some(newer);
    });
    let error = support::open(&schema.pool, "stack", stamped(&schema, 2, rekey)).expect_err("it is lost");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let newer = taken_over.lock().expect("no thread panicked").take().expect("it is open");
    let rekeyed = StampOutcome::Rekeyed { found: version(1), rekeyed: SHAPES, dropped: 0, merged: 0 };
    assert_eq!(newer.report().stamp, rekeyed);
    assert_second(&schema, &newer, SHAPES);
    support::apply(&newer, 2 * SHAPES + 1, [support::remove(1)]);
}

/// An open that waits becomes the owner after a re-key that takes longer than the lock time-out.
#[test]
fn c11_an_open_waits_for_a_long_rekey() {
    let Some(cluster) = server::own(&[]) else { return };
    let connection = cluster.connection();
    let mut schema = Schema::of(&connection);
    schema.pool = slow_pool(&connection);
    filled(&schema, "stack", 20);
    let other = PostgresPool::new(support::pool_options(&connection).lock_timeout(Duration::from_millis(20)));
    let other = other.expect("the thread starts");
    let wait = schema.options().on_live_owner(OnLiveOwner::Wait(Duration::from_secs(60)));
    let opening = Arc::new(Mutex::new(None));
    let to = Arc::clone(&opening);
    let rekey = rekey_with(7, move || {
        let (other, wait) = (other.clone(), wait.clone());
        let thread = std::thread::spawn(move || support::open(&other, "stack", wait));
        *to.lock().expect("no thread panicked") = Some(thread);
        // It waits for the lock, gives up, and waits once more.
        let waits = || support::query_texts(&connection, WAITS);
        wait_until("it waits for the lock", || !waits().is_empty());
        let first = waits();
        wait_until("it waits again", || !waits().is_empty() && waits() != first);
    });
    let store = schema.open_with("stack", stamped(&schema, 2, rekey));
    assert_second(&schema, &store, 20);
    store.close();
    let thread = opening.lock().expect("no thread panicked").take().expect("it was started");
    let next = thread.join().expect("it ends").expect("it becomes the owner");
    assert_eq!(next.report().last_seq, Seq::new(40));
}

/// The transactions that wait for a lock.
const WAITS: &str = "SELECT xact_start::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

/// The lease is renewed while the function of the application runs.
#[test]
fn c11_the_lease_is_kept_during_a_rekey() {
    let Some(schema) = Schema::new() else { return };
    filled(&schema, "stack", 20);
    let pool = slow_pool_options(schema.connection()).lease(Duration::from_millis(900));
    let pool = PostgresPool::new(pool).expect("the thread starts");
    let (connection, name) = (schema.connection().to_owned(), schema.name.clone());
    let rekey = rekey_with(7, move || {
        let lease = || {
            let query = format!("SELECT max(lease_until)::text FROM \"{name}\".process");
            support::query_texts(&connection, &query)
        };
        // Also a lease that has run out begins anew, although the row of the stack is locked.
        for has_run_out in [false, true] {
            if has_run_out {
                let expire =
                    format!("UPDATE \"{name}\".process SET lease_until = now() - interval '1 minute'");
                support::execute(&connection, &expire);
            }
            let before = lease();
            wait_until("the lease is renewed", || lease() != before);
        }
    });
    let store = support::open(&pool, "stack", stamped(&schema, 2, rekey)).expect("it opens");
    store.check_lease().expect("it is valid");
    assert_second(&schema, &store, 20);
}
