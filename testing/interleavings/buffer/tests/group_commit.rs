//! The queue of a store without a buffer: every caller is answered, whichever thread leads.

use std::{collections::BTreeSet, sync::Arc};

use shape_meta_core::{
    Direct, ErrorKind, Limits, MutateError, MutateShapesExt, Mutation, NoopObserver, ReadShapesExt, Refusal,
    StoreControl, Wait,
    conformance::{DeferredPublishStore, FailingStore, Faults, Side},
};
use shuttle::{future::block_on, thread};

use crate::{
    explore::explore,
    support::{NEVER, choose, listed, shape},
};

type Store = Direct<FailingStore<Arc<DeferredPublishStore>>>;

fn open() -> (Arc<Store>, Faults) {
    let faults = Faults::default();
    let below = FailingStore::with(Arc::new(DeferredPublishStore::immediate()), faults.clone());
    let store = Direct::new(below, Limits::default(), Arc::new(NoopObserver)).expect("nothing fails yet");
    (Arc::new(store), faults)
}

/// Threads and futures add different shapes at the same time. Each has a sequence number of its own, and is
/// visible when its call returns.
#[test]
fn c1_every_caller_of_a_transaction_is_answered() {
    explore(|| {
        let (store, _) = open();
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let store = Arc::clone(&store);
                thread::spawn(move || {
                    let mut seqs = Vec::new();
                    for call in 0..2 {
                        let name = format!("{caller}-{call}");
                        let add = Mutation::Add(shape(&name, caller * 2 + call));
                        let receipt = match choose(2) {
                            0 => store.mutate(&add, Wait::No),
                            _ => block_on(store.mutate_async(&add)),
                        };
                        seqs.push(receipt.expect("nothing fails").seq().get());
                        assert!(store.has_handle(&name).expect("memory does not fail"), "C1");
                    }
                    seqs
                })
            })
            .collect();
        let seqs: BTreeSet<_> =
            callers.into_iter().flat_map(|caller| caller.join().expect("no panic")).collect();
        assert_eq!(seqs, (1..=8).collect(), "one sequence number for each");
        assert_eq!(listed(&*store).len(), 8);
    });
}

/// Callers that want the same handle and the same keys, while transactions fail, and another caller closes.
#[test]
fn c9_every_caller_is_answered_while_transactions_fail() {
    explore(|| {
        let (store, faults) = open();
        match choose(3) {
            0 => faults.fail_applies(1, ErrorKind::Io, Side::Before),
            1 => faults.fail_applies(1, ErrorKind::Io, Side::After),
            _ => faults.fail_applies(1, ErrorKind::Rejected, Side::Before),
        }
        let mut callers: Vec<_> = (0..3)
            .map(|caller| {
                let store = Arc::clone(&store);
                thread::spawn(move || {
                    let mutation = match choose(3) {
                        0 => Mutation::remove("same"),
                        1 => Mutation::Reset,
                        _ => Mutation::Add(shape("same", caller)),
                    };
                    let outcome = match choose(2) {
                        0 => store.mutate(&mutation, Wait::No),
                        _ => block_on(store.mutate_async(&mutation)),
                    };
                    match outcome {
                        Ok(_) => {}
                        Err(MutateError::Refused(
                            Refusal::DuplicateHandle { .. } | Refusal::UnknownHandle { .. },
                        )) => {}
                        Err(MutateError::Failed(error)) => assert!(matches!(
                            error.kind(),
                            ErrorKind::Io | ErrorKind::Rejected | ErrorKind::Closed
                        )),
                        Err(other) => panic!("unexpected: {other}"),
                    }
                })
            })
            .collect();
        if choose(2) == 0 {
            let store = Arc::clone(&store);
            callers.push(thread::spawn(move || assert!(store.close(NEVER).is_complete())));
        }
        callers.into_iter().for_each(|caller| caller.join().expect("no panic"));
        assert!(listed(&*store).len() <= 1, "C2");
        assert!(store.close(NEVER).is_complete(), "the queue has no leader that is gone");
    });
}
