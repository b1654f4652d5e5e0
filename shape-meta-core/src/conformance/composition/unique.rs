//! C2: a live handle and a live key are unique.

use std::sync::Barrier;

use crate::{
    Key, MutateShapes, MutateShapesExt, Mutation, NewShape, ReadShapes, Refusal, Relation,
    conformance::{
        CompositionFixture, View,
        assertions::{WAIT, accepted, add, assert_new, assert_refused, refusal_of, remove},
        sample::{key, shape, text_handle},
        view::read,
    },
};

/// A second add of a live handle is refused, whether the first add is pending or durable.
pub fn c2_a_live_handle_cannot_be_added_again<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let first = shape(1);
    add(&store, &first);
    let second = NewShape { handle: first.handle.clone(), ..shape(2) };
    for _ in 0..2 {
        let refusal = assert_refused(&store, || store.add(second.clone(), WAIT));
        assert_eq!(refusal, Refusal::DuplicateHandle { handle: first.handle.clone() });
        let refusal = assert_refused(&store, || store.get_or_add(&second, WAIT));
        assert_eq!(refusal, Refusal::DuplicateHandle { handle: first.handle.clone() });
        fixture.flush(&store);
    }
}

/// A second add of a live key is refused, and the refusal names the handle with that key, also when the
/// handles are equal.
pub fn c2_a_live_key_is_refused_naming_its_handle<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let first = shape(1);
    add(&store, &first);
    for handle in [shape(2).handle, first.handle.clone()] {
        for _ in 0..2 {
            let again = NewShape { handle: handle.clone(), ..shape(1) };
            let refusal = assert_refused(&store, || store.add(again, WAIT));
            assert_eq!(refusal, Refusal::DuplicateKey { key: first.key, held_by: first.handle.clone() });
            fixture.flush(&store);
        }
    }
}

/// `get_or_add` finds a live shape by key, and adds it if the key is not live. The given handle is used only
/// by an add.
pub fn c2_get_or_add_finds_or_adds<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let new = shape(1);
    let made = accepted(store.get_or_add(&new, WAIT));
    assert_eq!((&made.handle, made.added), (&new.handle, true));
    assert_new(&store, &new, made.receipt.seq());
    for flush in [false, true] {
        if flush {
            fixture.flush(&store);
        }
        let before = View::of(&store);
        for handle in [new.handle.clone(), shape(2).handle] {
            let found = accepted(store.get_or_add(&NewShape { handle, ..shape(1) }, WAIT));
            assert_eq!((&found.handle, found.added), (&new.handle, false));
            assert!(found.receipt.seq() >= made.receipt.seq() && found.receipt.seq() <= before.last_seq);
            let found = accepted(store.try_get_or_add(&new));
            assert_eq!((&found.handle, found.added), (&new.handle, false));
        }
        assert_eq!(View::of(&store), before, "get_or_add of a live key changes nothing");
    }
    fixture.flush(&store);
    let found = accepted(store.get_or_add(&new, WAIT));
    assert!(found.receipt.is_durable(), "after a flush, the receipt of a found shape is durable");

    remove(&store, &new.handle);
    let again = NewShape { handle: shape(2).handle, ..shape(1) };
    let made = accepted(store.get_or_add(&again, WAIT));
    assert_eq!((&made.handle, made.added), (&again.handle, true));
    assert_new(&store, &again, made.receipt.seq());
}

/// `get_or_add` finds a live key also for a shape that an add would refuse: a shape that was added with
/// higher limits must still be found.
pub fn c2_get_or_add_finds_before_checking_limits<F: CompositionFixture>(fixture: &F) {
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
        for shape in &too_large {
            let found = accepted(store.get_or_add(shape, WAIT));
            assert_eq!((&found.handle, found.added), (&new.handle, false));
        }
        fixture.flush(&store);
    }
}

/// `get_or_add_with` builds the shape only if its key is not live.
pub fn c2_get_or_add_with_builds_a_shape_only_if_absent<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let mut made = 0;
    for round in 0..3 {
        let make = || {
            made += 1;
            shape(1)
        };
        let found = accepted(store.get_or_add_with(&key(1), make, WAIT));
        assert_eq!((found.handle, found.added), (shape(1).handle, round == 0));
        fixture.flush(&store);
    }
    assert_eq!(made, 1);
    assert_eq!(View::of(&store).counts.total, 1);
}

/// Concurrent calls of `get_or_add` with the same keys add one shape for each key, and all return its handle.
pub fn c2_racing_get_or_add_makes_one_shape<F: CompositionFixture>(fixture: &F) {
    const THREADS: u64 = 8;
    const KEYS: u64 = 40;
    let store = fixture.open();
    let start = Barrier::new(THREADS as usize);
    let outcomes: Vec<Vec<_>> = std::thread::scope(|scope| {
        let run = |thread| {
            let (store, start) = (&store, &start);
            move || {
                let wanted = (0..KEYS).map(|number| NewShape {
                    handle: text_handle(&format!("{number} of thread {thread}")),
                    ..shape(number)
                });
                let wanted: Vec<_> = wanted.collect();
                start.wait();
                wanted.iter().map(|new| accepted(store.get_or_add(new, WAIT))).collect()
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(run(thread))).collect();
        fixture.flush(&store);
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let view = View::of(&store);
    assert_eq!((view.counts.total, view.last_seq.get()), (KEYS, KEYS));
    for number in 0..KEYS {
        let of_key: Vec<_> = outcomes.iter().map(|outcomes| &outcomes[number as usize]).collect();
        let holder = read(store.handle_for(&key(number))).expect("the key is live");
        assert!(
            of_key.iter().all(|outcome| outcome.handle == holder),
            "all calls return the handle of the one shape"
        );
        assert_eq!(of_key.iter().filter(|outcome| outcome.added).count(), 1, "one call has added it");
    }
}

/// Of concurrent adds of one handle with different definitions, one is accepted.
pub fn c2_racing_adds_of_one_handle_accept_one<F: CompositionFixture>(fixture: &F) {
    const THREADS: u64 = 8;
    let store = fixture.open();
    for round in 0..10 {
        let start = Barrier::new(THREADS as usize);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let run = |thread| {
                let (store, start) = (&store, &start);
                move || {
                    let new = NewShape { handle: shape(round).handle, ..shape(100 * round + thread) };
                    start.wait();
                    (new.key, store.add(new, WAIT))
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(run(thread))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        let (added, failed): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
        assert_eq!(added.len(), 1, "one add of a handle is accepted");
        for (key, outcome) in failed {
            assert_eq!(refusal_of(outcome), Refusal::DuplicateHandle { handle: shape(round).handle });
            assert_eq!(read(store.handle_for(&key)), None, "a refused key is not live");
        }
        assert_eq!(View::of(&store).counts.total, round + 1);
    }
}

/// Similar shapes are different shapes: keys with a common prefix, handles with a common prefix or the same
/// appearance, and values that stores may confuse through short hashes of them.
pub fn c2_similar_handles_and_keys_are_distinct<F: CompositionFixture>(fixture: &F) {
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
            let seen = view.get(&new.handle).expect("the shape is live");
            assert_eq!((seen.key, seen.created), (new.key, created));
        }
        for (at, new) in wanted.iter().enumerate() {
            remove(&store, &new.handle);
            assert_eq!(View::of(&store).shapes, view.shapes[at + 1..], "only this shape is removed");
            assert_eq!(read(store.handle_for(&new.key)), None);
        }
        let unknown = assert_refused(&store, || store.try_mutate(&Mutation::remove("a")));
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
