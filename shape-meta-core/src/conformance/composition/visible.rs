//! C1: after a mutation has returned, every read sees it, in all indexes.

use std::sync::mpsc;

use crate::{
    Counts, MutateShapes, MutateShapesExt, NewShape, ReadShapes, ReadShapesExt, Seq, SnapshotState,
    conformance::{
        CompositionFixture, View,
        assertions::{WAIT, accepted, add, assert_gone, assert_new, mark, remove},
        sample::{key, relations, shape},
        view::{ShapeView, read},
    },
};

/// A fresh store is empty, and its last sequence number is zero.
pub fn c1_a_fresh_store_is_empty<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let view = View::of(&store);
    assert_eq!(view, View { counts: Counts::default(), last_seq: Seq::ZERO, shapes: Vec::new() });
    assert_gone(&store, &shape(1));
    assert!(read(store.list()).is_empty());
}

/// Every read sees an add when it has returned, and still when it is durable.
pub fn c1_an_add_is_seen_at_once<F: CompositionFixture>(fixture: &F) {
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
    assert_eq!(View::of(&store), before, "a flush changes no read");
}

/// Every read sees a removal when it has returned, pending or durable. Other shapes stay unchanged.
pub fn c1_a_removal_is_seen_at_once<F: CompositionFixture>(fixture: &F) {
    for flushes in 0..4 {
        let store = fixture.open();
        let (kept, removed) = (shape(1), NewShape { relations: relations(&[1, 2]), ..shape(2) });
        let created = add(&store, &kept).seq();
        add(&store, &removed);
        if flushes & 1 != 0 {
            fixture.flush(&store);
        }
        remove(&store, &removed.handle);
        assert_gone(&store, &removed);
        assert_new(&store, &kept, created);
        if flushes & 2 != 0 {
            fixture.flush(&store);
            assert_gone(&store, &removed);
            assert_new(&store, &kept, created);
        }
    }
}

/// A mark is visible when it has returned, also on a shape whose add is pending. The state moves one way, and
/// a mark with the current or an earlier state changes nothing.
pub fn c1_the_snapshot_state_moves_one_way<F: CompositionFixture>(fixture: &F) {
    use SnapshotState::{Complete, Pending, Started};
    for flushed in [false, true] {
        let store = fixture.open();
        let steps: [&[SnapshotState]; 4] =
            [&[Started, Complete], &[Complete, Started], &[Started, Started, Pending], &[Complete, Complete]];
        for (number, steps) in (1..).zip(steps) {
            let new = shape(number);
            add(&store, &new);
            let mut now = Pending;
            for state in steps {
                if flushed {
                    fixture.flush(&store);
                }
                let before = View::of(&store);
                mark(&store, &new.handle, *state);
                now = now.max(*state);
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
                assert_eq!(View::of(&store), expected, "a mark changes only the state");
            }
        }
        let before = View::of(&store);
        fixture.flush(&store);
        assert_eq!(View::of(&store), before);
    }
}

/// The methods for each mark set the state that they name.
pub fn c1_named_marks_set_the_state<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let new = shape(1);
    add(&store, &new);
    assert!(!read(store.is_snapshot_started(&new.handle)));
    accepted(store.mark_snapshot_started(&new.handle, WAIT));
    assert_eq!(read(store.snapshot_state(&new.handle)), Some(SnapshotState::Started));
    accepted(store.mark_snapshot_complete(&new.handle, WAIT));
    assert_eq!(read(store.snapshot_state(&new.handle)), Some(SnapshotState::Complete));
}

/// A reset removes every shape, pending or durable, and frees all handles and keys. Sequence numbers
/// continue.
pub fn c1_a_reset_removes_every_shape<F: CompositionFixture>(fixture: &F) {
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
        let reset = accepted(store.reset(WAIT)).seq();
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

/// A scan returns the shapes that were live when it started, regardless of adds, removals, marks, a reset and
/// flushes before its end.
pub fn c1_a_scan_is_a_snapshot<F: CompositionFixture>(fixture: &F) {
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
        let first = scan.next().map(|item| ShapeView::of(&read(item)));
        remove(&store, &shape(1).handle);
        remove(&store, &shape(2).handle);
        remove(&store, &shape(300).handle);
        add(&store, &shape(2));
        add(&store, &shape(301));
        mark(&store, &shape(3).handle, SnapshotState::Complete);
        if flushed {
            fixture.flush(&store);
        }
        accepted(store.reset(WAIT));
        add(&store, &shape(302));
        if flushed {
            fixture.flush(&store);
        }
        let rest = scan.map(|item| ShapeView::of(&read(item)));
        let scanned: Vec<_> = first.into_iter().chain(rest).collect();
        let handles =
            |shapes: &[ShapeView]| shapes.iter().map(|shape| shape.handle.clone()).collect::<Vec<_>>();
        assert_eq!(handles(&scanned), handles(&before));
        assert!(scanned == before, "a scan returns each shape as it was when the scan started");
        assert_eq!(View::of(&store).counts.total, 1);
    }
}

/// A mutation of one thread is visible to another thread as soon as the call has returned.
pub fn c1_other_threads_see_a_mutation_at_once<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let (changes, received) = mpsc::sync_channel::<(NewShape, Option<Seq>)>(0);
    let (ack, acked) = mpsc::sync_channel::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (changes, acked) = (changes, acked);
            // Returns whether the reader has checked the change. It has not if one of its assertions failed.
            let is_checked = |change| changes.send(change).is_ok() && acked.recv().is_ok();
            for number in 0..30 {
                let new = shape(number % 5);
                let created = add(&store, &new).seq();
                if !is_checked((new.clone(), Some(created))) {
                    return;
                }
                if number % 7 == 0 {
                    fixture.flush(&store);
                }
                remove(&store, &new.handle);
                if !is_checked((new, None)) {
                    return;
                }
            }
        });
        let ack = ack;
        for (new, created) in received {
            match created {
                Some(created) => assert_new(&store, &new, created),
                None => assert_gone(&store, &new),
            }
            if ack.send(()).is_err() {
                break;
            }
        }
    });
    assert_eq!(View::of(&store).counts, Counts::default());
}

/// `try_mutate`, `mutate`, `mutate_async`, the forms of `get_or_add` and those of each mutation have the same
/// effects. A future that is dropped before it is polled has none.
pub fn c1_try_sync_and_async_calls_are_equal<F: CompositionFixture>(fixture: &F) {
    use crate::conformance::block_on;
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
    assert_eq!((&found.handle, found.added), (&one.handle, false));
    let made = accepted(block_on(store.get_or_add_async(&three)));
    assert_eq!((made.handle, made.added), (three.handle.clone(), true));
    accepted(store.try_mutate(&Mutation::Reset));
    assert_eq!(View::of(&store).counts, Counts::default());

    accepted(block_on(store.add_async(one.clone())));
    accepted(block_on(store.mark_snapshot_started_async(&one.handle)));
    assert_eq!(View::of(&store).shapes[0].state, SnapshotState::Started);
    accepted(block_on(store.mark_snapshot_complete_async(&one.handle)));
    assert_eq!(View::of(&store).shapes[0].state, SnapshotState::Complete);
    accepted(block_on(store.add_async(two.clone())));
    accepted(block_on(store.remove_async(&two.handle)));
    drop(store.add_async(three));
    drop(store.remove_async(&one.handle));
    assert_eq!(View::of(&store).counts.total, 1);
    accepted(block_on(store.reset_async()));
    assert_eq!(View::of(&store).counts, Counts::default());
    if let Some(signal) = store.capacity_signal() {
        signal.raise();
    }
}
