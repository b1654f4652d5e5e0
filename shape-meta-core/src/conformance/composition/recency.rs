//! C1: last-read times and the least recently used shapes.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    Handle, HandleSet, LeastRecentlyUsed, MutateShapesExt, Mutation, ReadShapes, ReadShapesExt, Refusal, Seq,
    SnapshotState, Timestamp,
    conformance::{
        CompositionFixture, View,
        assertions::{WAIT, accepted, add, assert_handle_gone, assert_new, assert_refused, mark, remove},
        sample::{handle, shape},
        view::read,
    },
};

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A touch is visible at once, never moves a time back, survives every flush, and is no mutation.
pub fn c1_a_touch_is_seen_at_once<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let new = shape(1);
    let created = add(&store, &new).seq();
    assert_new(&store, &new, created);
    let mut latest = None;
    for (round, micros) in [50, 40, 50, 60, 1, 0, 60, 70].into_iter().enumerate() {
        assert!(read(store.touch(&new.handle, at(micros))));
        latest = latest.max(Some(at(micros)));
        let metadata = read(store.metadata(&new.handle)).expect("the shape is live");
        assert_eq!(metadata.last_read, latest, "a touch never moves the last-read time back");
        assert_eq!((metadata.created, metadata.state), (created, SnapshotState::Pending));
        if round % 3 == 1 {
            fixture.flush(&store);
        }
        let seen = &View::of(&store).shapes[0];
        assert_eq!(seen.last_read, latest);
    }
    mark(&store, &new.handle, SnapshotState::Complete);
    fixture.flush(&store);
    assert_eq!(View::of(&store).shapes[0].last_read, latest);
    assert_eq!(read(store.last_seq()), Seq::new(2), "a touch uses no sequence number");
}

/// A time in the future comes from a clock that was ahead, and counts as now: the shape is neither the last
/// one to be evicted until then, nor one that was read before.
pub fn c1_a_time_in_the_future_counts_as_now<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for number in 0..4 {
        add(&store, &shape(number));
        if number == 1 {
            fixture.flush(&store);
        }
    }
    let before = Timestamp::now();
    let next_year = at(before.as_micros() + 365 * 86_400_000_000);
    for (number, time) in [(0, next_year), (1, at(u64::MAX)), (2, next_year), (3, at(7))] {
        assert!(read(store.touch(&handle(number), time)));
    }
    for _ in 0..2 {
        let found = read(store.lru(9)).shapes;
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], (handle(3), at(7)));
        assert!(found[1..].iter().all(|(_, at)| (before..=Timestamp::now()).contains(at)), "{found:?}");
        fixture.flush(&store);
    }
    // The next read replaces it, and never by an earlier time than now.
    for (number, time) in [(0, Timestamp::now()), (1, at(70)), (2, at(u64::MAX))] {
        assert!(read(store.touch(&handle(number), time)));
    }
    let last_read = |number| read(store.metadata(&handle(number))).and_then(|metadata| metadata.last_read);
    for number in [0, 1] {
        assert!(last_read(number).is_some_and(|at| (before..=Timestamp::now()).contains(&at)));
    }
    let handles: Vec<_> = read(store.lru(9)).shapes.into_iter().map(|(handle, _)| handle).collect();
    assert_eq!(handles, [3, 0, 1, 2].map(handle));
}

/// Only live shapes can be touched. A new shape with the handle of a removed one was never read.
pub fn c1_only_live_shapes_can_be_touched<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let new = shape(1);
    for text in ["unknown", "", "\0", &new.handle] {
        assert!(!read(store.touch(text, at(5))));
        assert!(!read(store.touch_now(text)));
    }
    for _ in 0..4 {
        let created = add(&store, &new).seq();
        assert_new(&store, &new, created);
        assert!(read(store.touch(&new.handle, at(5))));
        fixture.flush(&store);
        remove(&store, &new.handle);
        assert_handle_gone(&store, &new.handle);
        assert_eq!(read(store.lru(9)), LeastRecentlyUsed::default());
    }
    add(&store, &new);
    let before = Timestamp::now();
    assert!(read(store.touch_now(&new.handle)));
    let last_read = read(store.metadata(&new.handle)).and_then(|metadata| metadata.last_read);
    assert!(last_read.is_some_and(|last_read| last_read >= before && last_read <= Timestamp::now()));
}

/// The least recently used shapes are returned with the earliest last-read time first. Shapes that were never
/// read and excluded shapes are left out.
pub fn c1_least_recently_used_come_first<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let times = [70, 30, 50, 10, 90, 20];
    for number in 0..10 {
        add(&store, &shape(number));
        if number == 4 {
            fixture.flush(&store);
        }
    }
    assert_eq!(read(store.lru(100)), LeastRecentlyUsed::default(), "no shape was read yet");
    for (number, micros) in (0..).zip(times) {
        assert!(read(store.touch(&handle(number), at(micros))));
    }
    for _ in 0..2 {
        let oldest = |n, excluded: &[u64]| {
            let excluded: HandleSet = excluded.iter().copied().map(handle).collect();
            read(store.least_recently_used(n, &excluded)).shapes
        };
        let expect = |wanted: &[(u64, u64)]| -> Vec<(Handle, Timestamp)> {
            wanted.iter().map(|(number, micros)| (handle(*number), at(*micros))).collect()
        };
        let all = [(3, 10), (5, 20), (1, 30), (2, 50), (0, 70), (4, 90)];
        for n in 0..=all.len() {
            assert_eq!(oldest(n, &[]), expect(&all[..n]), "the {n} least recently used");
        }
        assert_eq!(oldest(usize::MAX, &[]), expect(&all));
        assert_eq!(oldest(2, &[3, 1]), expect(&[(5, 20), (2, 50)]));
        assert_eq!(oldest(9, &[3, 5, 1, 2, 0, 4]), []);
        assert_eq!(oldest(3, &[8, 9, 77]), expect(&all[..3]));
        assert_eq!(read(store.lru(2)).shapes, expect(&all[..2]));

        let two = read(store.lru(2));
        assert_eq!(two.most_recent(), Some(at(20)));
        assert_eq!(two.age(at(1_000_020)), Some(Duration::from_secs(1)));
        assert_eq!(two.age(at(5)), Some(Duration::ZERO));
        assert_eq!(LeastRecentlyUsed::default().age(at(5)), None);
        fixture.flush(&store);
    }
    remove(&store, &handle(3));
    assert!(read(store.touch(&handle(5), at(95))));
    let handles: Vec<_> = read(store.lru(9)).shapes.into_iter().map(|(handle, _)| handle).collect();
    assert_eq!(handles, [1, 2, 0, 4, 5].map(handle));
}

