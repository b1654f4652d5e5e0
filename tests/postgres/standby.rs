//! Standbys on other machines: what they show and when, and which of them becomes the owner (C1, C6, C11).

use std::time::{Duration, Instant};

use shape_meta::{
    ErrorKind, HealthState, MutateShapesExt, OnLiveOwner, ReadShapesExt, Seq, ShapeMeta, SnapshotState,
    StoreControl,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{BUFFERED, PRODUCT, TIMEOUT, WAIT};
use shape_meta_testing_postgres::{self as server, Proxy};

use super::support::{ADDRESS, Schema};

/// Adds a complete shape, durably.
fn add(store: &ShapeMeta, number: u64) -> Seq {
    store.add(shape(number), WAIT).expect("it is accepted");
    let receipt = store.mark_snapshot_complete(&handle(number), WAIT).expect("it is accepted");
    receipt.wait_durable(TIMEOUT).expect("nothing fails");
    receipt.seq()
}

#[test]
fn c1_a_receipt_is_awaited_on_another_machine() {
    let Some(schema) = Schema::new() else { return };
    // A standby without a cache reads the look-ups of the stack.
    let owner = schema.open(BUFFERED.builder(), "stack");
    let pool = schema.another_pool();
    let standbys =
        [PRODUCT, BUFFERED].map(|composition| schema.standby_on(&pool, composition.builder(), "stack"));
    for number in 1..=20 {
        let seq = add(&owner, number);
        for standby in &standbys {
            assert!(standby.wait_visible(seq, TIMEOUT).expect("reads"));
            let state = standby.snapshot_state(&handle(number)).expect("reads");
            assert_eq!(state, Some(SnapshotState::Complete));
            assert!(standby.staleness() < TIMEOUT);
        }
    }
    for standby in &standbys {
        let later = Seq::new(1_000_000);
        assert!(!standby.wait_visible(later, Duration::from_millis(20)).expect("reads"));
    }
}

#[test]
fn c11_of_two_standbys_one_takes_a_free_stack_over() {
    let Some(schema) = Schema::new() else { return };
    let owner = schema.open(PRODUCT.builder(), "stack");
    add(&owner, 1);
    let pools = [schema.another_pool(), schema.another_pool()];
    let standbys = pools.each_ref().map(|pool| {
        let standby = schema.standby_on(pool, PRODUCT.builder(), "stack");
        standby.promote_when_free();
        standby
    });
    let info = standbys[0].owner().expect("reads").expect("it is live");
    assert_eq!((info.address.as_str(), info.epoch), ("", 1));
    assert!(owner.close(TIMEOUT).is_complete());
    let began = Instant::now();
    let promoted = loop {
        assert!(began.elapsed() < TIMEOUT, "no standby is promoted");
        let promoted = standbys.iter().find_map(|one| one.wait_promoted(Duration::from_millis(20)));
        if let Some(store) = promoted {
            break store;
        }
    };
    assert!(matches!(promoted.health().state, HealthState::Ready));
    let other = standbys.iter().find(|one| one.store().is_none()).expect("one is left");
    let info = other.owner().expect("reads").expect("it is live");
    assert_eq!((info.address.as_str(), info.epoch), (ADDRESS, 2));
    let seq = add(&promoted, 2);
    assert!(other.wait_visible(seq, TIMEOUT).expect("reads"));
    assert!(other.has_handle(&handle(1)).expect("reads") && other.has_handle(&handle(2)).expect("reads"));
    let error = other.promote(OnLiveOwner::Fail).expect_err("it has an owner");
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen);
}

/// The network of the owner is cut, as if its machine had died.
#[test]
fn c6_c11_a_dead_owner_is_replaced_when_its_lease_ends() {
    let Some(cluster) = server::own(&[]) else { return };
    let schema = Schema::of(&cluster.connection());
    let proxy = Proxy::to(cluster.port);
    let owner_side = Schema::of(&server::connection(proxy.port, server::PASSWORD));
    let pool = owner_side.another_pool();
    let owner = PRODUCT.builder().postgres(schema.options()).open_postgres(&pool, "stack");
    let owner = owner.expect("it opens");
    let seq = add(&owner, 1);
    let standby = schema.standby(PRODUCT.builder(), "stack");
    standby.promote_when_free();
    assert!(standby.wait_visible(seq, TIMEOUT).expect("reads"));
    proxy.down();
    let promoted = standby.wait_promoted(TIMEOUT).expect("the lease has run out");
    // Before the server ended the lease, the owner has stopped.
    let refused = owner.add(shape(2), WAIT);
    assert!(refused.is_err(), "{refused:?}");
    assert!(!owner.health().is_ready());
    let state = promoted.snapshot_state(&handle(1)).expect("from memory");
    assert_eq!(state, Some(SnapshotState::Complete), "nothing durable is lost");
    add(&promoted, 3);
    proxy.up();
    let began = Instant::now();
    while owner.health().is_live() {
        assert!(began.elapsed() < TIMEOUT, "the former owner does not learn it: {}", owner.health());
        std::thread::yield_now();
    }
    let seq = add(&promoted, 4);
    assert_eq!(promoted.open_report().expect("it has a database").database.epoch(), 2);
    assert!(seq > Seq::new(0));
}
