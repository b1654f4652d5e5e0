//! Last-read times are recorded in memory and saved in parts.

use std::sync::atomic::Ordering::SeqCst;

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    ReadShapes, Seq, ShapeStore, ShapeStoreExt, SweepProgress, Timestamp,
    conformance::{handle, store::added},
};

use crate::{
    scripted::Scripted,
    support::{batch, cached, record},
};

/// The maximum number of times that one sweep saves.
const MAX_SWEEP: u64 = 10_000;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn with(shapes: u64) -> Cached<Scripted> {
    let below = Scripted::default();
    let records: Vec<_> = (1..=shapes).map(|number| record(number, number)).collect();
    below.apply(&batch(shapes, records.iter().map(added))).unwrap();
    cached(below, CacheOptions::default())
}

fn touch(cached: &Cached<Scripted>, numbers: impl IntoIterator<Item = u64>, micros: u64) {
    for number in numbers {
        assert!(cached.touch(&handle(number), at(micros)).unwrap());
    }
}

fn assert_sweep(cached: &Cached<Scripted>, shapes: u64, more: bool) {
    assert_eq!(cached.sweep_reads().unwrap(), SweepProgress { shapes: shapes as usize, more });
}

/// Returns the sequence numbers of the shapes whose reads were saved since the previous call.
fn saved(cached: &Cached<Scripted>) -> Vec<Vec<u64>> {
    let saved = std::mem::take(&mut *cached.inner().saved.lock().unwrap());
    saved.iter().map(|part| part.iter().map(|(created, _)| created.get()).collect()).collect()
}

#[test]
fn each_read_is_saved_once() {
    let cached = with(5);
    assert_sweep(&cached, 0, false);
    assert!(saved(&cached).is_empty(), "nothing to save costs the disk nothing");
    touch(&cached, [4, 2], 7);
    assert_sweep(&cached, 2, false);
    assert_eq!(*cached.inner().saved.lock().unwrap(), [[(Seq::new(2), at(7)), (Seq::new(4), at(7))]]);
    assert_sweep(&cached, 0, false);
    touch(&cached, [2], 9);
    assert_sweep(&cached, 1, false);
    assert_eq!(saved(&cached), [vec![2, 4], vec![2]]);
}

#[test]
fn c9_a_failed_save_is_repeated() {
    let cached = with(5);
    touch(&cached, [1, 3], 7);
    cached.inner().fail_saves.store(true, SeqCst);
    cached.sweep_reads().unwrap_err();
    cached.inner().fail_saves.store(false, SeqCst);
    assert_sweep(&cached, 2, false);
    assert_eq!(saved(&cached), [[1, 3]]);
}

/// Frequent reads of old shapes therefore do not prevent the times of new ones from being saved.
#[test]
fn a_sweep_continues_where_the_previous_one_stopped() {
    let all = 2 * MAX_SWEEP + 5;
    let cached = with(all);
    touch(&cached, 1..=all, 7);
    assert_sweep(&cached, MAX_SWEEP, true);
    touch(&cached, (1..=10).chain([MAX_SWEEP]), 8);
    assert_sweep(&cached, MAX_SWEEP, true);
    assert_sweep(&cached, 5, false);
    assert_sweep(&cached, 11, false);
    let parts = saved(&cached);
    assert_eq!(parts[0], Vec::from_iter(1..=MAX_SWEEP));
    assert_eq!(parts[1], Vec::from_iter(MAX_SWEEP + 1..=2 * MAX_SWEEP));
    assert_eq!(parts[2], Vec::from_iter(2 * MAX_SWEEP + 1..=all));
    assert_eq!(
        parts[3],
        Vec::from_iter((1..=10).chain([MAX_SWEEP])),
        "the next sweep starts from the beginning"
    );
}

#[test]
fn reads_saved_by_the_layer_above_are_passed_on_and_merged() {
    let cached = with(3);
    let reads = [(Seq::new(2), at(7)), (Seq::new(77), at(7))];
    cached.save_reads(&reads).unwrap();
    assert_eq!(*cached.inner().saved.lock().unwrap(), [reads]);
    assert_eq!(cached.metadata(&handle(2)).unwrap().unwrap().last_read, Some(at(7)));
    assert_sweep(&cached, 0, false);
    let mut shown = Vec::new();
    cached.saved_reads(&mut |created, at| shown.push((created, at))).unwrap();
    assert_eq!(shown, reads);
}
