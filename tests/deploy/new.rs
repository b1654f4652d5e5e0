//! The process that reads beside the owner, and then takes its place.

use std::{
    env,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use shape_meta::{OnLiveOwner, ReadShapes, ReadShapesExt, SnapshotState, Standby, StoreControl};

use super::{
    process::DIRECTORY,
    talk::{TrustedState, number_of, read, say, told, write},
};
use shape_meta_harness::compositions::{PATIENT, PRODUCT};

pub(super) const NAME: &str = "deploy::new::takes_over";
/// Its shapes have numbers from here on.
const FIRST: u64 = 1_000_000_000;

#[test]
#[ignore = "a child of the tests of deploys; by itself it does nothing"]
fn takes_over() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let standby = PRODUCT.builder().open_standby(Path::new(&directory)).expect("there is a database");
    say("\nopen");
    let (known, written, ends) = (TrustedState::default(), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| read(&standby, &known, &ends));
        }
        let (promoted, until) = channel::<()>();
        let (reading, seen) = (&standby, &known);
        scope.spawn(move || refresh(reading, seen, || until.recv_timeout(Duration::from_millis(3))));

        let on_live_owner = match &*told() {
            "promote wait" => OnLiveOwner::Wait(PATIENT),
            "promote take" => OnLiveOwner::Fence,
            other => panic!("{other}"),
        };
        let store = standby.promote(on_live_owner).expect("it can be promoted");
        drop(promoted);
        let report = store.open_report().expect("it has a database");
        say(&format!("promoted {}", report.database.epoch));
        let writer = scope.spawn({
            let (store, known, written) = (store.clone(), &known, &written);
            move || write(&store, FIRST.., known, written)
        });
        assert_eq!(told(), "end");
        written.store(true, Ordering::Relaxed);
        writer.join().expect("no panic");
        let report = store.close(PATIENT);
        ends.store(true, Ordering::Relaxed);
        say(&format!("closed {}", report.unwritten));
    });
}

/// All that is complete is known from now on, and must be there ever after.
fn refresh(standby: &Standby, known: &TrustedState, mut pause: impl FnMut() -> Result<(), RecvTimeoutError>) {
    let mut seen = std::collections::HashSet::new();
    while pause() == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = standby.refresh() {
            say(&format!("complaint: {error:?}"));
        }
        say("refreshed");
        let listed = standby.scan().expect("it scans").map(|listed| listed.expect("it reads"));
        // What is on disk and not in memory yet comes with the next time.
        let complete = listed.map(|listed| listed.record.handle().clone()).filter(|handle| {
            standby.snapshot_state(handle).expect("it reads") == Some(SnapshotState::Complete)
        });
        let new: Vec<_> = complete.map(|handle| number_of(&handle)).filter(|one| seen.insert(*one)).collect();
        known.add(new);
    }
}
