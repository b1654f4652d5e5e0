//! A clock that is set back: a time that is later than now counts as now, and nothing else depends on the
//! clock.

use shape_meta::{MutateShapesExt, ReadShapes, ReadShapesExt, ShapeMeta, StoreControl, Timestamp};
use shape_meta_core::conformance::{handle, shape};

use shape_meta_harness::compositions::{ALL, TIMEOUT, WAIT, directory};

/// A time one day ahead, from before the clock was corrected.
fn tomorrow() -> Timestamp {
    Timestamp::from_micros(Timestamp::now().as_micros() + 86_400_000_000)
}

fn last_read(store: &ShapeMeta, number: u64) -> Timestamp {
    let metadata = store.metadata(&handle(number)).expect("reads").expect("it is live");
    metadata.last_read.expect("it was read")
}

#[test]
fn c9_after_a_clock_was_set_back_the_future_counts_as_now() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        for number in 1..=3 {
            store.add(shape(number), WAIT).expect("it is new");
            store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
        }
        let (late, later) = (tomorrow(), Timestamp::from_micros(tomorrow().as_micros() + 1));
        store.touch(&handle(2), late).expect("reads");
        store.touch(&handle(1), later).expect("reads");
        assert_eq!([last_read(&store, 2), last_read(&store, 1)], [late, later], "{composition:?}");
        // The clock is correct from here on.
        let corrected = Timestamp::now();
        assert!(store.touch_now(&handle(2)).expect("reads"));
        let read = last_read(&store, 2);
        assert!(corrected <= read && read <= Timestamp::now(), "{composition:?}: {read:?}");
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);

        let store = composition.open(directory.path());
        let opened = Timestamp::now();
        assert_eq!(last_read(&store, 2), read, "{composition:?}");
        assert!((read..=opened).contains(&last_read(&store, 1)), "{composition:?}: it counts as now");
        assert!((read..=opened).contains(&last_read(&store, 3)), "it was first seen by this open");
        assert!(store.touch_now(&handle(3)).expect("reads"));
        let oldest: Vec<_> = store.lru(3).expect("reads").shapes.into_iter().map(|(one, _)| one).collect();
        assert_eq!(oldest, [2, 1, 3].map(handle), "{composition:?}");
        // New shapes are accepted, written and found as before.
        store.add(shape(4), WAIT).expect("it is new");
        store.flush(TIMEOUT).expect("nothing fails");
        assert!(store.has_handle(&handle(4)).expect("reads"));
    }
}
