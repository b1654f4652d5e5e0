//! C3: a removal frees handle and key at once.

use crate::{
    MutateError, MutateShapesExt, NewShape, ReadShapes, Refusal, Relation, SnapshotState, Timestamp,
    conformance::{
        CompositionFixture, View,
        assertions::{WAIT, add, assert_gone, assert_new, mark, remove},
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