/// A shape that was read since is not removed; one that was read before, or never, is.
pub fn c1_a_shape_that_was_read_since_stays<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for number in 0..4 {
        add(&store, &shape(number));
        if number == 1 {
            fixture.flush(&store);
        }
    }
    for (number, micros) in [(0, 50), (1, 60), (2, 70)] {
        assert!(read(store.touch(&handle(number), at(micros))));
    }
    let mut expected = 4;
    // By handle, the time since when, and whether that removes it.
    let steps = [(0, 50, false), (1, 61, true), (1, 61, false), (2, 1, false), (9, 9, false), (2, 71, true)];
    for (step, (number, since, removes)) in steps.into_iter().enumerate() {
        let before = read(store.last_seq());
        let outcome = accepted(store.remove_if_unread_since(&handle(number), at(since), WAIT));
        assert_eq!(outcome.map(|receipt| receipt.seq()), removes.then(|| before.next()), "step {step}");
        expected -= u64::from(removes);
        assert_eq!(read(store.counts()).total, expected);
        if removes {
            assert_handle_gone(&store, &handle(number));
            fixture.flush(&store);
            assert_handle_gone(&store, &handle(number));
        }
    }
    assert!(accepted(store.remove_if_unread_since(&handle(3), at(1), WAIT)).is_some(), "it was never read");
    // A refusal has no effect on what comes after it.
    assert!(read(store.touch(&handle(0), at(51))));
    let refused =
        assert_refused(&store, || store.mutate(&Mutation::remove_unread(&*handle(0), at(51)), WAIT));
    assert_eq!(refused, Refusal::ReadSince { handle: handle(0) });
    assert!(read(store.touch(&handle(0), at(52))));
    // A removed handle is free for a shape that can be read.
    add(&store, &shape(1));
    assert!(read(store.touch(&handle(1), at(5))));
    fixture.flush(&store);
    assert!(read(store.touch(&handle(1), at(6))));
    assert_eq!(read(store.counts()).total, 2);
}

/// Threads read a shape while others evict it if it was not read: a read that has returned before the
/// eviction began keeps the shape, and after an eviction no read counts, and none shows the shape.
pub fn c1_an_eviction_and_a_read_have_an_order<F: CompositionFixture>(fixture: &F) {
    const ROUNDS: u64 = 40;
    let store = fixture.open();
    for round in 0..ROUNDS {
        let new = shape(round);
        add(&store, &new);
        if round % 2 == 0 {
            fixture.flush(&store);
        }
        let since = at(100);
        let (begin, counted) = (Barrier::new(4), AtomicBool::new(false));
        let is_evicted = thread::scope(|scope| {
            let readers: Vec<_> = (0..2_u64)
                .map(|reader| {
                    let (store, new, begin) = (&store, &new, &begin);
                    let counted = &counted;
                    scope.spawn(move || {
                        begin.wait();
                        for number in 0..20 {
                            let counts = read(store.touch(&new.handle, at(100 + reader * 20 + number)));
                            counted.fetch_or(counts, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            let evictor = scope.spawn(|| {
                begin.wait();
                accepted(store.remove_if_unread_since(&new.handle, since, WAIT)).is_some()
            });
            begin.wait();
            fixture.flush(&store);
            readers.into_iter().for_each(|reader| reader.join().expect("a reader panicked"));
            evictor.join().expect("the evictor panicked")
        });
        let is_live = read(store.has_handle(&new.handle));
        assert_eq!(is_live, !is_evicted, "round {round}");
        assert!(!(is_evicted && counted.into_inner()), "round {round}: evicted although it was read");
        if !is_evicted {
            remove(&store, &new.handle);
        }
    }
}

/// Shapes with equal last-read times are all returned, each once.
pub fn c1_equal_last_read_times_are_all_returned<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for number in 0..200 {
        add(&store, &shape(number));
        assert!(read(store.touch(&handle(number), at(7 + number % 2))));
        if number % 50 == 49 {
            fixture.flush(&store);
        }
    }
    for n in [1, 99, 100, 101, 199, 200, 201] {
        let shapes = read(store.lru(n)).shapes;
        assert_eq!(shapes.len(), n.min(200));
        assert!(shapes.is_sorted_by_key(|(_, at)| *at));
        assert_eq!(shapes.iter().filter(|(_, last_read)| *last_read == at(7)).count(), n.min(100));
        let distinct: HandleSet = shapes.into_iter().map(|(handle, _)| handle).collect();
        assert_eq!(distinct.len(), n.min(200), "each shape is returned once");
    }
}
