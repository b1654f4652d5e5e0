//! I1 and I7.

use std::{sync::Mutex, thread};

use shape_meta_core::{
    Direct, Limits, MemoryStore, MutateError, MutateShapes, MutateShapesExt, Mutation, NoopObserver,
    ReadShapes, Seq, Wait,
    conformance::{View, handle, shape},
};

use crate::support::{add, below, handles, manual};

/// While threads mutate, each flush brings the store to the state after all mutations up to one sequence
/// number, in one transaction.
#[test]
fn i1_a_flush_is_everything_up_to_one_seq() {
    const THREADS: u64 = 4;
    const EACH: u64 = 400;
    let (store, faults) = manual();
    let accepted = Mutex::new(Vec::new());
    let mut written = vec![View::of(below(&store))];
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, accepted) = (&store, &accepted);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    for _ in 0..EACH {
                        let number = random.u64(..8);
                        let mutation = match random.u8(..10) {
                            0..5 => Mutation::Add(shape(number)),
                            5..8 => Mutation::remove(&*handle(number)),
                            8 => Mutation::snapshot_complete(&*handle(number)),
                            _ => Mutation::Reset,
                        };
                        let last = store.last_seq().expect("memory");
                        match store.mutate(&mutation, Wait::No) {
                            // A mark without effect has no sequence number of its own.
                            Ok(receipt) if receipt.seq() > last => {
                                accepted.lock().expect("no panic").push((receipt.seq(), mutation));
                            }
                            Ok(_) | Err(MutateError::Refused(_)) => {}
                            Err(MutateError::Failed(error)) => panic!("nothing fails here: {error:?}"),
                        }
                    }
                })
            })
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            let before = faults.applied();
            let flushed = store.flush_once().expect("nothing fails");
            assert_eq!(faults.applied() - before, u64::from(flushed.is_some()), "I1: one transaction");
            written.push(View::of(below(&store)));
        }
    });
    store.flush_once().expect("nothing fails");
    written.push(View::of(below(&store)));

    let mut accepted = accepted.into_inner().expect("no panic");
    accepted.sort_by_key(|(seq, mutation)| (*seq, matches!(mutation, Mutation::Mark(..))));
    let model = Direct::new(MemoryStore::new(), Limits::default(), std::sync::Arc::new(NoopObserver))
        .expect("memory");
    let mut accepted = accepted.into_iter().peekable();
    for view in written {
        while let Some((seq, mutation)) = accepted.next_if(|(seq, _)| *seq <= view.last_seq) {
            match model.try_mutate(&mutation) {
                Ok(receipt) => assert!(receipt.seq() <= seq, "{mutation:?} at {seq}"),
                // Of two marks with the same sequence number, one had no effect.
                Err(error) => {
                    assert!(matches!(mutation, Mutation::Mark(..)), "{mutation:?} at {seq}: {error}")
                }
            }
        }
        assert_eq!(view, View::of(&model), "I1: not all up to {}", view.last_seq);
    }
    assert_eq!(accepted.next().map(|(seq, _)| seq), None::<Seq>);
}

/// Without a thread nothing is written except by a step.
#[test]
fn i7_nothing_is_written_except_by_a_step() {
    let (store, faults) = manual();
    for number in 0..20_000 {
        add(&store, &number.to_string(), number);
    }
    assert_eq!(handles(&store).len(), 20_000);
    assert_eq!((faults.attempts(), below(&store).counts().expect("memory").total), (0, 0));
    for (attempts, written) in [(1, 20_000), (1, 20_000)] {
        store.flush_once().expect("nothing fails");
        assert_eq!((faults.attempts(), below(&store).counts().expect("memory").total), (attempts, written));
    }
}
