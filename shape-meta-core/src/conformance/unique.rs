//! C2: a live handle and a live key are each unique, at once.

use std::sync::Barrier;

use super::{
    Fixture, View,
    act::{PATIENT, accepted, add, assert_new, refused, refuses, remove},
    sample::{key, shape, text_handle},
    view::read,
};
use crate::{Key, MutateShapes, MutateShapesExt, Mutation, NewShape, ReadShapes, Refusal, Relation};

/// A second add of a live handle is refused, whether the first is pending or durable.
pub fn c2_a_live_handle_is_refused<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let first = shape(1);
    add(&store, &first);
    let second = NewShape { handle: first.handle.clone(), ..shape(2) };
    for _ in 0..2 {
        let refusal = refuses(&store, || store.add(second.clone(), PATIENT));
        assert_eq!(refusal, Refusal::DuplicateHandle { handle: first.handle.clone() });
        let refusal = refuses(&store, || store.get_or_add(&second, PATIENT));
        assert_eq!(refusal, Refusal::DuplicateHandle { handle: first.handle.clone() });
        fixture.flush(&store);
    }
}

/// A second add of a live key is refused, and the refusal names the handle that holds it; also when the
/// handle is the same too.
pub fn c2_a_live_key_is_refused_and_its_holder_named<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let first = shape(1);
    add(&store, &first);
    for handle in [shape(2).handle, first.handle.clone()] {
        for _ in 0..2 {
            let again = NewShape { handle: handle.clone(), ..shape(1) };
            let refusal = refuses(&store, || store.add(again, PATIENT));
            assert_eq!(refusal, Refusal::DuplicateKey { key: first.key, held_by: first.handle.clone() });
            fixture.flush(&store);
        }
    }
}

/// `get_or_add` adds what is not there and finds what is, by key; the handle that it is given counts only
/// if it adds.
pub fn c2_get_or_add_finds_or_adds<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let new = shape(1);
    let made = accepted(store.get_or_add(&new, PATIENT));
    assert_eq!((&made.handle, made.added), (&new.handle, true));
    assert_new(&store, &new, made.receipt.seq());
    for flush in [false, true] {
        if flush {
            fixture.flush(&store);
        }
        let before = View::of(&store);
        for handle in [new.handle.clone(), shape(2).handle] {
            let found = accepted(store.get_or_add(&NewShape { handle, ..shape(1) }, PATIENT));
            assert_eq!((&found.handle, found.added), (&new.handle, false));
            assert!(found.receipt.seq() >= made.receipt.seq() && found.receipt.seq() <= before.last_seq);
            let found = accepted(store.try_get_or_add(&new));
            assert_eq!((&found.handle, found.added), (&new.handle, false));
        }
        assert_eq!(View::of(&store), before, "finding changes nothing");
    }
    fixture.flush(&store);
    let found = accepted(store.get_or_add(&new, PATIENT));
    assert!(found.receipt.is_durable(), "after a flush, what is found is durable");

    remove(&store, &new.handle);
    let again = NewShape { handle: shape(2).handle, ..shape(1) };
    let made = accepted(store.get_or_add(&again, PATIENT));
    assert_eq!((&made.handle, made.added), (&again.handle, true));
    assert_new(&store, &again, made.receipt.seq());
}

/// `get_or_add` finds a live key also with what would be refused if it had to add: a shape that was added
/// under wider limits must still be found.
pub fn c2_get_or_add_finds_before_it_looks_at_limits<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let new = shape(1);
    add(&store, &new);
    let too_large = [
        NewShape { handle: text_handle(&"h".repeat(10_000)), ..shape(1) },
        NewShape { definition: vec![0; 2 << 20].into(), ..shape(1) },
        NewShape { relations: (0..10_000).map(Relation::new).collect(), ..shape(1) },
        NewShape { dependencies: (0..10_000).map(key).collect(), ..shape(1) },
    ];
    for _ in 0..2 {
        for asked in &too_large {
            let found = accepted(store.get_or_add(asked, PATIENT));
            assert_eq!((&found.handle, found.added), (&new.handle, false));
        }
        fixture.flush(&store);
    }
}

/// `get_or_add_with` makes a shape only when it is needed.
pub fn c2_get_or_add_with_makes_only_what_is_needed<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let mut made = 0;
    for _ in 0..3 {
        let make = || {
            made += 1;
            shape(1)
        };
        assert_eq!(accepted(store.get_or_add_with(&key(1), make, PATIENT)), shape(1).handle);
        fixture.flush(&store);
    }
    assert_eq!(made, 1);
    assert_eq!(View::of(&store).counts.total, 1);
}

