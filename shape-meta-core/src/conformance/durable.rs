//! The order, and receipts: C6 as far as it can be seen without a crash.

use std::time::Duration;

use super::{
    Fixture, View,
    act::{LONG, PATIENT, accepted, add, mark, remove},
    block_on::block_on,
    sample::{handle, shape},
    view::read,
};
use crate::{MutateShapesExt, NotDurable, ReadShapes, Receipt, Seq, SnapshotState};

/// The order grows by one with each accepted mutation, and by nothing else: not by a mutation that finds
/// things so already, not by a flush, not by reads.
pub fn c6_the_order_has_no_gaps<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let mut last = Seq::ZERO;
    let mut next = |receipt: Receipt| {
        last = last.next();
        assert_eq!(receipt.seq(), last, "the place of an accepted mutation is the next one");
        assert_eq!(read(store.last_seq()), last);
    };
    next(add(&store, &shape(1)));
    next(add(&store, &shape(2)));
    fixture.flush(&store);
    next(mark(&store, &handle(1), SnapshotState::Started));
    next(mark(&store, &handle(2), SnapshotState::Complete));
    for state in [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete] {
        let nothing_new = mark(&store, &handle(2), state);
        assert!(nothing_new.seq() <= Seq::new(4), "a mark of what is so already takes no place");
        assert_eq!(read(store.last_seq()), Seq::new(4));
    }
    assert!(!accepted(store.get_or_add(&shape(1), PATIENT)).added);
    assert_eq!(read(store.last_seq()), Seq::new(4));
    next(remove(&store, &handle(1)));
    fixture.flush(&store);
    next(accepted(store.get_or_add(&shape(1), PATIENT)).receipt);
    next(accepted(store.reset(PATIENT)));
    next(accepted(store.reset(PATIENT)));
    next(add(&store, &shape(1)));
}

/// After a flush every receipt says that its mutation is durable: of adds, marks, removals, a reset, of
/// what was undone in the same window, and of what was so already.
pub fn c6_receipts_are_durable_after_a_flush<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    for _ in 0..3 {
        let mut receipts = vec![
            add(&store, &shape(1)),
            add(&store, &shape(2)),
            mark(&store, &handle(1), SnapshotState::Complete),
            mark(&store, &handle(1), SnapshotState::Started),
            accepted(store.get_or_add(&shape(2), PATIENT)).receipt,
            remove(&store, &handle(2)),
            accepted(store.get_or_add(&shape(3), PATIENT)).receipt,
        ];
        fixture.flush(&store);
        receipts.push(mark(&store, &handle(1), SnapshotState::Complete));
        for receipt in &receipts {
            assert!(receipt.is_durable(), "{receipt:?}");
            assert!(receipt.wait_durable(Duration::ZERO).is_ok());
            assert!(block_on(receipt.durable()).is_ok());
        }
        let reset = accepted(store.reset(PATIENT));
        fixture.flush(&store);
        assert!(reset.is_durable());
    }
}

/// A receipt that is waited for by threads and futures becomes durable for all of them.
pub fn c6_a_receipt_can_be_waited_for<F: Fixture>(fixture: &F) {
    let store = fixture.open();
    let receipt = add(&store, &shape(1));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|number| {
                let receipt = receipt.clone();
                scope.spawn(move || match number % 2 {
                    0 => receipt.wait_durable(LONG),
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

/// While flushing is paused mutations are accepted and seen, but not durable; the end of the pause makes
/// up for it.
pub fn c6_a_pause_holds_back_durability_alone<F: Fixture>(fixture: &F) {
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
