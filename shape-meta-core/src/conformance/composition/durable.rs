//! C6 without a crash: sequence numbers and receipts.

use std::time::Duration;

use crate::{
    MutateShapesExt, NotDurable, ReadShapes, Receipt, Seq, SnapshotState,
    conformance::{
        CompositionFixture, View,
        assertions::{TIMEOUT, WAIT, accepted, add, mark, remove},
        block_on::block_on,
        sample::{handle, shape},
        view::read,
    },
};

/// Each accepted mutation gets the next sequence number. A mutation that changes nothing, a flush or a read
/// uses none.
pub fn c6_sequence_numbers_have_no_gaps<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let mut last = Seq::ZERO;
    let mut next = |receipt: Receipt| {
        last = last.next();
        assert_eq!(receipt.seq(), last, "an accepted mutation gets the next sequence number");
        assert_eq!(read(store.last_seq()), last);
    };
    next(add(&store, &shape(1)));
    next(add(&store, &shape(2)));
    fixture.flush(&store);
    next(mark(&store, &handle(1), SnapshotState::Started));
    next(mark(&store, &handle(2), SnapshotState::Complete));
    for state in [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete] {
        let unchanged = mark(&store, &handle(2), state);
        assert!(unchanged.seq() <= Seq::new(4), "a mark that changes nothing uses no sequence number");
        assert_eq!(read(store.last_seq()), Seq::new(4));
    }
    assert!(!accepted(store.get_or_add(&shape(1), WAIT)).added);
    assert_eq!(read(store.last_seq()), Seq::new(4));
    next(remove(&store, &handle(1)));
    fixture.flush(&store);
    next(accepted(store.get_or_add(&shape(1), WAIT)).receipt);
    next(accepted(store.reset(WAIT)));
    next(accepted(store.reset(WAIT)));
    next(add(&store, &shape(1)));
}

/// After a flush every receipt is durable: those of adds, marks, removals and a reset, of mutations that were
/// undone in the same window, and of mutations that changed nothing.
pub fn c6_receipts_are_durable_after_a_flush<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    for _ in 0..3 {
        let mut receipts = vec![
            add(&store, &shape(1)),
            add(&store, &shape(2)),
            mark(&store, &handle(1), SnapshotState::Complete),
            mark(&store, &handle(1), SnapshotState::Started),
            accepted(store.get_or_add(&shape(2), WAIT)).receipt,
            remove(&store, &handle(2)),
            accepted(store.get_or_add(&shape(3), WAIT)).receipt,
        ];
        fixture.flush(&store);
        receipts.push(mark(&store, &handle(1), SnapshotState::Complete));
        for receipt in &receipts {
            assert!(receipt.is_durable(), "{receipt:?}");
            assert!(receipt.wait_durable(Duration::ZERO).is_ok());
            assert!(block_on(receipt.durable()).is_ok());
        }
        let reset = accepted(store.reset(WAIT));
        fixture.flush(&store);
        assert!(reset.is_durable());
    }
}

/// Threads and futures that wait for the same receipt all see it become durable.
pub fn c6_threads_and_futures_wait_for_a_receipt<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let receipt = add(&store, &shape(1));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|number| {
                let receipt = receipt.clone();
                scope.spawn(move || match number % 2 {
                    0 => receipt.wait_durable(TIMEOUT),
                    _ => block_on(receipt.durable()),
                })
            })
            .collect();
        fixture.flush(&store);
        for waiter in waiting {
            let outcome = waiter.join().expect("no thread panics");
            assert!(outcome.is_ok(), "{outcome:?}");
        }
    });
}

/// While flushing is paused, mutations are accepted and visible, but not durable. After the pause, a flush
/// makes them durable.
pub fn c6_a_pause_delays_only_durability<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    add(&store, &shape(1));
    add(&store, &shape(2));
    fixture.flush(&store);
    if !fixture.pause(&store) {
        return;
    }
    let receipts = [
        add(&store, &shape(3)),
        remove(&store, &handle(1)),
        mark(&store, &handle(2), SnapshotState::Complete),
        remove(&store, &handle(3)),
        add(&store, &shape(1)),
    ];
    let view = View::of(&store);
    let live: Vec<_> = view.shapes.iter().map(|shape| shape.handle.clone()).collect();
    assert_eq!(live, [2, 1].map(handle));
    for receipt in &receipts {
        assert!(!receipt.is_durable());
        let outcome = receipt.wait_durable(Duration::from_millis(1));
        assert!(matches!(outcome, Err(NotDurable::TimedOut)), "{outcome:?}");
    }
    fixture.resume(&store);
    fixture.flush(&store);
    for receipt in &receipts {
        assert!(receipt.is_durable());
    }
    assert_eq!(View::of(&store), view);
}
