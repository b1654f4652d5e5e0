//! The forms of a standby, and promotions that are stopped.

use std::{thread, time::Duration};

use shape_meta::{Error, ErrorKind, OnLiveOwner, Standby, StopHandle, prelude::*};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{Composition, DIRECT, PRODUCT, TIMEOUT, WAIT};
use shape_meta_testing_postgres::{self as server, Direction, Proxy};

use super::ticker::{Executor, OnDisk};
use crate::postgres::Schema;

/// Longer than any test runs.
const FOR_EVER: OnLiveOwner = OnLiveOwner::Wait(Duration::from_secs(86_400));

fn owner(on: &OnDisk) -> ShapeMeta {
    let owner = on.open(DIRECT);
    owner.add(shape(1), WAIT).expect("it is new");
    owner.mark_snapshot_complete(&handle(1), WAIT).expect("it is live");
    owner
}

fn standby(on: &OnDisk, composition: Composition) -> Standby {
    let builder = composition.builder().sqlite(OnDisk::options());
    builder.open_standby(on.path()).expect("the owner has created the database")
}

#[test]
fn c14_no_form_of_a_standby_blocks_the_executor() {
    let on = OnDisk::new();
    let owner = owner(&on);
    let path = on.path().to_owned();
    let open = async move {
        let builder = PRODUCT.builder().sqlite(OnDisk::options());
        builder.open_standby_async(path).await
    };
    let (standby, has_hung) = on.run("open_standby", open);
    let standby = standby.expect("there is a database");
    assert!(has_hung);

    owner.add(shape(2), WAIT).expect("it is new");
    let one = standby.clone();
    let (refreshed, has_hung) = on.run("refresh", async move { one.refresh_async().await });
    refreshed.expect("the disk works");
    assert!(has_hung && standby.has_handle(&handle(2)).expect("in memory"));

    let one = standby.clone();
    let (record, has_hung) = on.run("record", async move { one.record_async(&handle(1)).await });
    assert!(has_hung && record.expect("the disk works").is_some());

    assert!(owner.close(TIMEOUT).is_complete());
    let one = standby.clone();
    let (store, has_hung) = on.run("promote", async move { one.promote_async(FOR_EVER).await });
    let store = store.expect("the owner has closed");
    assert!(has_hung);
    store.add(shape(3), WAIT).expect("it is the owner");
}

/// The network hangs in place of the disk.
#[test]
fn c14_opening_a_standby_over_the_network_blocks_no_executor() {
    let Some(cluster) = server::own(&[]) else { return };
    let proxy = Proxy::to(cluster.port);
    let schema = Schema::of(&server::connection(proxy.port, server::PASSWORD));
    let open = || {
        let (builder, pool) = (PRODUCT.builder().postgres(schema.options()), schema.another_pool());
        Executor::start(async move { builder.open_postgres_standby_async(&pool, "stack").await })
    };
    let error = open().join().expect_err("there is no stack");
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let owner = schema.open(PRODUCT.builder(), "stack");
    owner.add(shape(1), WAIT).expect("it is new");
    owner.mark_snapshot_complete(&handle(1), WAIT).expect("it is live");
    assert!(owner.close(TIMEOUT).is_complete());
    proxy.hang(Direction::ToServer);
    let opening = open();
    let has_ticked = opening.has_ticked();
    proxy.flow();
    assert!(has_ticked, "it blocks the executor while the network hangs");
    let standby = opening.join().expect("there is a stack");
    assert!(standby.has_handle(&handle(1)).expect("in memory"));
}

/// A live owner is no disk that hangs, and takes longer.
#[test]
fn c14_a_promotion_waits_next_to_refreshes() {
    let on = OnDisk::new();
    let owner = owner(&on);
    let standby = standby(&on, PRODUCT);
    let waiting = standby.clone();
    let promotion = Executor::start(async move { waiting.promote_async(FOR_EVER).await });
    assert!(promotion.has_ticked());
    for number in 2..20 {
        owner.add(shape(number), WAIT).expect("it is new");
        let one = standby.clone();
        Executor::start(async move { one.refresh_async().await }).join().expect("the disk works");
        assert!(standby.has_handle(&handle(number)).expect("in memory"));
    }
    assert!(!promotion.is_finished(), "the owner is alive");
    assert!(owner.close(TIMEOUT).is_complete());
    promotion.join().expect("the owner has closed").add(shape(20), WAIT).expect("it is the owner");
}

#[test]
fn c14_a_dropped_promotion_ends_and_leaves_a_standby() {
    let on = OnDisk::new();
    let owner = owner(&on);
    let standby = standby(&on, PRODUCT);
    let waiting = standby.clone();
    Executor::start(async move {
        let promotion = tokio::spawn(async move { waiting.promote_async(FOR_EVER).await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        promotion.abort();
        assert!(promotion.await.expect_err("it waits for the owner").is_cancelled());
    })
    .join();
    assert!(standby.store().is_none());
    standby.refresh().expect("it is a standby");
    // The dropped promotion does not wait any more, so it does not take the ownership in place of this one.
    assert!(owner.close(TIMEOUT).is_complete());
    let next = on.open(DIRECT);
    next.add(shape(2), WAIT).expect("it is the owner");
    assert!(next.close(TIMEOUT).is_complete());
    standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
}

#[test]
fn c14_a_blocking_promotion_and_an_open_end_when_stopped() {
    let on = OnDisk::new();
    let owner = owner(&on);
    let standby = standby(&on, PRODUCT);
    let is_stopped = |error: Error| assert_eq!(error.kind(), ErrorKind::Interrupted);
    let stops = [StopHandle::new(), StopHandle::new(), StopHandle::new()];
    thread::scope(|scope| {
        // The second one waits for the first one, and both for the owner.
        let [first, second, opening] = &stops;
        let promotions = [first, second].map(|stop| {
            let standby = &standby;
            scope.spawn(move || standby.promote_unless_stopped(FOR_EVER, stop).map(drop))
        });
        let open = scope.spawn(|| {
            let options = OnDisk::options().on_live_owner(FOR_EVER).stop_handle(opening);
            DIRECT.builder().sqlite(options).open(on.path()).map(drop)
        });
        stops.iter().for_each(StopHandle::stop);
        for promotion in promotions {
            is_stopped(promotion.join().expect("no panic").expect_err("the owner is alive"));
        }
        is_stopped(open.join().expect("no panic").expect_err("the owner is alive"));
    });
    owner.add(shape(2), WAIT).expect("it is still the owner");
    standby.refresh().expect("it is still a standby");
}

#[test]
fn c14_a_dropped_open_does_not_wait_for_the_owner() {
    let on = OnDisk::new();
    let owner = owner(&on);
    let path = on.path().to_owned();
    Executor::start(async move {
        let options = OnDisk::options().on_live_owner(FOR_EVER);
        let opening = tokio::spawn(DIRECT.builder().sqlite(options).open_async(path));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        opening.abort();
        assert!(opening.await.expect_err("it waits for the owner").is_cancelled());
    })
    .join();
    assert!(owner.close(TIMEOUT).is_complete());
    let next = OnDisk::options().on_live_owner(OnLiveOwner::Wait(TIMEOUT));
    DIRECT.builder().sqlite(next).open(on.path()).expect("no open is left");
}
