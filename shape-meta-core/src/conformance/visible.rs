//! C1: when a mutation has returned, every read sees it, in all indexes at once.

use std::sync::mpsc;

use super::{
    Fixture, View,
    act::{PATIENT, accepted, add, assert_gone, assert_new, mark, remove},
    sample::{key, relations, shape},
    view::{Seen, read},
};
use crate::{Counts, MutateShapes, MutateShapesExt, NewShape, ReadShapes, ReadShapesExt, Seq, SnapshotState};

/// A fresh store is empty, and its order has not begun.
pub fn c1_a_fresh_store_is_empty<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let view = View::of(&store);
    assert_eq!(view, View { counts: Counts::default(), last_seq: Seq::ZERO, shapes: Vec::new() });
    assert_gone(&store, &shape(1));
    assert!(read(store.list()).is_empty());
}

/// An add is seen by every read when it returns, and as well when it is durable.
pub fn c1_an_add_is_seen_at_once<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    for number in 1..=5 {
        let new = NewShape {
            relations: relations(&[number as u32, 16_501]),
            dependencies: [key(number + 1), key(99)].into(),
            ..shape(number)
        };
        assert_gone(&store, &new);
        let created = add(&store, &new).seq();
        assert_new(&store, &new, created);
        if number % 2 == 0 {
            fixture.flush(&store);
            assert_new(&store, &new, created);
        }
    }
    let before = View::of(&store);
    assert_eq!(before.counts, Counts { total: 5, indexed: 2 });
    fixture.flush(&store);
    assert_eq!(View::of(&store), before, "a flush is not seen");
}

/// A removal is seen by every read when it returns, and touches no other shape; pending or durable.
pub fn c1_a_removal_is_seen_at_once<F: Fixture>(fixture: &F) {
    for flushes in 0..4 {
        let store = fixture.open();
        let (kept, gone) = (shape(1), NewShape { relations: relations(&[1, 2]), ..shape(2) });
        let created = add(&store, &kept).seq();
        add(&store, &gone);
        if flushes & 1 != 0 {
            fixture.flush(&store);
        }
        remove(&store, &gone.handle);
        assert_gone(&store, &gone);
        assert_new(&store, &kept, created);
        if flushes & 2 != 0 {
            fixture.flush(&store);
            assert_gone(&store, &gone);
            assert_new(&store, &kept, created);
        }
    }
}

/// A mark is seen when it returns, also on a shape that is still pending; the state moves one way, and
/// asking for what is so already changes nothing.
pub fn c1_the_snapshot_state_moves_one_way<F: Fixture>(fixture: &F) {
    use SnapshotState::{Complete, Pending, Started};
    for flushed in [false, true] {
        let store = fixture.open();
        let steps: [&[SnapshotState]; 4] =
            [&[Started, Complete], &[Complete, Started], &[Started, Started, Pending], &[Complete, Complete]];
        for (number, steps) in (1..).zip(steps) {
            let new = shape(number);
            add(&store, &new);
            let mut now = Pending;
            for asked in steps {
                if flushed {
                    fixture.flush(&store);
                }
                let before = View::of(&store);
                mark(&store, &new.handle, *asked);
                now = now.max(*asked);
                assert_eq!(read(store.snapshot_state(&new.handle)), Some(now));
                assert_eq!(read(store.is_snapshot_started(&new.handle)), now.is_started());
                let mut expected = before.clone();
                for seen in &mut expected.shapes {
                    if seen.handle == new.handle {
                        seen.state = now;
                    }
                }
                if expected != before {
                    expected.last_seq = before.last_seq.next();
                }
                assert_eq!(View::of(&store), expected, "a mark changes the state and nothing else");
            }
        }
        let before = View::of(&store);
        fixture.flush(&store);
        assert_eq!(View::of(&store), before);
    }
}

/// The named ways to mark do what they say.
pub fn c1_marks_by_name<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let new = shape(1);
    add(&store, &new);
    assert!(!read(store.is_snapshot_started(&new.handle)));
    accepted(store.mark_snapshot_started(&new.handle, PATIENT));
    assert_eq!(read(store.snapshot_state(&new.handle)), Some(SnapshotState::Started));
    accepted(store.mark_snapshot_complete(&new.handle, PATIENT));
    assert_eq!(read(store.snapshot_state(&new.handle)), Some(SnapshotState::Complete));
}

