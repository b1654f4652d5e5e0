//! The new process: a standby that is promoted.

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
    protocol::{KnownShapes, number_of, read, receive, report, write},
};
use shape_meta_harness::compositions::{PRODUCT, TIMEOUT};

pub(super) const NAME: &str = "deploy::new::takes_over";
/// The first number of its shapes.
const FIRST: u64 = 1_000_000_000;

#[test]
#[ignore = "a child process of the deploy tests; it does nothing on its own"]
fn takes_over() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let standby = PRODUCT.builder().open_standby(Path::new(&directory)).expect("there is a database");
    report("\nopen");
    let (known, written, ends) = (KnownShapes::default(), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| read(&standby, &known, &ends));
        }
        let (promoted, until) = channel::<()>();
        let (reading, seen) = (&standby, &known);
        scope.spawn(move || refresh(reading, seen, || until.recv_timeout(Duration::from_millis(3))));

        let on_live_owner = match &*receive() {
            "promote wait" => OnLiveOwner::Wait(TIMEOUT),
            "promote take" => OnLiveOwner::Fence,
            other => panic!("{other}"),
        };
        let store = standby.promote(on_live_owner).expect("it can be promoted");
        drop(promoted);
        let opened = store.open_report().expect("it has a database");
        report(&format!("promoted {}", opened.database.epoch()));
        let writer = scope.spawn({
            let (store, known, written) = (store.clone(), &known, &written);
            move || write(&store, FIRST.., known, written)
        });
        assert_eq!(receive(), "end");
        written.store(true, Ordering::Relaxed);
        writer.join().expect("no panic");
        let closed = store.close(TIMEOUT);
        ends.store(true, Ordering::Relaxed);
        report(&format!("closed {}", closed.unwritten));
    });
}

/// Refreshes the standby. Every complete shape is known from then on, and must stay.
fn refresh(standby: &Standby, known: &KnownShapes, mut pause: impl FnMut() -> Result<(), RecvTimeoutError>) {
    let mut seen = std::collections::HashSet::new();
    while pause() == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = standby.refresh() {
            report(&format!("complaint: {error:?}"));
        }
        report("refreshed");
        let listed = standby.scan().expect("it scans").map(|listed| listed.expect("it reads"));
        // A shape that is on disk but not in memory yet is added after the next refresh.
        let complete = listed.map(|listed| listed.record.handle().clone()).filter(|handle| {
            standby.snapshot_state(handle).expect("it reads") == Some(SnapshotState::Complete)
        });
        let new: Vec<_> = complete.map(|handle| number_of(&handle)).filter(|one| seen.insert(*one)).collect();
        known.add_durable(new);
    }
}
