//! C1 and C2: the calls of threads are linearizable while flushes succeed and fail, and the store below holds
//! a prefix of that sequence (C6).

use std::sync::Arc;

use shape_meta_core::{
    ErrorKind, MutateError, MutateShapesExt, ReadShapes, Receipt, Refusal, SnapshotState, StoreControl, Wait,
    conformance::{Faults, Side},
};
use shuttle::thread;

use crate::{
    explore::explore,
    history::{History, linearize},
    model::{Answer, Model, Op},
    support::{NEVER, Store, choose, holder, listed, manual, open, readers, shape, threaded},
};

const HANDLES: [&str; 3] = ["a", "b", "c"];
/// The search takes long with more than about ten calls.
const CALLS_PER_THREAD: usize = 3;

fn any_mutation() -> Op {
    let (handle, key) = (HANDLES[choose(3)], choose(2) as u64);
    match choose(12) {
        0..4 => Op::Add(handle, key),
        4 => Op::GetOrAdd(handle, key),
        5..9 => Op::Remove(handle),
        9 => Op::Mark(handle, SnapshotState::Started),
        10 => Op::Mark(handle, SnapshotState::Complete),
        _ => Op::Reset,
    }
}

fn any_read() -> Op {
    match choose(5) {
        0 => Op::Metadata(HANDLES[choose(3)]),
        1 => Op::HandleFor(choose(2) as u64),
        2 => Op::Readers,
        3 => Op::Counts,
        _ => Op::Scan,
    }
}

fn perform(store: &Store, op: &Op) -> Answer {
    match *op {
        Op::Add(handle, key) => accepted(store, store.add(shape(handle, key), Wait::No)),
        Op::GetOrAdd(handle, key) => match store.get_or_add(&shape(handle, key), Wait::No) {
            Ok(made) if made.added => accepted(store, Ok(made.receipt)),
            Ok(found) => Answer::Held(found.handle.to_string()),
            Err(error) => accepted(store, Err(error)),
        },
        Op::Remove(handle) => accepted(store, store.remove(handle, Wait::No)),
        Op::Mark(handle, state) => {
            let outcome = match state {
                SnapshotState::Complete => store.mark_snapshot_complete(handle, Wait::No),
                _ => store.mark_snapshot_started(handle, Wait::No),
            };
            accepted(store, outcome)
        }
        Op::Reset => accepted(store, store.reset(Wait::No)),
        Op::Metadata(handle) => {
            let metadata = store.metadata(handle).expect("memory does not fail");
            Answer::Metadata(metadata.map(|metadata| (metadata.created.get(), metadata.state)))
        }
        Op::HandleFor(key) => Answer::Handle(holder(store, key)),
        Op::Readers => Answer::Handles(readers(store)),
        Op::Counts => Answer::Total(store.counts().expect("memory does not fail").total),
        Op::Scan => Answer::All(all(store)),
    }
}

fn accepted(store: &Store, outcome: Result<Receipt, MutateError>) -> Answer {
    let receipt = match outcome {
        Ok(receipt) => receipt,
        Err(MutateError::Refused(refusal)) => {
            return match refusal {
                Refusal::DuplicateKey { held_by, .. } => Answer::Held(held_by.to_string()),
                Refusal::DuplicateHandle { .. } => Answer::DuplicateHandle,
                Refusal::UnknownHandle { .. } => Answer::Unknown,
                other => panic!("unexpected: {other:?}"),
            };
        }
        Err(error) => panic!("memory does not fail: {error}"),
    };
    if receipt.is_durable() {
        let committed = store.inner().inner().committed().last_seq();
        assert!(committed.expect("memory does not fail") >= receipt.seq(), "a durable change is committed");
    }
    Answer::At(receipt.seq().get())
}

fn all(store: &impl ReadShapes) -> Vec<(String, u64, SnapshotState)> {
    listed(store).into_iter().map(|(handle, created, state)| (handle, created.get(), state)).collect()
}

/// Injects a fault into the next flush, or none.
fn inject_faults(faults: &Faults) {
    match choose(8) {
        0 => faults.fail_applies(1, ErrorKind::Busy, Side::Before),
        1 => faults.fail_applies(1, ErrorKind::Io, Side::After),
        2 => faults.panic_publishes(1, if choose(2) == 0 { Side::Before } else { Side::After }),
        _ => {}
    }
}

fn check(store: &Store, history: History) {
    let calls = history.into_calls();
    let Some(sequence) = linearize(&calls, &Model::default()) else { panic!("not linearizable: {calls:#?}") };
    let (written, below) = written(store);
    let mut model = Model::default();
    for op in &sequence {
        if model.last == written {
            assert_eq!(below, model.all(), "C6: the store below holds a prefix");
        }
        model.step(op);
    }
    assert_eq!(all(store), model.all());
    store.inner().faults().clear();
    let report = store.close(NEVER);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(all(store.inner().inner()), model.all(), "C10");
}

/// Returns the last sequence number of the store below, and its shapes at that moment.
fn written(store: &Store) -> (u64, Vec<(String, u64, SnapshotState)>) {
    let below = store.inner().inner().committed();
    let written = || below.last_seq().expect("memory does not fail").get();
    loop {
        let (before, all) = (written(), all(below));
        if written() == before {
            return (before, all);
        }
    }
}

fn race(store: Store, faults: &Faults, flush: impl Fn(&Store) + Sync) {
    let history = History::default();
    thread::scope(|scope| {
        for thread in 0..3 {
            let (store, history) = (&store, &history);
            scope.spawn(move || {
                for _ in 0..CALLS_PER_THREAD {
                    let op = if thread == 2 || choose(5) == 0 { any_read() } else { any_mutation() };
                    history.record(op, |op| perform(store, op));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..3 {
                inject_faults(faults);
                flush(&store);
            }
        });
    });
    check(&store, history);
}

#[test]
fn c1_calls_are_linearizable_during_manual_flushes() {
    explore(|| {
        let (store, faults, _) = manual();
        race(store, &faults, |store| drop(store.flush_once()));
    });
}

#[test]
fn c1_calls_are_linearizable_during_background_flushes() {
    explore(|| {
        let (store, faults, memory) = open(threaded(1));
        race(store, &faults, |_| thread::yield_now());
        assert_eq!(Arc::strong_count(&memory), 1, "the flusher has ended");
    });
}
