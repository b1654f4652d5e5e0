//! Histories that broke similar stores. Each is played on every composition that it concerns, over a SQLite
//! file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use shape_meta::{
    BufferOptions, Degradation, Error, ErrorKind, Handle, HealthState, MutateError, MutateShapesExt,
    NewShape, NoopCleaner, Observer, ReadShapes, ReadShapesExt, Refusal, Relation, ShapeMeta, StoreControl,
    Wait,
};
use shape_meta_core::{
    Signal,
    conformance::{
        FailingStore, Faults, Side, View, distinct_handles_for_relations, handle, key, relations, shape,
    },
};

use shape_meta_harness::{
    compositions::{
        ALL, BUFFERED, Composition, FlushSchedule, PRODUCT, PRODUCT_DISK_LOOKUPS, TIMEOUT, WAIT, directory,
        sqlite,
    },
    rows::{Rows, raw_connection},
};

const WITH_A_BUFFER: [Composition; 3] = [BUFFERED, PRODUCT, PRODUCT_DISK_LOOKUPS];

fn add(store: &ShapeMeta, handle: &str, number: u64) {
    let handle = Handle::new(handle).expect("printable");
    store.add(NewShape { handle, ..shape(number) }, WAIT).expect("it is new");
}

fn complete(store: &ShapeMeta, handle: &str) {
    store.mark_snapshot_complete(handle, WAIT).expect("it is live");
}

fn live(store: &ShapeMeta) -> Vec<String> {
    View::of(store).shapes.iter().map(|shape| shape.handle.to_string()).collect()
}

/// An add whose handle or key was already in the database was acknowledged. Then every flush failed for ever,
/// with all later changes.
#[test]
fn c2_a_duplicate_of_a_stored_shape_is_refused_and_flushes_go_on() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        add(&store, "old", 1);
        complete(&store, "old");
        drop(store);

        let store = composition.open(directory.path());
        let refused = store.add(NewShape { handle: "old".parse().expect("printable"), ..shape(2) }, WAIT);
        let refused = refused.expect_err("the handle is live");
        assert!(matches!(refused.refusal(), Some(Refusal::DuplicateHandle { .. })), "{refused:?}");
        let refused = store.add(shape(1), WAIT).expect_err("the key is live");
        assert!(
            matches!(refused.refusal(), Some(Refusal::DuplicateKey { held_by, .. }) if held_by == "old"),
            "{refused:?}"
        );
        let found = store.get_or_add(&shape(1), WAIT).expect("it is found");
        assert!(found.handle == "old" && !found.added);
        add(&store, "new", 2);
        store.flush(TIMEOUT).expect("nothing fails");
        assert!(matches!(store.health().state, HealthState::Ready));
        assert_eq!(live(&store), ["old", "new"]);
        assert_eq!(Rows::of(directory.path()).count("shape"), 2, "{composition:?}");
    }
}

/// A shape was removed and added again across a flush. When the first batch was committed, the clean-up
/// deleted the index entry of the new handle. So the live shape could not be found, and was added a second
/// time.
#[test]
fn c3_a_shape_added_again_while_its_removal_commits_is_found() {
    for composition in WITH_A_BUFFER {
        for side in [Side::Before, Side::After] {
            let (directory, faults) = (directory(), Faults::default());
            let composition = composition.with_flush_schedule(FlushSchedule::Manual);
            let below = Arc::new(composition.open_sqlite(directory.path()));
            let store = composition.over(FailingStore::with(below, faults.clone()));
            for round in 0..3 {
                let [h1, h2] = [format!("{round}-first"), format!("{round}-second")];
                add(&store, &h1, 1);
                let gate = faults.block_apply(side);
                thread::scope(|scope| {
                    let flushing = scope.spawn(|| store.flush(TIMEOUT));
                    gate.wait_until_blocked();
                    store.remove(&h1, WAIT).expect("it is live");
                    add(&store, &h2, 1);
                    gate.release();
                    // The flush covers the changes accepted before it, and commits no later ones.
                    flushing.join().expect("no panic").expect("nothing fails");
                });
                for _ in 0..2 {
                    assert_eq!(store.handle_for(&key(1)).expect("it reads").as_deref(), Some(&*h2));
                    let again = store.get_or_add(&shape(1), WAIT).expect("it is found");
                    assert!(!again.added && again.handle == *h2, "{composition:?}: {again:?}");
                    assert_eq!(live(&store), [&*h2]);
                    store.flush(TIMEOUT).expect("nothing fails");
                }
                complete(&store, &h2);
                if round < 2 {
                    store.remove(&h2, WAIT).expect("it is live");
                }
            }
            drop(store);
            let store = composition.open(directory.path());
            assert_eq!(live(&store), ["2-second"]);
            assert_eq!(store.handle_for(&key(1)).expect("it reads").as_deref(), Some("2-second"));
        }
    }
}

