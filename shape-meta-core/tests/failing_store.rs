//! `FailingStore` fails on command, and the direct composition survives its faults.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use shape_meta_core::{
    Batch, Direct, ErrorKind, MemoryStore, MutateError, MutateShapesExt, ReadShapes, ReadShapesExt, Refusal,
    Result, Seq, ShapeStore, SnapshotState, Wait,
    conformance::{
        FailingStore, Faults, RejectedSeq, Side, View, handle, shape,
        store::{added, marked, record, removed},
    },
};

use crate::conformance::direct;

fn failing() -> (Arc<FailingStore<MemoryStore>>, Faults) {
    let store = FailingStore::new(MemoryStore::new());
    let faults = store.faults().clone();
    (Arc::new(store), faults)
}

fn batch(through: u64) -> Batch {
    Batch { changes: vec![added(&record(&shape(through), through))], through: Seq::new(through) }
}

fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

fn total(store: &impl ReadShapes) -> u64 {
    store.counts().expect("no fault is injected").total
}

#[test]
fn applies_take_their_faults_in_order() {
    let (store, faults) = failing();
    faults.fail_applies(2, ErrorKind::Busy, Side::Before);
    faults.fail_applies(1, ErrorKind::Io, Side::After);
    assert_eq!(faults.queued_applies(), 3);
    assert_eq!(kind(store.apply(&batch(1))), Some(ErrorKind::Busy));
    assert_eq!(kind(store.apply(&batch(1))), Some(ErrorKind::Busy));
    assert_eq!((total(&store), faults.applied()), (0, 0), "no batch was applied");
    assert_eq!(kind(store.apply(&batch(1))), Some(ErrorKind::Io));
    assert_eq!((total(&store), faults.applied()), (1, 1), "the batch was applied, and its answer lost");
    assert_eq!(kind(store.apply(&batch(1))), None);
    assert_eq!(total(&store), 1, "I6: a repeated batch is skipped");
    assert_eq!((faults.attempts(), faults.queued_applies()), (4, 0));
}

#[test]
fn clear_removes_all_faults() {
    let (store, faults) = failing();
    faults.fail_applies(9, ErrorKind::StorageFull, Side::Before);
    faults.fail_reads(9, ErrorKind::Io);
    faults.reject_handle(&handle(1), RejectedSeq::Omitted);
    faults.clear();
    assert_eq!(kind(store.apply(&batch(1))), None);
    assert_eq!(total(&store), 1);
}

#[test]
fn c8_a_handle_can_be_rejected() {
    for (reported, rejected_seq) in [(RejectedSeq::Reported, Some(Seq::new(2))), (RejectedSeq::Omitted, None)]
    {
        let (store, faults) = failing();
        faults.reject_handle(&handle(2), reported);
        assert_eq!(kind(store.apply(&batch(1))), None);
        let rejected = record(&shape(2), 2);
        let complete = SnapshotState::Complete;
        for change in [added(&rejected), marked(&rejected, complete), removed(&rejected)] {
            let batch = Batch { changes: vec![added(&record(&shape(3), 3)), change], through: Seq::new(3) };
            let Err(error) = store.apply(&batch) else { panic!("the batch should be rejected") };
            assert_eq!((error.kind(), error.rejected_seq()), (ErrorKind::Rejected, rejected_seq));
        }
        assert_eq!(kind(store.apply(&batch(3))), None, "a batch without the rejected handle is applied");
        assert_eq!((total(&store), faults.changes()), (2, 2));
    }
}

#[test]
fn every_kind_of_read_can_fail() {
    let (store, faults) = failing();
    assert_eq!(kind(store.apply(&batch(1))), None);
    let entry = store.entry(&handle(1)).expect("no fault is injected yet").expect("the shape is live");
    type Read<'a> = (&'a str, &'a dyn Fn() -> Option<ErrorKind>);
    let reads: [Read<'_>; 12] = [
        ("metadata", &|| kind(store.metadata("h"))),
        ("handle_for", &|| kind(store.handle_for(entry.key()))),
        ("entry", &|| kind(store.entry("h"))),
        ("record", &|| kind(store.record("h"))),
        ("handles_for_relations", &|| kind(store.handles_for_relations(&[]))),
        ("counts", &|| kind(store.counts())),
        ("scan", &|| kind(store.scan())),
        ("touch", &|| kind(store.touch_now("h"))),
        ("least_recently_used", &|| kind(store.lru(1))),
        ("last_seq", &|| kind(store.last_seq())),
        ("load", &|| kind(store.load(&mut |_| {}))),
        ("record_of", &|| kind(store.record_of(&entry))),
    ];
    for (name, read) in reads {
        let before = faults.reads();
        faults.fail_reads(1, ErrorKind::Io);
        assert_eq!(read(), Some(ErrorKind::Io), "{name}");
        assert_eq!(read(), None, "{name} succeeds again");
        assert_eq!(faults.reads(), before + 2);
    }
}

