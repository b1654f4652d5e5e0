//! What the buffer does when the store below is repaired.

use shape_meta_core::{
    Batch, Change, ErrorKind, HealthState, MutateError, MutateShapesExt, ReadShapes, ShapeStore,
    StoreControl, Wait, conformance::Side,
};

use crate::support::{add, below, handles, manual, shape};

/// What was pending is written, and what the damage took is counted no more.
#[test]
fn c9_after_a_repair_all_is_written_and_counted() {
    let (store, faults) = manual();
    add(&store, "lost", 1);
    add(&store, "kept", 2);
    store.flush_once().expect("flush");
    let mark = store.mark_snapshot_started("kept", Wait::No).expect("live");
    let pending = add(&store, "pending", 3);
    faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
    store.flush_once().expect_err("damaged");
    assert!(matches!(store.health().state, HealthState::Stopped { .. }));
    store.add(shape("refused", 4), Wait::No).expect_err("nothing is accepted any more");

    let entry = below(&store).entry("lost").expect("read").expect("not lost yet");
    let loss = Batch { changes: vec![Change::Remove { entry }], through: mark.seq() };
    below(&store).apply(&loss).expect("lost");
    store.repair().expect("repaired");
    assert!(mark.is_durable() && pending.is_durable());
    assert!(matches!(store.health().state, HealthState::Ready));
    assert_eq!(handles(&store), ["kept", "pending"]);
    assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));

    add(&store, "new", 4);
    assert_eq!(store.counts().expect("read").total, 3);
    store.flush_once().expect("flush");
    assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));
}

/// What is pending rests on shapes that may be gone after a repair. As long as it is not written nothing is added to it.
#[test]
fn c9_nothing_is_accepted_after_a_repair_until_what_was_pending_is_written() {
    let (store, faults) = manual();
    let pending = add(&store, "pending", 1);
    faults.fail_applies(1, ErrorKind::StorageFull, Side::Before);
    assert_eq!(store.repair().expect_err("the new file finds no room").kind(), ErrorKind::StorageFull);
    let refused = store.add(shape("refused", 2), Wait::No).expect_err("not yet");
    assert!(matches!(refused, MutateError::Failed(error) if error.kind() == ErrorKind::StorageFull));
    assert_eq!(handles(&store), ["pending"], "reads go on");
    store.repair().expect("there is room again");
    assert!(pending.is_durable());
    add(&store, "new", 2);
}

/// A repair that did not come to pass leaves all as it was.
#[test]
fn c9_a_repair_that_fails_changes_nothing() {
    let (store, faults) = manual();
    let pending = add(&store, "pending", 1);
    faults.fail_reads(1, ErrorKind::Io);
    assert_eq!(store.repair().expect_err("it fails").kind(), ErrorKind::Io);
    assert!(!pending.is_durable());
    add(&store, "new", 2);
    faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
    store.flush_once().expect_err("damaged");
    faults.fail_reads(1, ErrorKind::Io);
    assert_eq!(store.repair().expect_err("it fails").kind(), ErrorKind::Io);
    let refused = store.add(shape("refused", 3), Wait::No).expect_err("stopped");
    assert!(matches!(refused, MutateError::Failed(error) if error.kind() == ErrorKind::Corrupt));
    store.repair().expect("repaired");
    assert!(pending.is_durable());
}
