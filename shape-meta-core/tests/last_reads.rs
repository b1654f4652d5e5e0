//! Last-read times: when the direct composition saves them, and what `MemoryStore` keeps of them.

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
        store::{added, apply, record},
    },
    forward_reads,
};

use crate::conformance::direct;

/// A store with a number of parts of last-read times to save, which counts the saves.
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
            return Err(Error::new(ErrorKind::Corrupt, "corrupted on purpose by a test"));
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

/// I2: a store without a commit and publish of its own conforms with the default implementations.
mod without_a_publish_of_its_own {
    shape_meta_core::conformance_tests!(store below a buffer: super::Sweeping::default);
}

#[test]
fn a_mutation_saves_last_read_times_when_they_are_due() {
    let store = Sweeping::of(9);
    mutate(&store);
    assert_eq!(sweeps(&store), 0, "no save in the first minute");
    let store = store.last_read_save_interval(Duration::ZERO);
    mutate(&store);
    assert_eq!(sweeps(&store), 1, "one part for each mutation");
    store.remove("unknown", Wait::No).expect_err("refused");
    assert_eq!(sweeps(&store), 0, "a refused mutation saves nothing");
}

#[test]
fn the_next_mutation_saves_the_next_part() {
    let store = Sweeping::of(9).last_read_save_interval(Duration::ZERO);
    let made = Instant::now();
    // Makes the interval below much longer than the time after the first part.
    (0..2_000).for_each(|_| assert!(store.remove("unknown", Wait::No).is_err()));
    mutate(&store);
    assert_eq!(sweeps(&store), 1);
    let store = store.last_read_save_interval(made.elapsed());
    mutate(&store);
    assert_eq!(sweeps(&store), 1, "the next part is due at once");
}

#[test]
fn c10_close_saves_last_read_times_once_within_its_timeout() {
    let store = Sweeping::of(3);
    let report = store.close(Duration::from_secs(60));
    assert!(report.is_complete() && report.took > Duration::ZERO, "{report:?}");
    assert_eq!(sweeps(&store), 3, "all parts");
    store.close(Duration::from_secs(60));
    assert_eq!(sweeps(&store), 0);

    let store = Sweeping::of(3);
    store.close(Duration::ZERO);
    while store.inner().sweeps.load(Ordering::Relaxed) == 0 {
        // On another thread, which may be slow to start.
        std::thread::yield_now();
    }
    store.close(Duration::from_secs(60));
    assert_eq!(sweeps(&store), 1, "the timeout ends after the first part");
}

#[test]
fn c9_last_read_times_are_not_saved_after_writing_has_stopped() {
    let store = direct(Sweeping { damaged: true, ..Sweeping::default() });
    store.add(shape(1), Wait::No).expect_err("the store is corrupted");
    store.close(Duration::from_secs(60));
    assert_eq!(sweeps(&store), 0);
}

#[test]
fn a_store_without_restarts_saves_and_repairs_nothing() {
    let store = Sweeping::default();
    let unsupported = |outcome: Result<Repaired>| outcome.expect_err("there is no file").kind();
    assert_eq!(unsupported(store.rebuild_from(TrustedState::default())), ErrorKind::Unsupported);
    assert_eq!(unsupported(MemoryStore::new().rebuild_from(TrustedState::default())), ErrorKind::Unsupported);
    assert!(store.changes_since(Seq::ZERO).expect("memory does not fail").is_none());
    assert!(MemoryStore::new().changes_since(Seq::ZERO).expect("memory does not fail").is_none());
    store.save_reads(&[(Seq::new(1), Timestamp::from_micros(1))]).expect("the save does nothing");
    store.saved_reads(&mut |_, _| panic!("no last-read time was saved")).expect("memory does not fail");
}

#[test]
fn saved_last_read_times_survive_a_reopen() {
    let at = Timestamp::from_micros;
    let saved = |store: &MemoryStore| {
        let mut saved = Vec::new();
        store
            .saved_reads(&mut |created, at| saved.push((created.get(), at.as_micros())))
            .expect("memory does not fail");
        saved
    };
    let store = MemoryStore::new();
    let records = [1, 2, 3].map(|number| record(&shape(number), number));
    records.iter().for_each(|record| record.entry.advance(SnapshotState::Complete));
    apply(&store, 3, records.iter().map(added));
    assert_eq!(saved(&store), []);
    let reads = [(Seq::new(1), at(5)), (Seq::new(2), at(9)), (Seq::new(7), at(9))];
    store.save_reads(&reads).expect("memory does not fail");
    store.save_reads(&[(Seq::new(2), at(6))]).expect("memory does not fail");
    assert_eq!(saved(&store), [(1, 5), (2, 9)], "no earlier time, and no time of a missing shape");
    assert!(store.reopen(at(7)).is_empty());
    assert_eq!(
        saved(&store),
        [(1, 5), (2, 9), (3, 7)],
        "a shape that was never read gets the time of the reopen"
    );
    let entry = store.entry(&handle(1)).expect("memory does not fail").expect("the shape is live");
    assert_eq!(entry.take_dirty_read(), None, "a saved time need not be saved again");
}