#[test]
fn a_gate_blocks_an_apply_on_either_side() {
    for (side, seen) in [(Side::Before, 0), (Side::After, 1)] {
        let (store, faults) = failing();
        let gate = faults.block_apply(side);
        assert!(!gate.is_blocked());
        thread::scope(|scope| {
            let applying = scope.spawn(|| store.apply(&batch(1)));
            gate.wait_until_blocked();
            assert!(gate.is_blocked() && !applying.is_finished());
            assert_eq!(total(&store), seen, "{side:?}");
            gate.release();
            assert!(applying.join().expect("no thread panics").is_ok());
        });
        assert_eq!(total(&store), 1);
    }
}

#[test]
fn a_gate_blocks_a_read_on_either_side() {
    for (side, seen) in [(Side::Before, 1), (Side::After, 0)] {
        let (store, faults) = failing();
        let gate = faults.block_read(side);
        thread::scope(|scope| {
            let reading = scope.spawn(|| total(&store));
            gate.wait_until_blocked();
            assert!(store.apply(&batch(1)).is_ok());
            drop(gate);
            assert_eq!(reading.join().expect("no thread panics"), seen, "{side:?}");
        });
    }
}

#[test]
fn applies_panic_on_command() {
    for (side, seen) in [(Side::Before, 0), (Side::After, 1)] {
        let (store, faults) = failing();
        faults.panic_applies(1, side);
        assert!(catch_unwind(AssertUnwindSafe(|| store.apply(&batch(1)))).is_err());
        assert_eq!(total(&store), seen);
        assert!(store.apply(&batch(1)).is_ok());
        assert_eq!(total(&store), 1);
    }
}

type DirectOverFailing = Direct<Arc<FailingStore<MemoryStore>>>;

fn direct_over_failing() -> (DirectOverFailing, Faults) {
    let (store, faults) = failing();
    (direct(store), faults)
}

#[test]
fn c9_direct_changes_nothing_when_an_apply_fails() {
    let (store, faults) = direct_over_failing();
    assert!(store.add(shape(1), Wait::No).is_ok());
    let before = View::of(&store);
    faults.fail_applies(1, ErrorKind::StorageFull, Side::Before);
    faults.panic_applies(1, Side::Before);
    match store.add(shape(2), Wait::No) {
        Err(MutateError::Failed(error)) => assert_eq!(error.kind(), ErrorKind::StorageFull),
        other => panic!("the add should fail: {other:?}"),
    }
    assert_eq!(View::of(&store), before);
    let panicked = catch_unwind(AssertUnwindSafe(|| store.remove(&handle(1), Wait::No)));
    assert!(panicked.is_err());
    assert_eq!(View::of(&store), before);
    let receipt = store.add(shape(2), Wait::No).expect("no fault is left");
    assert_eq!(receipt.seq(), before.last_seq.next(), "a failure uses no sequence number");
    assert!(receipt.is_durable());
}

#[test]
fn c9_direct_continues_after_the_answer_of_a_commit_is_lost() {
    let (store, faults) = direct_over_failing();
    faults.fail_applies(1, ErrorKind::Io, Side::After);
    assert!(matches!(store.add(shape(1), Wait::No), Err(MutateError::Failed(_))));
    assert!(
        store.has_handle(&handle(1)).expect("no fault is injected"),
        "the add was committed, and the next read sees it"
    );
    let again = store.add(shape(1), Wait::No);
    assert!(matches!(again, Err(MutateError::Refused(Refusal::DuplicateKey { .. }))), "{again:?}");
    let found = store.get_or_add(&shape(1), Wait::No).expect("the key is live");
    assert!(!found.added);
    assert!(found.receipt.is_durable(), "what the store below returns is committed");

    faults.fail_applies(1, ErrorKind::Io, Side::After);
    assert!(store.mark_snapshot_complete(&handle(1), Wait::No).is_err());
    let again = store.mark_snapshot_complete(&handle(1), Wait::No).expect("the snapshot is complete");
    assert!(again.wait_durable(Duration::ZERO).is_ok(), "what the store below returns is committed");
    assert_eq!(again.seq(), Seq::new(2));
}

#[test]
fn c9_direct_reports_failing_reads_and_changes_nothing() {
    let (store, faults) = direct_over_failing();
    assert!(store.add(shape(1), Wait::No).is_ok());
    let before = View::of(&store);
    for reads in 1..=3 {
        // The read of the handle, the key, or the last sequence number.
        faults.clear();
        for fails in 0..reads {
            faults.fail_reads(1, ErrorKind::Io);
            let outcome = store.add(shape(2), Wait::No);
            assert!(matches!(outcome, Err(MutateError::Failed(_))), "{fails}: {outcome:?}");
        }
        assert_eq!(View::of(&store), before);
    }
}

#[test]
fn i5_direct_serves_reads_while_a_commit_is_stuck() {
    let (store, faults) = direct_over_failing();
    assert!(store.add(shape(1), Wait::No).is_ok());
    let before = View::of(&store);
    let gate = faults.block_apply(Side::Before);
    thread::scope(|scope| {
        let adding = scope.spawn(|| store.add(shape(2), Wait::No).is_ok());
        gate.wait_until_blocked();
        assert_eq!(View::of(&store), before, "reads go on");
        gate.release();
        assert!(adding.join().expect("no thread panics"));
    });
    assert_eq!(View::of(&store).counts.total, 2);
}
