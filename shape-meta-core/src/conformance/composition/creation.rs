//! C1: the time of creation.

use crate::{
    NewShape, ReadShapes, SnapshotState, Timestamp,
    conformance::{
        CompositionFixture, View,
        assertions::{add, mark},
        sample::{handle, shape},
        view::read,
    },
};

/// A shape has the time at which it was accepted, or that of its creation in another database, which is never
/// later than now. It stays through flushes, marks, touches and a restart.
pub fn c1_the_time_of_creation_stays<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let begun = Timestamp::now();
    add(&store, &NewShape { created_at: None, ..shape(1) });
    let accepted = Timestamp::now();
    add(&store, &NewShape { created_at: Some(Timestamp::from_micros(7)), ..shape(2) });
    add(&store, &NewShape { created_at: Some(Timestamp::from_micros(u64::MAX)), ..shape(3) });
    let created_at = |store: &F::Store| {
        [1, 2, 3].map(|number| {
            let metadata = read(store.metadata(&handle(number))).expect("the shape is live");
            let entry = read(store.entry(&handle(number))).expect("the shape is live");
            assert_eq!(entry.created_at(), metadata.created_at);
            let record = read(store.record(&handle(number))).expect("the shape is live");
            assert_eq!(record.entry.created_at(), metadata.created_at);
            metadata.created_at.expect("it is known")
        })
    };
    let times = created_at(&store);
    assert!((begun..=accepted).contains(&times[0]), "{times:?}");
    assert_eq!(times[1], Timestamp::from_micros(7));
    assert!((accepted..=Timestamp::now()).contains(&times[2]), "a time in the future counts as now");
    for number in [1, 2, 3] {
        mark(&store, &handle(number), SnapshotState::Complete);
        assert!(read(store.touch(&handle(number), Timestamp::now())));
        fixture.flush(&store);
        assert_eq!(created_at(&store), times);
    }
    let view: Vec<_> = View::of(&store).shapes.iter().map(|shape| shape.created_at).collect();
    assert_eq!(view, times.map(Some));
    if let Ok(store) = fixture.reopen(store, Timestamp::now()) {
        assert_eq!(created_at(&store), times);
    }
}