/// Many threads that ask for the same new keys at the same time make one shape of each, and all get its
/// handle.
pub fn c2_racing_get_or_add_makes_one_shape<F: Fixture>(fixture: &F) {
    const THREADS: u64 = 8;
    const KEYS: u64 = 40;
    let store = fixture.open();
    let start = Barrier::new(THREADS as usize);
    let outcomes: Vec<Vec<_>> = std::thread::scope(|scope| {
        let ask = |thread| {
            let (store, start) = (&store, &start);
            move || {
                let wanted = (0..KEYS).map(|number| NewShape {
                    handle: text_handle(&format!("{number} of thread {thread}")),
                    ..shape(number)
                });
                let wanted: Vec<_> = wanted.collect();
                start.wait();
                wanted.iter().map(|new| accepted(store.get_or_add(new, PATIENT))).collect()
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(ask(thread))).collect();
        fixture.flush(&store);
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let view = View::of(&store);
    assert_eq!((view.counts.total, view.last_seq.get()), (KEYS, KEYS));
    for number in 0..KEYS {
        let of_key: Vec<_> = outcomes.iter().map(|outcomes| &outcomes[number as usize]).collect();
        let holder = read(store.handle_for(&key(number))).expect("the key is live");
        assert!(of_key.iter().all(|outcome| outcome.handle == holder), "all get the handle of the one shape");
        assert_eq!(of_key.iter().filter(|outcome| outcome.added).count(), 1, "one of them has made it");
    }
}

/// Of many threads that add the same handle for different definitions, one is accepted.
pub fn c2_racing_adds_of_one_handle<F: Fixture>(fixture: &F) {
    const THREADS: u64 = 8;
    let store = fixture.open();
    for round in 0..10 {
        let start = Barrier::new(THREADS as usize);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let ask = |thread| {
                let (store, start) = (&store, &start);
                move || {
                    let new = NewShape { handle: shape(round).handle, ..shape(100 * round + thread) };
                    start.wait();
                    (new.key, store.add(new, PATIENT))
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(ask(thread))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
        assert_eq!(won.len(), 1, "one add of a handle is accepted");
        for (key, outcome) in lost {
            assert_eq!(refused(outcome), Refusal::DuplicateHandle { handle: shape(round).handle });
            assert_eq!(read(store.handle_for(&key)), None, "a refused key is not live");
        }
        assert_eq!(View::of(&store).counts.total, round + 1);
    }
}

/// Shapes that are nearly the same are not the same: keys that begin alike, handles that begin alike or
/// look alike, and the narrow hashes that stores may keep instead.
pub fn c2_near_misses_are_different_shapes<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let keys = [
        [0; 32],
        [0xff; 32],
        with_last(0, 1),
        with_last(0, 2),
        with_last(0xff, 1),
        with_byte(8),
        with_byte(16),
    ];
    let long = "x".repeat(255);
    let texts = [
        "a",
        "A",
        "a ",
        " a",
        "aa",
        "á",
        "a\u{301}",
        "%",
        "_",
        "'",
        "\"",
        "a'; DROP TABLE shapes; --",
        "/",
        "..",
        "ａ",
        "😀",
        "0",
        "00",
        "-0",
        "1e0",
        "NULL",
        &long,
        &long[..30],
        &long[..31],
        &long[..32],
    ];
    let wanted: Vec<_> = (0..)
        .zip(texts)
        .map(|(number, text)| NewShape {
            handle: text_handle(text),
            key: keys.get(number as usize).map_or_else(|| key(number), |bytes| Key::new(*bytes)),
            ..shape(7)
        })
        .collect();
    for flushed in [false, true] {
        let receipts: Vec<_> = wanted.iter().map(|new| add(&store, new).seq()).collect();
        if flushed {
            fixture.flush(&store);
        }
        let view = View::of(&store);
        for (new, created) in wanted.iter().zip(receipts) {
            let seen = view.get(&new.handle).expect("every one is live");
            assert_eq!((seen.key, seen.created), (new.key, created));
        }
        for (at, new) in wanted.iter().enumerate() {
            remove(&store, &new.handle);
            assert_eq!(View::of(&store).shapes, view.shapes[at + 1..], "only that one is removed");
            assert_eq!(read(store.handle_for(&new.key)), None);
        }
        let unknown = refuses(&store, || store.try_mutate(&Mutation::remove("a")));
        assert_eq!(unknown.name(), "unknown_handle");
    }
}

fn with_last(fill: u8, last: u8) -> [u8; 32] {
    let mut bytes = [fill; 32];
    bytes[31] = last;
    bytes
}

fn with_byte(at: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[at] = 1;
    bytes
}
