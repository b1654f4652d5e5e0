//! A scan of the disk shows last-read times, which only the mirror has.

use std::thread;

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    MemoryStore, ReadShapes, ShapeStore, Timestamp,
    conformance::{
        FailingStore, Side, handle,
        store::{added, removed},
    },
};

use crate::support::{batch, cached, record};

/// Blocks a scan on this side of its disk read, calls `act`, and returns the last-read times that the scan
/// shows.
fn scan_around(
    cached: &Cached<FailingStore<MemoryStore>>,
    side: Side,
    act: impl FnOnce(),
) -> Vec<Option<Timestamp>> {
    let gate = cached.inner().faults().block_read(side);
    thread::scope(|scope| {
        let scan = scope.spawn(|| {
            cached.scan().unwrap().map(|item| item.unwrap().metadata.last_read).collect::<Vec<_>>()
        });
        gate.wait_until_blocked();
        act();
        gate.release();
        scan.join().unwrap()
    })
}

#[test]
fn c1_a_scan_shows_reads_that_precede_a_change_it_shows() {
    let cached = cached(FailingStore::new(MemoryStore::new()), CacheOptions::default());
    cached.apply(&batch(1, [added(&record(1, 1))])).unwrap();
    let late = Timestamp::from_micros(9);
    let shown = scan_around(&cached, Side::Before, || {
        assert!(cached.touch(&handle(1), late).unwrap());
        cached.apply(&batch(2, [added(&record(2, 2))])).unwrap();
    });
    assert_eq!(shown, [Some(late), None]);
}

#[test]
fn c1_a_scan_keeps_the_reads_of_a_shape_removed_meanwhile() {
    let cached = cached(FailingStore::new(MemoryStore::new()), CacheOptions::default());
    let old = record(1, 1);
    let early = Timestamp::from_micros(5);
    cached.apply(&batch(1, [added(&old), added(&record(2, 2))])).unwrap();
    assert!(cached.touch(&handle(1), early).unwrap());
    let shown = scan_around(&cached, Side::After, || {
        cached.apply(&batch(3, [removed(&old)])).unwrap();
    });
    assert_eq!(shown, [Some(early), None]);
}
