//! C11 with two processes, as in a rolling deploy: the new one reads beside the old one, under load, and takes over from
//! it, with and without its consent. Both are this same test binary, told what to do.

mod new;
mod old;
mod process;
mod talk;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use shape_meta::ReadShapes;

use self::process::{Heard, Process};
use shape_meta_harness::compositions::{PRODUCT, directory};

/// So many shapes are added before the next thing happens.
const SOME: usize = 300;

/// What the database holds in the end, by the numbers of the shapes, and how many turns there were before.
fn left(directory: &Path) -> (BTreeSet<u64>, u64) {
    let store = PRODUCT.open(directory);
    let turns = store.open_report().expect("it has a database").database.epoch - 1;
    let scan = store.scan().expect("it scans").map(|listed| listed.expect("it reads"));
    (scan.map(|listed| talk::number_of(listed.record.handle())).collect(), turns)
}

/// The old one at work, and the new one beside it.
fn side_by_side(directory: &Path) -> (Process, Process) {
    let mut old = Process::start(old::NAME, directory);
    old.hear_adds(SOME);
    let mut new = Process::start(new::NAME, directory);
    new.hear("open");
    old.hear_adds(SOME);
    (old, new)
}

fn is_well(old: &Heard, new: &Heard) {
    for (name, heard) in [("old", old), ("new", new)] {
        assert!(heard.complaints.is_empty(), "C1, C11: the {name} one: {:?}", heard.complaints);
        assert!(heard.reads > 0, "the {name} one has read");
    }
    assert!(new.refreshes > 1, "it was refreshed");
}

#[test]
fn c11_a_rolling_deploy_loses_no_shape_and_fails_no_read() {
    let directory = directory();
    let (mut old, mut new) = side_by_side(directory.path());
    // The new one waits until the old one has written everything and is gone.
    new.tell("promote wait");
    old.hear_adds(SOME);
    old.tell("end");
    old.hear("closed 0");
    let old = old.end();
    new.hear("promoted 2");
    new.hear_adds(SOME);
    new.tell("end");
    new.hear("closed 0");
    let new = new.end();

    is_well(&old, &new);
    let added: BTreeSet<_> = old.added.keys().chain(new.added.keys()).copied().collect();
    let (left, turns) = left(directory.path());
    assert_eq!(left, added, "C6: what was acknowledged is there, and nothing else");
    assert_eq!(turns, 2, "C11: one for each");
}

#[test]
fn c11_one_that_is_taken_over_writes_nothing_more_and_tells_what_it_had() {
    let directory = directory();
    let (mut old, mut new) = side_by_side(directory.path());
    new.tell("promote take");
    new.hear("promoted 3");
    new.hear_adds(SOME);
    // It has noticed by its next flush, and goes on with reading.
    old.hear("fenced");
    let reads = old.heard().reads;
    old.hear_reads(reads + SOME);
    old.tell("end");
    old.hear("closed");
    let old = old.end();
    new.hear_adds(SOME);
    new.tell("end");
    new.hear("closed 0");
    let new = new.end();

    is_well(&old, &new);
    let (left, _) = left(directory.path());
    assert!(new.added.keys().all(|number| left.contains(number)), "C6: the new one's are all there");
    // By the places in the order at which the old one's became complete.
    let places: BTreeMap<_, _> = old.added.iter().map(|(number, place)| (*place, *number)).collect();
    let is_there = |number: &u64| left.contains(number);
    let last = places.iter().filter(|(_, number)| is_there(number)).map(|(place, _)| *place).max();
    let last = last.expect("some are there");
    assert!(last >= old.durable, "C6: {} was durable, and {last} is the last that is there", old.durable);
    for (place, number) in &places {
        assert_eq!(
            is_there(number),
            *place <= last,
            "C6: a prefix: {number} at {place}, which ends at {last}"
        );
    }
    let known: BTreeSet<_> = old.added.keys().chain(new.added.keys()).copied().collect();
    // What the old one was just completing may be there, though it had not told yet.
    assert!(left.difference(&known).count() <= old::WRITERS as usize, "C11: no other shapes");
    let lost = places.values().filter(|number| !is_there(number)).count();
    assert!(old.unwritten >= lost as u64, "C11: {lost} are lost, and it told of {}", old.unwritten);
}
