//! Standbys: what they show, how they follow, and how they become the owner (C1, C11, C13).

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{ErrorKind, NoopObserver, ReadShapesExt, Seq, ShapeStore, SnapshotState, conformance};
use shape_meta_postgres::{DiskIndexes, OnLiveOwner, PostgresPool, PostgresStandby};

use crate::{
    server,
    support::{self, Schema, add, apply, batch, fill, live, mark, remove},
};

const TIMEOUT: Duration = Duration::from_secs(60);

type Mirror = Cached<Arc<PostgresStandby>>;

fn standby(schema: &Schema, pool: &PostgresPool) -> Arc<PostgresStandby> {
    let options = schema.options().on_live_owner(OnLiveOwner::Fail);
    Arc::new(PostgresStandby::open(pool, "stack", options, Arc::new(NoopObserver)).expect("it opens"))
}

fn mirror(standby: &Arc<PostgresStandby>) -> Mirror {
    Cached::open(Arc::clone(standby), CacheOptions::default(), Arc::new(NoopObserver)).expect("it loads")
}

fn handles(mirror: &Mirror, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let has = |number: &u64| mirror.has_handle(&conformance::handle(*number)).expect("from memory");
    numbers.into_iter().filter(has).collect()
}

#[test]
fn c1_a_standby_reads_and_refreshes_incrementally() {
    let Some(schema) = Schema::new() else { return };
    let owner = schema.open("stack");
    fill(&owner, 1..=5);
    let pool = support::pool(server::shared().expect("there is a server"));
    let standby = standby(&schema, &pool);
    let mirror = mirror(&standby);
    assert_eq!(live(&*standby), [1, 2, 3, 4, 5]);
    assert_eq!(handles(&mirror, 1..9), [1, 2, 3, 4, 5]);
    apply(&owner, 8, [add(6, SnapshotState::Pending), remove(2), mark(6, SnapshotState::Started)]);
    assert_eq!(handles(&mirror, 1..9), [1, 2, 3, 4, 5], "memory shows the last refresh");
    let report = mirror.refresh().expect("reads");
    assert!(!report.full, "{report:?}");
    assert_eq!((report.added, report.removed, report.through), (1, 1, Seq::new(8)));
    assert_eq!(handles(&mirror, 1..9), [1, 3, 4, 5, 6]);
    let error = standby.apply(&batch(9, [remove(1)])).expect_err("it only reads");
    assert_eq!(error.kind(), ErrorKind::Standby);
}

#[test]
fn c13_a_standby_follows_a_hand_over_and_notices_a_restore() {
    let Some(schema) = Schema::new() else { return };
    let owner = schema.open("stack");
    fill(&owner, 1..=5);
    schema.execute(
        "CREATE TABLE @saved_stack AS SELECT * FROM @stack; CREATE TABLE @saved_lineage AS SELECT * FROM @lineage",
    );
    fill(&owner, 6..=7);
    let standby = standby(&schema, &schema.pool);
    let mirror = mirror(&standby);
    let next = schema.open("stack");
    fill(&next, 8..=8);
    let report = mirror.refresh().expect("reads");
    assert!(!report.full, "a hand-over is of the same line: {report:?}");
    assert_eq!(handles(&mirror, 1..10), [1, 2, 3, 4, 5, 6, 7, 8]);
    // An earlier state that no process has opened since.
    schema.execute(
        "DELETE FROM @stack; INSERT INTO @stack SELECT * FROM @saved_stack; \
         DELETE FROM @lineage; INSERT INTO @lineage SELECT * FROM @saved_lineage; \
         DELETE FROM @shape WHERE id > 5; DELETE FROM @definition WHERE id > 5; \
         DELETE FROM @handle_lookup WHERE id > 5; DELETE FROM @key_lookup WHERE id > 5; \
         DELETE FROM @relation_lookup WHERE id > 5",
    );
    let error = mirror.refresh().expect_err("a standby never goes back");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!(handles(&mirror, 1..10), [1, 2, 3, 4, 5, 6, 7, 8]);
    let restored = schema.open("stack");
    apply(&restored, 6, [remove(1)]);
    let report = mirror.refresh().expect("an owner has opened it");
    assert!(report.full, "{report:?}");
    assert_eq!(handles(&mirror, 1..10), [2, 3, 4, 5]);
}

