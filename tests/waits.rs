//! C14: waits for shapes of a standby, across its refreshes and its promotion.

use std::{thread, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, Milestone, NoopCleaner, NotReached, OnLiveOwner, ShapeMeta, SnapshotState,
    prelude::*,
};
use shape_meta_core::conformance::{handle, shape};

const TIMEOUT: Duration = Duration::from_secs(60);

fn builder(is_cached: bool) -> shape_meta::Builder {
    let builder = ShapeMeta::builder(NoopCleaner).buffered(BufferOptions::default());
    if is_cached { builder.cached(CacheOptions::default()) } else { builder }
}

fn wait_until_waiting(store: &impl AwaitShapes, waits: usize) {
    while store.shape_waits().len() < waits {
        thread::yield_now();
    }
}

#[test]
fn c14_a_refresh_ends_the_waits_of_a_standby() {
    let directory = tempfile::tempdir().expect("a directory");
    let owner = builder(true).open(directory.path()).expect("opens");
    for number in 0..3 {
        owner.add(shape(number), Wait::No).expect("below the bound");
    }
    owner.flush(TIMEOUT).expect("flushes");
    let standby = builder(true).open_standby(directory.path()).expect("opens");
    standby
        .wait_for_timeout(&handle(0), Milestone::Durable, Duration::ZERO)
        .expect("it shows what is durable");
    thread::scope(|scope| {
        let goals =
            [Milestone::from(SnapshotState::Started), SnapshotState::Complete.into(), Milestone::Removed];
        let waits: Vec<_> = (0..)
            .zip(goals)
            .map(|(number, goal)| {
                let standby = &standby;
                scope.spawn(move || standby.wait_for_timeout(&handle(number), goal, TIMEOUT))
            })
            .collect();
        wait_until_waiting(&standby, waits.len());
        owner.mark_snapshot_started(&handle(0), Wait::No).expect("it is live");
        owner.remove(&handle(1), Wait::No).expect("it is live");
        owner.remove(&handle(2), Wait::No).expect("it is live");
        owner.flush(TIMEOUT).expect("flushes");
        standby.refresh().expect("refreshes");
        let mut outcomes = waits.into_iter().map(|wait| wait.join().expect("no panic"));
        assert!(matches!(outcomes.next(), Some(Ok(()))));
        assert!(matches!(outcomes.next(), Some(Err(NotReached::Removed))));
        assert!(matches!(outcomes.next(), Some(Ok(()))));
    });
    assert!(standby.shape_waits().is_empty());
}

/// A promotion removes the shapes without a complete snapshot. The waits for the others go on with the
/// promoted store.
#[test]
fn c14_waits_of_a_standby_go_on_after_the_promotion() {
    for is_cached in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let owner = builder(is_cached).open(directory.path()).expect("opens");
        for number in 0..2 {
            owner.add(shape(number), Wait::No).expect("below the bound");
        }
        owner.mark_snapshot_complete(&handle(0), Wait::No).expect("it is live");
        owner.flush(TIMEOUT).expect("flushes");
        let standby = builder(is_cached).open_standby(directory.path()).expect("opens");
        thread::scope(|scope| {
            let waits =
                [(0, Milestone::Removed), (1, SnapshotState::Started.into())].map(|(number, goal)| {
                    let standby = &standby;
                    scope.spawn(move || standby.wait_for_timeout(&handle(number), goal, TIMEOUT))
                });
            wait_until_waiting(&standby, waits.len());
            assert!(owner.close(TIMEOUT).is_complete());
            let store = standby.promote(OnLiveOwner::Wait(TIMEOUT)).expect("the owner has closed it");
            store.remove(&handle(0), Wait::No).expect("it is live");
            let [removed, started] = waits.map(|wait| wait.join().expect("no panic"));
            assert!(removed.is_ok(), "{removed:?}");
            assert!(matches!(started, Err(NotReached::Removed)), "{started:?}");
        });
        assert!(standby.shape_waits().is_empty());
    }
}