/// A shape was removed, and added with the same handle while the removal was pending. The add was
/// acknowledged, but invisible until the flush.
#[test]
fn c3_a_shape_added_again_while_its_removal_is_pending_is_visible() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        add(&store, "h", 1);
        store.flush(TIMEOUT).expect("nothing fails");
        store.pause();
        // Includes adds with the same key.
        for (number, before) in [(1, 1), (2, 1), (2, 2), (3, 2), (4, 3)] {
            let removed = store.remove("h", WAIT).expect("it is live");
            assert_eq!(live(&store), [""; 0]);
            add(&store, "h", number);
            let seen = store.metadata("h").expect("it reads").expect("it is live");
            assert_eq!((seen.hash, seen.created), (shape(number).hash, removed.seq().next()));
            assert_eq!(store.handle_for(&key(number)).expect("it reads").as_deref(), Some("h"));
            if before != number {
                assert_eq!(store.handle_for(&key(before)).expect("it reads"), None);
            }
            assert_eq!(live(&store), ["h"]);
        }
        complete(&store, "h");
        store.resume();
        store.flush(TIMEOUT).expect("nothing fails");
        assert_eq!(Rows::of(directory.path()).count("shape"), 1);
        drop(store);
        let store = composition.open(directory.path());
        assert_eq!(store.handle_for(&key(4)).expect("it reads").as_deref(), Some("h"), "{composition:?}");
    }
}

/// Signals failed attempts of a flush.
#[derive(Default)]
struct Retries(Signal);

impl Observer for Retries {
    fn retrying(&self, _: &Error, _: u32, _: Duration) {
        self.0.raise();
    }
}

/// Another process held the write lock for longer than the busy time-out: the buffer stopped and lost its
/// batch.
#[test]
fn c9_a_lock_held_by_another_process_delays_and_loses_nothing() {
    for composition in WITH_A_BUFFER {
        let (directory, retries) = (directory(), Arc::new(Retries::default()));
        let builder = ShapeMeta::builder(NoopCleaner)
            .sqlite(sqlite().busy_timeout(Duration::from_millis(500)))
            .observer(Arc::clone(&retries) as Arc<dyn Observer>);
        let store = composition.apply_to(builder).open(directory.path()).expect("it opens");
        add(&store, "before", 1);
        store.flush(TIMEOUT).expect("nothing fails");

        let holder = raw_connection(directory.path());
        holder.execute_batch("BEGIN IMMEDIATE").expect("it takes the lock");
        let mut receipts = vec![store.remove("before", WAIT).expect("it is live")];
        for number in 2..4 {
            let retried = retries.0.listen();
            receipts.push(store.add(shape(number), WAIT).expect("it is accepted"));
            store.request_flush();
            assert!(retried.wait(Some(Instant::now() + TIMEOUT)), "the flusher retries");
            match store.health().state {
                HealthState::Degraded { why: Degradation::Failing { error, failures }, .. } => {
                    assert_eq!(error.kind(), ErrorKind::Busy);
                    assert!(failures > 0);
                }
                other => panic!("{composition:?}: {other:?}"),
            }
            assert!(store.has_handle(&handle(number)).expect("it reads"), "reads are not affected");
        }
        assert!(receipts.iter().all(|receipt| !receipt.is_durable()));
        assert_eq!(Rows::of(directory.path()).count("shape"), 1);

        holder.execute_batch("ROLLBACK").expect("the lock is released");
        store.flush(TIMEOUT).expect("writing resumes");
        assert!(receipts.iter().all(|receipt| receipt.is_durable()));
        assert!(matches!(store.health().state, HealthState::Ready));
        assert_eq!(Rows::of(directory.path()).count("shape"), 2);
        assert_eq!(live(&store), [2, 3].map(|number| handle(number).to_string()));
    }
}