#[test]
fn c1_a_commit_is_pushed_to_standbys() {
    let Some(schema) = Schema::new() else { return };
    let owner = schema.open("stack");
    // Without notifications it would take until the next poll.
    let options = support::pool_options(server::shared().expect("there is a server"))
        .poll_interval(Duration::from_secs(1_000));
    let pool = PostgresPool::new(options).expect("the thread starts");
    let standby = standby(&schema, &pool);
    let mirror = Arc::new(mirror(&standby));
    let (sender, refreshed) = mpsc::channel();
    let refreshes = Arc::downgrade(&mirror);
    standby
        .follow(move |_| {
            let Some(mirror) = refreshes.upgrade() else { return true };
            let refreshed = mirror.refresh().map(|report| report.through);
            let is_ok = refreshed.is_ok();
            let _ = sender.send(refreshed);
            is_ok
        })
        .expect("it follows");
    for number in 1..=20 {
        fill(&owner, number..=number);
        while refreshed.recv_timeout(TIMEOUT).expect("it is pushed").expect("reads") < Seq::new(number) {}
        assert_eq!(handles(&mirror, [number]), [number]);
    }
}

#[test]
fn c9_a_standby_polls_where_notifications_do_not_arrive() {
    let Some(schema) = Schema::new() else { return };
    let owner = schema.open("stack");
    let options = support::pool_options(server::shared().expect("there is a server"))
        .poll_interval(Duration::from_millis(20));
    let pool = PostgresPool::new(options).expect("the thread starts");
    let standby = standby(&schema, &pool);
    let (sender, looked) = mpsc::channel();
    standby.follow(move |is_owned| sender.send(is_owned).is_ok()).expect("it follows");
    assert!(looked.recv_timeout(TIMEOUT).expect("it looks at once"));
    // Another program commits, and announces nothing.
    owner.release().expect("the server answers");
    while looked.recv_timeout(TIMEOUT).expect("it polls") {}
    assert!(standby.owner_info().expect("reads").is_none());
}

#[test]
fn c11_a_standby_is_promoted_once_the_stack_is_free() {
    let Some(schema) = Schema::new() else { return };
    let address = "10.0.0.8:3000";
    let options = support::pool_options(server::shared().expect("there is a server")).address(address);
    let pool = PostgresPool::new(options).expect("the thread starts");
    let owner = support::open(&pool, "stack", schema.options()).expect("it opens");
    fill(&owner, 1..=3);
    let standby = standby(&schema, &schema.pool);
    let mirror = mirror(&standby);
    let info = standby.owner_info().expect("reads").expect("it is live");
    assert_eq!((info.address.as_str(), info.process, info.epoch), (address, std::process::id(), 1));
    assert!(!info.lease.is_zero());
    let error = standby.promote(OnLiveOwner::Fail).expect_err("it has an owner");
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen);
    fill(&owner, 4..=4);
    owner.release().expect("the server answers");
    let promoted = standby.promote(OnLiveOwner::Fail).expect("it is free");
    promoted.recover().expect("nothing fails");
    let report = mirror.refresh().expect("reads");
    assert!(!report.full, "{report:?}");
    standby.apply(&batch(5, [add(5, SnapshotState::Complete)])).expect("it is the owner");
    assert_eq!(live(&*standby), [1, 2, 3, 4, 5]);
    assert_eq!(standby.owner_info().expect("reads").map(|info| info.epoch), Some(2));
    assert!(Arc::ptr_eq(promoted, standby.promote(OnLiveOwner::Fail).expect("it is the owner")));
}

#[test]
fn c11_a_standby_needs_a_stack_with_what_it_asks_for() {
    let Some(schema) = Schema::new() else { return };
    let open = |disk_indexes| {
        let options = schema.options().disk_indexes(disk_indexes);
        PostgresStandby::open(&schema.pool, "stack", options, Arc::new(NoopObserver))
    };
    let kind = |disk_indexes| open(disk_indexes).err().map(|error| error.kind());
    assert_eq!(kind(DiskIndexes::Omitted), Some(ErrorKind::NotFound), "there are no tables");
    let _other = schema.open("other");
    assert_eq!(kind(DiskIndexes::Omitted), Some(ErrorKind::NotFound), "there is no such stack");
    let _owner = schema.open_with("stack", schema.options().disk_indexes(DiskIndexes::Omitted));
    assert_eq!(kind(DiskIndexes::Omitted), None);
    assert_eq!(kind(DiskIndexes::Maintained), Some(ErrorKind::Configuration));
    schema.execute("UPDATE @format SET version = 99");
    assert_eq!(kind(DiskIndexes::Omitted), Some(ErrorKind::UnsupportedSchema));
}