/// A reset removes every shape, pending or durable, and frees all handles and keys. The order goes on.
pub fn c1_a_reset_removes_every_shape<F: Fixture>(fixture: &F) {
    for flushes in 0..4 {
        let store = fixture.open();
        for number in 1..=4 {
            add(&store, &shape(number));
            if flushes & 1 != 0 && number == 2 {
                fixture.flush(&store);
            }
        }
        mark(&store, &shape(1).handle, SnapshotState::Complete);
        let before = read(store.last_seq());
        let reset = accepted(store.reset(PATIENT)).seq();
        assert_eq!(reset, before.next());
        let empty = View { counts: Counts::default(), last_seq: reset, shapes: Vec::new() };
        assert_eq!(View::of(&store), empty);
        for number in 1..=4 {
            assert_gone(&store, &shape(number));
        }
        if flushes & 2 != 0 {
            fixture.flush(&store);
            assert_eq!(View::of(&store), empty);
        }
        for number in [3, 1] {
            let created = add(&store, &shape(number)).seq();
            assert_new(&store, &shape(number), created);
        }
        let view = View::of(&store);
        assert_eq!((view.counts.total, view.last_seq), (2, reset.next().next()));
        fixture.flush(&store);
        assert_eq!(View::of(&store), view);
    }
}

/// A scan shows what was live when it was made, whatever happens before it is read to its end: adds,
/// removals, marks, a reset and flushes.
pub fn c1_a_scan_is_fixed_when_it_is_made<F: Fixture>(fixture: &F) {
    for flushed in [false, true] {
        let store = fixture.open();
        for number in 1..=300 {
            add(&store, &shape(number));
            if flushed && number == 200 {
                fixture.flush(&store);
            }
        }
        let before = View::of(&store).shapes;

        let mut scan = read(store.scan());
        let first = scan.next().map(|listed| Seen::of(&read(listed)));
        remove(&store, &shape(1).handle);
        remove(&store, &shape(2).handle);
        remove(&store, &shape(300).handle);
        add(&store, &shape(2));
        add(&store, &shape(301));
        mark(&store, &shape(3).handle, SnapshotState::Complete);
        if flushed {
            fixture.flush(&store);
        }
        accepted(store.reset(PATIENT));
        add(&store, &shape(302));
        if flushed {
            fixture.flush(&store);
        }
        let rest = scan.map(|listed| Seen::of(&read(listed)));
        let shown: Vec<_> = first.into_iter().chain(rest).collect();
        let handles = |shapes: &[Seen]| shapes.iter().map(|shape| shape.handle.clone()).collect::<Vec<_>>();
        assert_eq!(handles(&shown), handles(&before));
        assert!(shown == before, "a scan shows each shape as it was when the scan was made");
        assert_eq!(View::of(&store).counts.total, 1);
    }
}

/// What one thread has written, another reads as soon as it hears of it.
pub fn c1_other_threads_see_it_at_once<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let (tell, told) = mpsc::sync_channel::<(NewShape, Option<Seq>)>(0);
    let (answer, heard) = mpsc::sync_channel::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (tell, heard) = (tell, heard);
            // Whether the reader has looked: it is gone if an assertion of its failed.
            let looked = |news| tell.send(news).is_ok() && heard.recv().is_ok();
            for number in 0..30 {
                let new = shape(number % 5);
                let created = add(&store, &new).seq();
                if !looked((new.clone(), Some(created))) {
                    return;
                }
                if number % 7 == 0 {
                    fixture.flush(&store);
                }
                remove(&store, &new.handle);
                if !looked((new, None)) {
                    return;
                }
            }
        });
        let answer = answer;
        for (new, created) in told {
            match created {
                Some(created) => assert_new(&store, &new, created),
                None => assert_gone(&store, &new),
            }
            if answer.send(()).is_err() {
                break;
            }
        }
    });
    assert_eq!(View::of(&store).counts, Counts::default());
}

/// Marks, removes and adds by every form of call mean the same.
pub fn c1_every_form_of_call_is_the_same<F: Fixture>(fixture: &F) {
    use super::block_on::block_on;
    use crate::{Mutation, Wait};

    let store = fixture.open();
    let (one, two, three) = (shape(1), shape(2), shape(3));
    accepted(store.try_mutate(&Mutation::Add(one.clone())));
    accepted(store.mutate(&Mutation::Add(two.clone()), Wait::No));
    accepted(block_on(store.mutate_async(&Mutation::Add(three.clone()))));
    assert_eq!(View::of(&store).counts.total, 3);
    accepted(store.try_mutate(&Mutation::snapshot_started(&*one.handle)));
    accepted(block_on(store.mutate_async(&Mutation::snapshot_complete(&*two.handle))));
    accepted(block_on(store.mutate_async(&Mutation::remove(&*three.handle))));
    let states: Vec<_> = View::of(&store).shapes.into_iter().map(|shape| shape.state).collect();
    assert_eq!(states, [SnapshotState::Started, SnapshotState::Complete]);
    assert_eq!(Mutation::remove(&*three.handle).handle(), Some(&*three.handle));

    let found =
        accepted(block_on(store.get_or_add_async(&NewShape { handle: three.handle.clone(), ..shape(1) })));
    assert_eq!((found.handle, found.added), (one.handle, false));
    let made = accepted(block_on(store.get_or_add_async(&three)));
    assert_eq!((made.handle, made.added), (three.handle.clone(), true));
    accepted(store.try_mutate(&Mutation::Reset));
    assert_eq!(View::of(&store).counts, Counts::default());
    if let Some(room) = store.capacity_signal() {
        room.raise();
    }
}
