//! Last-read times: when the direct composition saves them, and what the store in memory keeps of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta_core::{
    Batch, Direct, Entry, Error, ErrorKind, LastReadStore, MemoryStore, MutateShapesExt, ReadShapes, Record,
    Repaired, Result, Seq, ShapeStore, ShapeStoreExt, SnapshotState, StoreControl, SweepProgress, Timestamp,
    TrustedState, Wait,
    conformance::{
        handle, shape,
        store::{self, added, apply, record},
    },
    forward_reads,
};

use crate::compositions::direct;

/// Has so many parts of last-read times to save, and counts how often it is asked to save one.
#[derive(Default)]
struct Sweeping {
    inner: MemoryStore,
    parts: AtomicUsize,
    sweeps: AtomicUsize,
    damaged: bool,
}

impl Sweeping {
    fn of(parts: usize) -> Direct<Self> {
        direct(Self { parts: AtomicUsize::new(parts), ..Self::default() })
    }
}

fn sweeps(store: &Direct<Sweeping>) -> usize {
    store.inner().sweeps.swap(0, Ordering::Relaxed)
}

fn mutate(store: &Direct<Sweeping>) {
    store.reset(Wait::No).expect("memory does not fail");
}

impl ReadShapes for Sweeping {
    forward_reads!(self => self.inner);
}

impl ShapeStore for Sweeping {
    fn apply(&self, batch: &Batch) -> Result<()> {
        if self.damaged {
            return Err(Error::new(ErrorKind::Corrupt, "damaged on purpose"));
        }
        self.inner.apply(batch)
    }
    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.inner.load(each)
    }
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.inner.record_of(entry)
    }
    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }
}

/// Only counts the sweeps.
impl LastReadStore for Sweeping {
    fn save(&self, _: &[(Seq, Timestamp)]) -> Result<()> {
        Ok(())
    }
    fn for_each_saved(&self, _: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        Ok(())
    }
    fn sweep(&self) -> Result<SweepProgress> {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        let left = self.parts.load(Ordering::Relaxed).saturating_sub(1);
        self.parts.store(left, Ordering::Relaxed);
        Ok(SweepProgress { shapes: 1, more: left > 0 })
    }
}

/// Such a store has no halves of its own.
#[test]
fn i2_a_store_that_does_both_halves_at_once_conforms() {
    store::run_all(Sweeping::default);
}

#[test]
fn reads_are_saved_by_a_mutation_that_comes_when_it_is_time() {
    let store = Sweeping::of(9);
    mutate(&store);
    assert_eq!(sweeps(&store), 0, "not within the first minute");
    let store = store.last_read_save_interval(Duration::ZERO);
    mutate(&store);
    assert_eq!(sweeps(&store), 1, "a part at a time");
    store.remove("unknown", Wait::No).expect_err("refused");
    assert_eq!(sweeps(&store), 0, "a mutation that is refused does not wait for it");
}

#[test]
fn as_long_as_there_are_more_reads_to_save_the_next_mutation_goes_on() {
    let store = Sweeping::of(9).last_read_save_interval(Duration::ZERO);
    let made = Instant::now();
    // So that far more time has gone by since it was made than will after the first part.
    (0..2_000).for_each(|_| assert!(store.remove("unknown", Wait::No).is_err()));
    mutate(&store);
    assert_eq!(sweeps(&store), 1);
    let store = store.last_read_save_interval(made.elapsed());
    mutate(&store);
    assert_eq!(sweeps(&store), 1, "it is still time");
}

#[test]
fn c10_closing_saves_the_reads_in_time_and_once() {
    let store = Sweeping::of(3);
    let report = store.close(Duration::from_secs(60));
    assert!(report.is_complete() && report.took > Duration::ZERO, "{report:?}");
    assert_eq!(sweeps(&store), 3, "all of them");
    store.close(Duration::from_secs(60));
    assert_eq!(sweeps(&store), 0);

    let store = Sweeping::of(3);
    store.close(Duration::ZERO);
    assert_eq!(sweeps(&store), 1, "its time is over after the first part");
}

#[test]
fn c9_reads_are_not_saved_where_writing_has_stopped() {
    let store = direct(Sweeping { damaged: true, ..Sweeping::default() });
    store.add(shape(1), Wait::No).expect_err("it is damaged");
    store.close(Duration::from_secs(60));
    assert_eq!(sweeps(&store), 0);
}

#[test]
fn a_store_that_keeps_nothing_across_restarts_has_nothing_to_show() {
    let store = Sweeping::default();
    let unsupported = |outcome: Result<Repaired>| outcome.expect_err("no file").kind();
    assert_eq!(unsupported(store.rebuild_from(TrustedState::default())), ErrorKind::Unsupported);
    assert_eq!(unsupported(MemoryStore::new().rebuild_from(TrustedState::default())), ErrorKind::Unsupported);
    assert!(store.changes_since(Seq::ZERO).expect("memory").is_none());
    assert!(MemoryStore::new().changes_since(Seq::ZERO).expect("memory").is_none());
    store.save_reads(&[(Seq::new(1), Timestamp::from_micros(1))]).expect("nothing is done");
    store.saved_reads(&mut |_, _| panic!("nothing was saved")).expect("there is none");
}

#[test]
fn reads_that_were_saved_are_shown_and_outlive_a_reopening() {
    let at = Timestamp::from_micros;
    let saved = |store: &MemoryStore| {
        let mut saved = Vec::new();
        store.saved_reads(&mut |created, at| saved.push((created.get(), at.as_micros()))).expect("memory");
        saved
    };
    let store = MemoryStore::new();
    let records = [1, 2, 3].map(|number| record(&shape(number), number));
    records.iter().for_each(|record| record.entry.advance(SnapshotState::Complete));
    apply(&store, 3, records.iter().map(added));
    assert_eq!(saved(&store), []);
    let reads = [(Seq::new(1), at(5)), (Seq::new(2), at(9)), (Seq::new(7), at(9))];
    store.save_reads(&reads).expect("memory");
    store.save_reads(&[(Seq::new(2), at(6))]).expect("memory");
    assert_eq!(saved(&store), [(1, 5), (2, 9)], "no earlier time, and nothing of what is gone");
    assert!(store.reopen(at(7)).is_empty());
    assert_eq!(saved(&store), [(1, 5), (2, 9), (3, 7)], "never read counts as read now");
    let entry = store.entry(&handle(1)).expect("memory").expect("live");
    assert_eq!(entry.take_dirty_read(), None, "what is saved has not to be saved");
}
