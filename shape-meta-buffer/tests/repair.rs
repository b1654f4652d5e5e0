//! What the buffer does when the store below is repaired.

use shape_meta_core::{
    ApplyChanges, Batch, Change, ControlWrites, ErrorKind, HealthState, MutateShapesExt, ReadShapes, Wait,
    conformance::Side,
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