/// With a full disk, mutations were acknowledged without bound. Writing resumed when there was space again,
/// which is also required here.
#[test]
fn c7_c9_a_full_disk_is_reported_and_bounds_pending_changes() {
    for composition in WITH_A_BUFFER {
        let (directory, faults) = (directory(), Faults::default());
        let below = Arc::new(composition.open_sqlite(directory.path()));
        let mut builder = composition.builder();
        builder = builder.buffered(BufferOptions::default().max_pending_shapes(50).background_flush(false));
        let store = builder.over(FailingStore::with(below, faults.clone())).expect("it can be read");
        faults.fail_applies(1_000, ErrorKind::StorageFull, Side::Before);
        for number in 1..=50 {
            store.add(shape(number), Wait::No).expect("there is capacity");
            if number % 10 == 0 {
                assert!(store.flush(TIMEOUT).is_err());
            }
        }
        let refused = store.add(shape(51), Wait::UpTo(Duration::from_millis(1)));
        assert!(matches!(refused, Err(MutateError::Refused(Refusal::Overloaded { .. }))), "{refused:?}");
        match store.health().state {
            HealthState::Degraded { why: Degradation::Failing { error, failures }, .. } => {
                assert_eq!((error.kind(), failures), (ErrorKind::StorageFull, 5));
            }
            other => panic!("{composition:?}: {other:?}"),
        }
        assert_eq!(View::of(&store).counts.total, 50, "reads go on");
        assert_eq!(Rows::of(directory.path()).count("shape"), 0);

        faults.clear();
        store.flush(TIMEOUT).expect("there is space again");
        store.add(shape(51), Wait::No).expect("there is capacity again");
        assert!(matches!(store.health().state, HealthState::Ready));
        assert_eq!(Rows::of(directory.path()).count("shape"), 50);
    }
}

/// A read of relations with 50,000 pending changes took 41 to 81 ms, because it searched the whole queue.
/// This test checks the results; `shape-meta-buffer/src/tests.rs` counts the visited entries.
#[test]
fn c1_relations_are_right_while_50_000_changes_are_pending() {
    const COMMITTED: u64 = 500;
    const TOTAL: u64 = 50_000;
    let directory = directory();
    let store = PRODUCT.open(directory.path());
    let mut readers: BTreeMap<u32, BTreeSet<Handle>> = BTreeMap::new();
    let mut expect = |number: u64, read: &[u32], live: bool| {
        for relation in read {
            let readers = readers.entry(*relation).or_default();
            if live {
                readers.insert(handle(number))
            } else {
                readers.remove(&handle(number))
            };
        }
    };
    let with = |number: u64, read: &[u32]| NewShape { relations: relations(read), ..shape(number) };
    let read_by = |number: u64| [(number % 7) as u32, 10 + (number % 3) as u32];
    for number in 0..COMMITTED {
        store.add(with(number, &read_by(number)), WAIT).expect("it is new");
        expect(number, &read_by(number), true);
    }
    store.flush(TIMEOUT).expect("nothing fails");
    store.pause();
    for number in COMMITTED..TOTAL {
        store.add(with(number, &read_by(number)), WAIT).expect("it is new");
        expect(number, &read_by(number), true);
    }
    // Removes some shapes, committed and pending, and adds some of them again with another relation.
    for number in (0..TOTAL).step_by(9) {
        store.remove(&handle(number), WAIT).expect("it is live");
        expect(number, &read_by(number), false);
        if number % 2 == 0 {
            store.add(with(number, &[20]), WAIT).expect("it is free");
            expect(number, &[20], true);
        }
    }
    assert!(store.pending().shapes as u64 > TOTAL - COMMITTED);

    let agrees = |when: &str| {
        for (relation, expected) in &readers {
            assert!(
                distinct_handles_for_relations(&store, &[Relation::new(*relation)]) == *expected,
                "{relation} {when}"
            );
        }
        let (one, other) = (&readers[&3], &readers[&20]);
        let both = [3, 20].map(Relation::new);
        assert!(
            distinct_handles_for_relations(&store, &both).iter().eq(one.union(other)),
            "two relations {when}"
        );
    };
    agrees("while all is pending");
    store.resume();
    store.flush(TIMEOUT).expect("nothing fails");
    agrees("when all is on disk");
}
