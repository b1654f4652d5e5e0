//! C3: a removal frees handle and key at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    MutateError, MutateShapesExt, NewShape, ReadShapes, Refusal, Relation, Removal, Seq, SnapshotState,
    Timestamp,
    conformance::{
        CompositionFixture, View,
        assertions::{TIMEOUT, WAIT, accepted, add, assert_gone, assert_new, mark, remove},
        sample::{handle, key, relations, shape},
        view::{distinct_handles_for_relations, read},
    },
};

/// After a removal, the same handle, the same key, or both can be added again, whether the earlier mutations
/// are pending or durable.
pub fn c3_removal_frees_handle_and_key_at_once<F: CompositionFixture>(fixture: &F) {
    for flushes in 0..8 {
        for (number, same_handle, same_key) in [(1, true, true), (2, true, false), (3, false, true)] {
            let store = fixture.open();
            let flush = |bit: u32| {
                if flushes & bit != 0 {
                    fixture.flush(&store);
                }
            };
            let old = NewShape { relations: relations(&[1, 2]), ..shape(number) };
            let new = NewShape {
                handle: if same_handle { old.handle.clone() } else { handle(number + 10) },
                key: if same_key { old.key } else { key(number + 10) },
                relations: relations(&[2, 3]),
                definition: b"again".as_slice().into(),
                ..shape(number + 10)
            };
            add(&store, &old);
            mark(&store, &old.handle, SnapshotState::Complete);
            assert!(read(store.touch(&old.handle, Timestamp::from_micros(9))));
            flush(1);
            remove(&store, &old.handle);
            assert_gone(&store, &old);
            flush(2);
            let created = add(&store, &new).seq();
            assert_new(&store, &new, created);
            flush(4);
            assert_new(&store, &new, created);
            assert!(
                distinct_handles_for_relations(&store, &[Relation::new(1)]).is_empty(),
                "the removed shape is in no index"
            );
            assert_eq!(
                read(store.handles_for_relations(&[Relation::new(3)])),
                std::slice::from_ref(&new.handle)
            );
            fixture.flush(&store);
            assert_new(&store, &new, created);
        }
    }
}

/// A handle can be added and removed any number of times, pending or durable, each time with another
/// definition.
pub fn c3_repeated_removes_and_adds<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for round in 0..60_u64 {
        let new = NewShape {
            handle: handle(0),
            relations: relations(&[(round % 3) as u32, 100 + (round % 2) as u32]),
            indexed: round % 5 == 0,
            definition: format!("round {round}").into_bytes().into(),
            ..shape(round % 4)
        };
        let created = add(&store, &new).seq();
        if round % 7 == 3 {
            mark(&store, &new.handle, SnapshotState::Started);
        } else {
            assert_new(&store, &new, created);
        }
        if round % 11 == 0 {
            fixture.flush(&store);
        }
        remove(&store, &new.handle);
        assert_gone(&store, &new);
        if round % 13 == 0 {
            fixture.flush(&store);
        }
    }
    fixture.flush(&store);
    assert_eq!(View::of(&store).shapes, []);
    let created = add(&store, &shape(0)).seq();
    fixture.flush(&store);
    assert_new(&store, &shape(0), created);
}

/// Two shapes can exchange their keys, so that each handle has the definition of the other.
pub fn c3_two_shapes_exchange_their_keys<F: CompositionFixture>(fixture: &F) {
    for flushed in [false, true] {
        let store = fixture.open();
        let (one, two) = (shape(1), shape(2));
        add(&store, &one);
        add(&store, &two);
        if flushed {
            fixture.flush(&store);
        }
        remove(&store, &one.handle);
        remove(&store, &two.handle);
        let exchanged =
            [NewShape { handle: handle(1), ..shape(2) }, NewShape { handle: handle(2), ..shape(1) }];
        let created: Vec<_> = exchanged.iter().map(|new| add(&store, new).seq()).collect();
        for _ in 0..2 {
            for (new, created) in exchanged.iter().zip(&created) {
                assert_new(&store, new, *created);
            }
            assert_eq!(read(store.handle_for(&one.key)), Some(two.handle.clone()));
            fixture.flush(&store);
        }
    }
}

