//! A clock that is set back: times of last reads never decrease, and nothing else depends on the clock.

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
fn c9_a_clock_set_back_decreases_no_last_read() {
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
        // The clock is correct from here on.
        assert!(store.touch_now(&handle(2)).expect("reads"));
        assert_eq!(last_read(&store, 2), late, "{composition:?}");
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);

        let store = composition.open(directory.path());
        assert_eq!([last_read(&store, 2), last_read(&store, 1)], [late, later], "{composition:?}");
        assert!(last_read(&store, 3) < late, "it was first seen after the clock was corrected");
        let oldest: Vec<_> = store.lru(3).expect("reads").shapes.into_iter().map(|(one, _)| one).collect();
        assert_eq!(oldest, [3, 2, 1].map(handle), "{composition:?}");
        // New shapes are accepted, written and found as before.
        store.add(shape(4), WAIT).expect("it is new");
        store.flush(TIMEOUT).expect("nothing fails");
        assert!(store.has_handle(&handle(4)).expect("reads"));
    }
}
