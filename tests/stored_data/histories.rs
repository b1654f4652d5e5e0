//! Random histories next to a model of the storage.

use std::collections::BTreeSet;

use proptest::prelude::*;
use shape_meta::{MutateShapesExt, ReadShapesExt, ShapeMeta, StoreControl, Wait};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::{
    compositions::{ALL, Composition, TIMEOUT, directory},
    crash::Crash,
};

use super::support::{Failure, Storage, open, settle};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Adds a shape, creates its data, and completes its snapshot if the flag says so.
    Add(u64, bool),
    Remove(u64),
    Reset,
    Flush,
    /// Runs one part of the cleanup.
    Clean,
    /// Makes the next call of the cleaner fail.
    Fail(Failure),
    /// Data without a shape appears: the rest of a crash of something else.
    Orphan(u64),
    Close,
    /// The process dies.
    Crash,
    /// The database is repaired while it is open.
    Repair,
}

fn op() -> impl Strategy<Value = Op> {
    let number = 1_u64..8;
    let failure = prop_oneof![Just(Failure::Error), Just(Failure::Half), Just(Failure::Panic)];
    prop_oneof![
        8 => (number.clone(), any::<bool>()).prop_map(|(number, done)| Op::Add(number, done)),
        6 => number.prop_map(Op::Remove),
        1 => Just(Op::Reset),
        5 => Just(Op::Flush),
        6 => Just(Op::Clean),
        2 => failure.prop_map(Op::Fail),
        1 => (100_u64..103).prop_map(Op::Orphan),
        1 => Just(Op::Close),
        2 => Just(Op::Crash),
        1 => Just(Op::Repair),
    ]
}

fn live(store: &ShapeMeta) -> BTreeSet<String> {
    store.list().expect("it reads").iter().map(|item| item.record.handle().to_string()).collect()
}

fn play(composition: Composition, ops: &[Op]) {
    let storage = Storage::listing();
    let directory = directory();
    let mut store = open(composition, directory.path(), &storage);
    settle(&store);
    let mut confirms = false;
    for op in ops {
        match *op {
            Op::Add(number, is_complete) => {
                if store.add(shape(number), Wait::No).is_ok() {
                    storage.create(handle(number));
                    if is_complete {
                        store.mark_snapshot_complete(&handle(number), Wait::No).expect("it is live");
                    }
                }
            }
            Op::Remove(number) => drop(store.remove(&handle(number), Wait::No)),
            Op::Reset => drop(store.reset(Wait::No).expect("it is accepted")),
            Op::Flush => store.flush(TIMEOUT).expect("the disk works"),
            Op::Clean => drop(store.clean_once()),
            Op::Fail(failure) => storage.fail(&[failure]),
            Op::Orphan(number) => storage.create(handle(number)),
            Op::Close => {
                assert!(store.close(TIMEOUT).is_complete());
                drop(store);
                store = open(composition, directory.path(), &storage);
            }
            Op::Crash => {
                let crash = Crash::of(directory.path());
                drop(store);
                crash.restore();
                store = open(composition, directory.path(), &storage);
            }
            Op::Repair => {
                store.repair().expect("the repair succeeds");
                confirms = true;
            }
        }
        let stored: BTreeSet<_> = storage.stored().iter().map(ToString::to_string).collect();
        let without_data: Vec<_> = live(&store).difference(&stored).cloned().collect();
        assert!(without_data.is_empty(), "{op:?} left live shapes without data: {without_data:?}");
    }
    // Quiescence: everything is durable, the cleaner works, and the sweep of an open has ended.
    storage.fail(&[]);
    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    let store = open(composition, directory.path(), &storage);
    settle(&store);
    if confirms {
        store.confirm_orphans().expect("it is written");
        settle(&store);
    }
    let stored: BTreeSet<_> = storage.stored().iter().map(ToString::to_string).collect();
    assert_eq!(stored, live(&store));
    assert_eq!(store.cleanup_status().tasks, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c12_stored_data_follows_the_shapes(ops in prop::collection::vec(op(), 1..60), at in 0..ALL.len()) {
        play(ALL[at], &ops);
    }
}
