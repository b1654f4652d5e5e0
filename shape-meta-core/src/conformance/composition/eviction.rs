//! C1, C3: an evictor over the composition.

use std::time::Duration;

use crate::{
    Eviction, Evictor, EvictorOptions, MutateShapes, ReadShapes, Timestamp,
    conformance::{
        CompositionFixture, View,
        assertions::add,
        sample::{handle, shape},
        view::read,
    },
};

/// An evictor removes the least recently read shapes down to the low water, and those that were not read for
/// too long. It never removes a pinned shape, one that was read lately, or one that was never read.
pub fn c3_an_evictor_keeps_what_is_used<F: CompositionFixture>(fixture: &F) {
    let store = fixture.open();
    let now = Timestamp::now();
    let ago = |seconds: u64| Timestamp::from_micros(now.as_micros() - seconds * 1_000_000);
    for number in 0..20 {
        add(&store, &shape(number));
        // The last five are never read.
        if number < 15 {
            assert!(read(store.touch(&handle(number), ago(100 - number))));
        }
        if number % 7 == 3 {
            fixture.flush(&store);
        }
    }
    let left = || -> Vec<_> { View::of(&store).shapes.into_iter().map(|shape| shape.handle).collect() };
    let numbers = |kept: &[u64]| kept.iter().map(|number| handle(*number)).collect::<Vec<_>>();

    let evictor = Evictor::new(
        EvictorOptions::default().max_shapes(16).low_water(14).pinned_if(|pinned| *pinned == handle(2)),
    );
    evictor.pin(handle(0));
    let eviction = evict(&evictor, &store, now);
    assert_eq!(eviction.removed, numbers(&[1, 3, 4, 5, 6, 7]));
    assert_eq!((eviction.stats.total, eviction.stats.over_limit, eviction.more), (14, 0, false));
    assert_eq!(eviction.stats.newest_unread, Some(Duration::from_secs(93)));
    assert_eq!(left(), numbers(&[0, 2, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]));

    // Between the two limits nothing is done.
    add(&store, &shape(30));
    assert!(evictor.step_at(&store, now).removed.is_empty());
    fixture.flush(&store);

    // Those that were read lately stay, although there are too many.
    let options = EvictorOptions::default().max_shapes(1).min_unread(Duration::from_secs(90));
    let eviction = evict(&Evictor::new(options), &store, now);
    assert_eq!(eviction.removed, numbers(&[0, 2, 8, 9, 10]));
    assert_eq!((eviction.stats.over_limit, eviction.more), (9, false));

    let options = EvictorOptions::default().max_unread(Duration::from_secs(87));
    let eviction = evict(&Evictor::new(options), &store, now);
    assert_eq!(eviction.removed, numbers(&[11, 12]));
    assert_eq!(left(), numbers(&[13, 14, 15, 16, 17, 18, 19, 30]));
}

/// Steps until nothing more is due: a step ends early where each removal waits for a disk.
fn evict<S: MutateShapes>(evictor: &Evictor, store: &S, now: Timestamp) -> Eviction {
    let mut removed = Vec::new();
    for _ in 0..100 {
        let mut eviction = evictor.step_at(store, now);
        assert!(eviction.error.is_none(), "{eviction:?}");
        removed.append(&mut eviction.removed);
        if !eviction.more {
            return Eviction { removed, ..eviction };
        }
    }
    panic!("an eviction of a few shapes ends after {} of them", removed.len());
}
