//! What is asked for, and what is then told.

use std::time::Duration;

use shape_meta_buffer::{BufferOptions, FlusherOptions, Flushers};
use shape_meta_core::{ControlWrites, Counts, Limits, MutateShapesExt, Wait};

use crate::support::{add, manual};

/// Sets an option.
type Setter = Box<dyn Fn(BufferOptions) -> BufferOptions>;

#[test]
fn each_option_leaves_the_others_as_they_are() {
    let flushers = Flushers::new(FlusherOptions::default());
    let ms = Duration::from_millis;
    let setters: Vec<(Setter, &str)> = vec![
        (Box::new(|options| options.max_changes(11)), "max_changes: 11"),
        (Box::new(|options| options.max_bytes(12)), "max_bytes: 12"),
        (Box::new(|options| options.flush_changes(13)), "flush_changes: 13"),
        (Box::new(|options| options.flush_bytes(14)), "flush_bytes: 14"),
        (Box::new(move |options| options.flush_age(ms(15))), "flush_age: 15ms"),
        (Box::new(move |options| options.behind_after(ms(16))), "behind_after: 16ms"),
        (Box::new(|options| options.publish_beside(22)), "publish_beside: 22"),
        (Box::new(move |options| options.backoff(ms(17), ms(18))), "backoff: (17ms, 18ms)"),
        (Box::new(move |options| options.save_reads_every(ms(19))), "save_reads_every: 19ms"),
        (Box::new(move |options| options.drop_timeout(ms(20))), "drop_timeout: 20ms"),
        (Box::new(|options| options.manual(true)), "manual: true"),
        (Box::new(move |options| options.flushers(&flushers)), "flushers: Some(Flushers("),
        (Box::new(|options| options.limits(Limits::default().max_relations(21))), "relations: 21"),
    ];
    let set = |options, (setter, _): &(Setter, _)| setter(options);
    let forth = setters.iter().fold(BufferOptions::default(), set);
    let back = setters.iter().rev().fold(BufferOptions::default(), set);
    for options in [forth, back] {
        let shown = format!("{options:?}");
        for (_, expected) in &setters {
            assert!(shown.contains(expected), "{expected} is missing in {shown}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_the_nearest_that_does() {
    let options = BufferOptions::default().max_changes(0).max_bytes(0).flush_changes(0).flush_bytes(0);
    let options = options.publish_beside(0).backoff(Duration::from_secs(3), Duration::from_secs(2));
    let shown = format!("{options:?}");
    for expected in [
        "max_changes: 1,",
        "max_bytes: 1,",
        "flush_changes: 1,",
        "flush_bytes: 1,",
        "publish_beside: 1,",
        "backoff: (3s, 3s)",
    ] {
        assert!(shown.contains(expected), "{expected} is missing in {shown}");
    }
}

#[test]
fn pausing_is_told_until_it_ends() {
    let (store, _) = manual();
    assert!(!store.is_paused());
    store.pause();
    assert!(store.is_paused());
    store.resume();
    assert!(!store.is_paused());
}

#[test]
fn usage_counts_what_is_pending() {
    let (store, _) = manual();
    add(&store, "a", 1);
    store.flush_once().expect("flush");
    add(&store, "b", 2);
    assert_eq!(store.usage().shapes, Some(Counts { total: 2, indexed: 1 }));
}

#[test]
fn each_option_of_flushers_leaves_the_others_as_they_are() {
    let second = Duration::from_secs(1);
    let forth = FlusherOptions::default().threads(3).most_threads(33).slow_after(second);
    let back = FlusherOptions::default().slow_after(second).most_threads(33).threads(3);
    for options in [forth, back] {
        let shown = format!("{options:?}");
        assert_eq!(shown, "FlusherOptions { threads: 3, most_threads: 33, slow_after: 1s }");
    }
    let shown = format!("{:?}", FlusherOptions::default().threads(0).slow_after(Duration::MAX));
    assert_eq!(shown, "FlusherOptions { threads: 1, most_threads: 32, slow_after: 86400s }");
}

#[test]
fn a_flush_says_what_it_took_away() {
    let (store, _) = manual();
    add(&store, "a", 1);
    add(&store, "b", 2);
    store.remove("b", Wait::No).expect("live");
    let pending = store.pending();
    let flushed = store.flush_once().expect("flush").expect("something is pending");
    assert_eq!((flushed.mutations, flushed.changes, flushed.coalesced()), (3, 1, 2));
    assert_eq!(flushed.bytes, pending.bytes);
    assert!(flushed.took > Duration::ZERO && flushed.oldest >= flushed.took);
    store.reset(Wait::No).expect("room");
    let flushed = store.flush_once().expect("flush").expect("something is pending");
    assert_eq!((flushed.mutations, flushed.changes), (1, 1));
}
