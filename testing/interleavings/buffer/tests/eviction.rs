//! C1: a removal of a shape that was not read, and reads of it at the same time, have an order.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    Direct, ErrorKind, Evictor, EvictorOptions, Limits, MutateShapes, MutateShapesExt, NoopObserver,
    ReadShapes, ReadShapesExt, Timestamp, Wait,
    conformance::{FailingStore, Faults, RejectedSeq, Side},
};
use shuttle::thread;

use crate::{
    explore::explore,
    support::{add, choose, manual, shape},
};

const SINCE: Timestamp = Timestamp::from_micros(100);
const LATER: Timestamp = Timestamp::from_micros(200);

fn evict(store: &impl MutateShapes) -> bool {
    let outcome = store.remove_if_unread_since("a", SINCE, Wait::No);
    outcome.expect("memory does not fail").is_some()
}

fn touch(store: &impl ReadShapes) -> bool {
    store.touch("a", LATER).expect("memory does not fail")
}

fn is_live(store: &impl ReadShapes) -> bool {
    store.has_handle("a").expect("memory does not fail")
}

/// Whether the shape is pending, being flushed, or on disk: a read that counts keeps it, and after a read
/// that does not count no read shows it.
#[test]
fn c1_a_shape_that_is_read_is_not_evicted() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "a", 1);
        if choose(2) == 0 {
            drop(store.flush_once());
        }
        if choose(2) == 0 {
            store.mark_snapshot_complete("a", Wait::No).expect("it is live");
        }
        let (mut evicted, mut counted) = (false, false);
        thread::scope(|scope| {
            let evictor = scope.spawn(|| evict(&store));
            let reader = scope.spawn(|| {
                let counts = touch(&store);
                assert!(counts || !is_live(&store), "C1: a shape that cannot be read is gone");
                counts
            });
            scope.spawn(|| {
                for _ in 0..2 {
                    drop(store.flush_once());
                }
            });
            evicted = evictor.join().expect("the evictor panicked");
            counted = reader.join().expect("the reader panicked");
        });
        assert!(evicted != counted, "evicted: {evicted}, read: {counted}");
        assert_eq!(is_live(&store), counted);
    });
}

/// A shape that gets the handle of the one that the evictor has found was not read, and stays. Once, it went
/// if it came between the last look of the evictor and its removal.
#[test]
fn c14_an_evictor_spares_a_shape_that_gets_the_handle() {
    explore(|| {
        let (store, _, _) = manual();
        add(&store, "a", 1);
        assert!(store.touch("a", SINCE).expect("memory does not fail"));
        if choose(2) == 0 {
            drop(store.flush_once());
        }
        let evictor = Evictor::new(EvictorOptions::default().max_unread(Duration::ZERO));
        let mut added = 0;
        thread::scope(|scope| {
            let evicting = scope.spawn(|| drop(evictor.step_at(&store, LATER)));
            let replacing = scope.spawn(|| {
                // It may be evicted before, or its handle may be in use.
                drop(store.remove("a", Wait::No));
                store.add(shape("a", 2), Wait::No).expect("the handle is free").seq()
            });
            scope.spawn(|| drop(store.flush_once()));
            evicting.join().expect("the evictor panicked");
            added = replacing.join().expect("the handle is free").get();
        });
        let live = store.metadata("a").expect("memory does not fail");
        assert_eq!(live.map(|live| live.created.get()), Some(added), "C14: it was not read, and stays");
    });
}

/// A shape whose eviction the store below rejects can be read again.
#[test]
fn c8_a_rejected_eviction_ends_its_claim() {
    explore(|| {
        let (store, faults, _) = manual();
        let added = add(&store, "a", 1);
        drop(store.flush_once());
        assert!(added.is_durable());
        let naming = if choose(2) == 0 { RejectedSeq::Reported } else { RejectedSeq::Omitted };
        faults.reject_handle(&shape("a", 1).handle, naming);
        assert!(evict(&store) && !touch(&store));
        thread::scope(|scope| {
            scope.spawn(|| drop(store.flush_once()));
            scope.spawn(|| {
                let counts = touch(&store);
                assert!(!counts || is_live(&store), "it is live again");
            });
        });
        assert!(touch(&store) && is_live(&store) && !evict(&store));
    });
}

/// Without a buffer the decision comes before the commit: no read counts from then on. If the commit fails,
/// the shape stays, and reads count again.
#[test]
fn c1_a_shape_that_is_read_is_not_evicted_without_a_buffer() {
    explore(|| {
        let faults = Faults::default();
        let inner = FailingStore::with(shape_meta_core::MemoryStore::new(), faults.clone());
        let store = Direct::new(inner, Limits::default(), Arc::new(NoopObserver)).expect("nothing fails yet");
        store.add(shape("a", 1), Wait::No).expect("no shape has the handle");
        let fails = choose(3) == 0;
        if fails {
            faults.fail_applies(1, ErrorKind::Io, Side::Before);
        }
        let (mut evicted, mut counted) = (false, false);
        thread::scope(|scope| {
            let evictor = scope.spawn(|| match store.remove_if_unread_since("a", SINCE, Wait::No) {
                Ok(receipt) => receipt.is_some(),
                Err(_) => false,
            });
            let reader = scope.spawn(|| touch(&store));
            evicted = evictor.join().expect("the evictor panicked");
            counted = reader.join().expect("the reader panicked");
        });
        assert!(!(evicted && counted) && (evicted || counted || fails));
        assert_eq!(is_live(&store), !evicted);
        assert_eq!(touch(&store), !evicted);
    });
}