/// After threads have added and removed the same few shapes, the counts match the accepted mutations.
pub fn c3_threads_add_and_remove_the_same_shapes<F: CompositionFixture>(fixture: &F) {
    const THREADS: u64 = 4;
    let store = fixture.open();
    let accepted: Vec<(i64, u64)> = std::thread::scope(|scope| {
        let run = |thread| {
            let store = &store;
            move || {
                let (mut live, mut mutations) = (0, 0);
                for step in 0..150_u64 {
                    let number = (step * (thread + 1)) % 3;
                    let new = NewShape { handle: handle(number + step % 2), ..shape(number) };
                    let outcome = match (step + thread) % 3 {
                        0 => store.add(new, WAIT).map(|_| 1),
                        1 => store.get_or_add(&new, WAIT).map(|outcome| i64::from(outcome.added)),
                        _ => store.remove(&new.handle, WAIT).map(|_| -1),
                    };
                    match outcome {
                        Ok(change) => {
                            live += change;
                            mutations += u64::from(change != 0);
                        }
                        Err(MutateError::Refused(
                            Refusal::DuplicateHandle { .. }
                            | Refusal::DuplicateKey { .. }
                            | Refusal::UnknownHandle { .. },
                        )) => {}
                        Err(other) => panic!("an unexpected outcome: {other:?}"),
                    }
                }
                (live, mutations)
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(run(thread))).collect();
        for _ in 0..10 {
            fixture.flush(&store);
        }
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let view = View::of(&store);
    let live: i64 = accepted.iter().map(|(live, _)| live).sum();
    let mutations: u64 = accepted.iter().map(|(_, mutations)| mutations).sum();
    assert_eq!((view.counts.total as i64, view.last_seq.get()), (live, mutations));
    fixture.flush(&store);
    assert_eq!(View::of(&store), view);
}

/// A list is removed in one step: each shape has a sequence number, and handles that are not live are passed
/// over. Handles and keys are free at once.
pub fn c3_a_list_of_shapes_is_removed<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for flushed in [false, true] {
        for number in 0..6 {
            add(&store, &shape(number));
            if number == 2 {
                fixture.flush(&store);
            }
        }
        mark(&store, &handle(1), SnapshotState::Complete);
        if flushed {
            fixture.flush(&store);
        }
        let before = read(store.last_seq());
        let listed = [4, 1, 77, 1, 2].map(|number| handle(number).to_string());
        let receipt = accepted(store.remove_all(Removal::of_handles(listed), WAIT));
        assert_eq!((receipt.seq(), read(store.last_seq())), (seqs_after(before, 3), seqs_after(before, 3)));
        for _ in 0..2 {
            [1, 2, 4].iter().for_each(|number| assert_gone(&store, &shape(*number)));
            assert_eq!(read(store.counts()).total, 3);
            fixture.flush(&store);
        }
        receipt.wait_durable(TIMEOUT).expect("durable after the flush");
        for nothing in [vec![], vec![handle(1).to_string()]] {
            let receipt = accepted(store.remove_all(Removal::of_handles(nothing), WAIT));
            assert!(receipt.seq() <= seqs_after(before, 3) && receipt.is_durable());
        }
        assert_eq!(read(store.last_seq()), seqs_after(before, 3));
        for number in [1, 2, 4] {
            let created = add(&store, &shape(number)).seq();
            assert!(read(store.metadata(&handle(number))).is_some_and(|live| live.created == created));
        }
        accepted(store.reset(WAIT));
    }
}

fn seqs_after(before: Seq, count: u64) -> Seq {
    Seq::new(before.get() + count)
}

/// All shapes that read one of these relations are removed, be they pending or on disk, and no others.
pub fn c3_all_that_read_a_relation_are_removed<F: CompositionFixture>(fixture: &F) {
    for flushes in 0..4 {
        let store = fixture.open();
        let read_by = [&[1][..], &[2], &[1, 2], &[3], &[2, 3], &[], &[1]];
        for (number, oids) in (0..).zip(read_by) {
            add(&store, &NewShape { relations: relations(oids), ..shape(number) });
            if flushes & 1 != 0 && number == 3 {
                fixture.flush(&store);
            }
        }
        // The handle of a reader that is gone belongs to a shape that reads another relation.
        remove(&store, &handle(6));
        add(&store, &NewShape { relations: relations(&[3]), ..shape(6) });
        if flushes & 2 != 0 {
            fixture.flush(&store);
        }
        let dropped = [1, 2, 99].map(Relation::new);
        accepted(store.remove_all(Removal::of_relations(dropped), WAIT));
        for _ in 0..2 {
            let left = View::of(&store).shapes.into_iter().map(|shape| shape.handle).collect::<Vec<_>>();
            assert_eq!(left, [3, 5, 6].map(handle));
            assert!(distinct_handles_for_relations(&store, &dropped).is_empty());
            fixture.flush(&store);
        }
    }
}

/// With dependants, a removal takes what depends on a removed shape, directly or not, also in a cycle.
pub fn c3_dependants_are_removed<F: CompositionFixture>(fixture: &F) {
    for flushes in 0..4 {
        let store = fixture.open();
        // Each with the shapes that it depends on. 4 and 5 depend on each other.
        let on: [&[u64]; 8] = [&[], &[0], &[1, 7], &[], &[2, 5], &[4], &[3], &[3]];
        for (number, on) in (0..).zip(on) {
            let dependencies = on.iter().copied().map(key).collect();
            add(&store, &NewShape { dependencies, relations: relations(&[number as u32]), ..shape(number) });
            if flushes & 1 != 0 && number == 3 {
                fixture.flush(&store);
            }
        }
        if flushes & 2 != 0 {
            fixture.flush(&store);
        }
        let before = read(store.last_seq());
        let removal = match flushes {
            0 | 3 => Removal::of_relations([Relation::new(1)]),
            _ => Removal::of_handles([&*handle(1)]),
        };
        let receipt = accepted(store.remove_all(removal.with_dependants(), WAIT));
        assert_eq!(receipt.seq(), seqs_after(before, 4));
        for _ in 0..2 {
            let left = View::of(&store).shapes.into_iter().map(|shape| shape.handle).collect::<Vec<_>>();
            assert_eq!(left, [0, 3, 6, 7].map(handle));
            fixture.flush(&store);
        }
    }
}

/// Readers see all shapes of a removal in bulk, or none of them.
pub fn c1_a_removal_in_bulk_is_one_step<F: CompositionFixture>(fixture: &F) {
    const SHAPES: u64 = 60;
    let store = fixture.open();
    for round in 0..6 {
        for number in 0..SHAPES {
            add(&store, &NewShape { relations: relations(&[1]), ..shape(number) });
            if round % 2 == 0 && number == SHAPES / 2 {
                fixture.flush(&store);
            }
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut is_last = false;
                    while !is_last {
                        is_last = done.load(Ordering::SeqCst);
                        let readers = read(store.handles_for_relations(&[Relation::new(1)])).len() as u64;
                        let scanned = read(store.scan()).count() as u64;
                        for seen in [readers, read(store.counts()).total, scanned] {
                            assert!(seen == 0 || seen == SHAPES, "C1: {seen} of {SHAPES}");
                        }
                        // The last one to be removed is gone with the first one.
                        let first = read(store.metadata(&handle(0))).is_some();
                        let last = read(store.metadata(&handle(SHAPES - 1))).is_some();
                        assert!(first || !last, "C1: the shapes go in one step");
                    }
                });
            }
            accepted(store.remove_all(Removal::of_relations([Relation::new(1)]), WAIT));
            fixture.flush(&store);
            done.store(true, Ordering::SeqCst);
        });
        assert_eq!(read(store.counts()).total, 0);
    }
}
