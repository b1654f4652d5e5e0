//! C11 with two processes, as in a rolling deploy. The new process is a standby of the old one under load,
//! and then takes over, after the old one has closed or by fencing it. Both processes are this test binary.

mod new;
mod old;
mod process;
mod protocol;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use shape_meta::ReadShapes;

use self::process::{ChildLog, Process};
use shape_meta_harness::compositions::{PRODUCT, directory};

/// The number of shapes that a process adds between two events.
const ADDS: usize = 300;

/// Returns the numbers of the shapes in the database, and the number of epochs before this opening.
fn remaining(directory: &Path) -> (BTreeSet<u64>, u64) {
    let store = PRODUCT.open(directory);
    let epochs = store.open_report().expect("it has a database").database.epoch() - 1;
    let scan = store.scan().expect("it scans").map(|listed| listed.expect("it reads"));
    (scan.map(|listed| protocol::number_of(listed.record.handle())).collect(), epochs)
}

/// Starts the old process, and the new one as its standby.
fn start_both(directory: &Path) -> (Process, Process) {
    let mut old = Process::start(old::NAME, directory);
    old.wait_for_adds(ADDS);
    let mut new = Process::start(new::NAME, directory);
    new.wait_for("open");
    old.wait_for_adds(ADDS);
    new.wait_for_refreshes(2);
    (old, new)
}

fn assert_no_complaints(old: &ChildLog, new: &ChildLog) {
    for (name, log) in [("old", old), ("new", new)] {
        assert!(log.complaints.is_empty(), "C1, C11: the {name} process: {:?}", log.complaints);
        assert!(log.reads > 0, "the {name} process has read");
    }
    assert!(new.refreshes > 1, "the standby was refreshed");
}

#[test]
fn c11_a_rolling_deploy_loses_no_shape_and_fails_no_read() {
    let directory = directory();
    let (mut old, mut new) = start_both(directory.path());
    // The new process waits until the old one has written everything and exited.
    new.send("promote wait");
    old.wait_for_adds(ADDS);
    old.send("end");
    old.wait_for("closed 0");
    let old = old.end();
    new.wait_for("promoted 2");
    new.wait_for_adds(ADDS);
    new.send("end");
    new.wait_for("closed 0");
    let new = new.end();

    assert_no_complaints(&old, &new);
    let added: BTreeSet<_> = old.added.keys().chain(new.added.keys()).copied().collect();
    let (left, epochs) = remaining(directory.path());
    assert_eq!(left, added, "C6: exactly the acknowledged shapes are there");
    assert_eq!(epochs, 2, "C11: one epoch for each process");
}

#[test]
fn c11_a_fenced_owner_writes_nothing_and_reports_what_is_lost() {
    let directory = directory();
    let (mut old, mut new) = start_both(directory.path());
    new.send("promote take");
    new.wait_for("promoted 3");
    new.wait_for_adds(ADDS);
    // The old process notices at its next flush, and keeps serving reads.
    old.wait_for("fenced");
    let reads = old.log().reads;
    old.wait_for_reads(reads + ADDS);
    old.send("end");
    old.wait_for("closed");
    let old = old.end();
    new.wait_for_adds(ADDS);
    new.send("end");
    new.wait_for("closed 0");
    let new = new.end();

    assert_no_complaints(&old, &new);
    let (left, _) = remaining(directory.path());
    assert!(
        new.added.keys().all(|number| left.contains(number)),
        "C6: every shape of the new process is there"
    );
    // The old process's shapes by the sequence numbers at which they became complete.
    let by_seq: BTreeMap<_, _> = old.added.iter().map(|(number, seq)| (*seq, *number)).collect();
    let exists = |number: &u64| left.contains(number);
    let last = by_seq.iter().filter(|(_, number)| exists(number)).map(|(seq, _)| *seq).max();
    let last = last.expect("some are there");
    assert!(
        last >= old.durable,
        "C6: sequence number {} was durable, but {last} is the last one",
        old.durable
    );
    for (seq, number) in &by_seq {
        assert_eq!(
            exists(number),
            *seq <= last,
            "C6: not a prefix up to {last}: shape {number} at sequence number {seq}"
        );
    }
    let known: BTreeSet<_> = old.added.keys().chain(new.added.keys()).copied().collect();
    // The shapes that the old process was completing may be there without a report.
    assert!(left.difference(&known).count() <= old::WRITERS as usize, "C11: no other shapes");
    let lost = by_seq.values().filter(|number| !exists(number)).count();
    assert!(
        old.unwritten >= lost as u64,
        "C11: {lost} shapes are lost, but {} were reported as unwritten",
        old.unwritten
    );
}
