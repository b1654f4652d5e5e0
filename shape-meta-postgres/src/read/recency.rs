use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use shape_meta_core::{
    Batch, Change, Entry, Error, ErrorKind, Result, Retired, RetiredSince, Seq, Timestamp,
};

use crate::read::openings::Openings;

/// The last-read times of shapes, in memory, for compositions without a cache above.
///
/// A shape without reads counts as read when an owner first opened the stack with it. So only shapes with
/// reads take memory.
#[derive(Debug)]
pub(crate) struct Recency {
    at_open: Arc<Openings>,
    times: Option<RwLock<Times>>,
    /// Counts the batches that removed the times of shapes.
    removals: AtomicU64,
}

/// A consistent copy of the last-read times.
#[derive(Debug)]
pub(crate) struct LastReadSnapshot {
    pub(crate) at_open: Arc<Openings>,
    /// The times of shapes with reads.
    pub(crate) since: HashMap<Seq, Timestamp>,
}

impl LastReadSnapshot {
    /// Returns the last-read time of a shape; `None` if no owner has opened the stack with it yet.
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        self.since.get(&id).copied().or_else(|| self.at_open.last_read(id))
    }

    /// As [`last_read`](Self::last_read), for a shape whose `saved` time may be in the database alone.
    pub(crate) fn last_read_since(&self, id: Seq, saved: Option<Timestamp>) -> Option<Timestamp> {
        self.since.get(&id).copied().max(saved).or_else(|| self.at_open.last_read(id))
    }
}

#[derive(Debug, Default)]
struct Times {
    /// The sequence number of the last batch that was applied to this table.
    through: Seq,
    read: HashMap<Seq, Time>,
    /// Entries of recent batches that a layer above still holds, and in which it may be recording a read at
    /// any moment. Once this table has the last reference, the time is copied and the entry is dropped.
    shared: HashMap<Seq, Arc<Entry>>,
    /// The times that batches removed, for reads that found a shape in the database before.
    removed: Retired<HashMap<Seq, Timestamp>>,
}

#[derive(Debug, Default)]
struct Time {
    micros: AtomicU64,
    unsaved: AtomicBool,
}

impl Time {
    /// A time that the table holds. One that is later than now comes from a clock that was ahead: it counts
    /// as now, and is saved again.
    fn saved(at: Timestamp, now: Timestamp) -> Self {
        Self { micros: AtomicU64::new(at.min(now).as_micros()), unsaved: AtomicBool::new(at > now) }
    }

    fn get(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// Sets the time before the flag, and replaces a time in the future, as [`Entry::touch`] does.
    fn touch(&self, at: Timestamp) {
        let known = self.micros.load(Ordering::Relaxed);
        let last_read = (known > 0).then(|| Timestamp::from_micros(known));
        let Some(new) = Timestamp::after_read(last_read, at).map(Timestamp::as_micros) else { return };
        if known < new {
            self.micros.fetch_max(new, Ordering::Relaxed);
        } else {
            let _ = self.micros.compare_exchange(known, new, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.unsaved.store(true, Ordering::Release);
    }

    fn take_unsaved(&self) -> Option<Timestamp> {
        self.unsaved.swap(false, Ordering::Acquire).then(|| self.get())
    }
}

/// The number of times that one sweep saves: a part of a second, for which a flush waits.
const SWEEP_SIZE: usize = 10_000;

impl Recency {
    /// Begins with the saved times of a stack that is at `last_seq`. Without them, it keeps none in memory.
    pub(crate) fn new(openings: Openings, last_seq: Seq, saved: Option<Vec<(Seq, Timestamp)>>) -> Self {
        let now = Timestamp::now();
        let times = saved.map(|saved| {
            let read = saved.into_iter().map(|(id, at)| (id, Time::saved(at, now))).collect();
            RwLock::new(Times { through: last_seq, read, ..Times::default() })
        });
        Self { at_open: Arc::new(openings), times, removals: AtomicU64::new(0) }
    }

    /// Takes some of the unsaved times, in ascending order of ids. Returns them and whether there may be
    /// more. They count as saved from now on.
    pub(crate) fn take_unsaved(&self) -> (Vec<(Seq, Timestamp)>, bool) {
        let Some(times) = self.times() else { return (Vec::new(), false) };
        let shared = times.shared.iter().map(|(id, entry)| (*id, entry.take_dirty_read()));
        let own = times.read.iter().map(|(id, time)| (*id, time.take_unsaved()));
        let unsaved = shared.chain(own).filter_map(|(id, at)| Some((id, at?)));
        let mut reads: Vec<_> = unsaved.take(SWEEP_SIZE).collect();
        drop(times);
        reads.sort_unstable_by_key(|(id, _)| *id);
        let more = reads.len() == SWEEP_SIZE;
        (reads, more)
    }

    /// Marks these times as unsaved again, after a save that failed.
    pub(crate) fn mark_unsaved(&self, reads: &[(Seq, Timestamp)]) {
        let Some(times) = self.times() else { return };
        for (id, _) in reads {
            if let Some(entry) = times.shared.get(id) {
                entry.mark_read_dirty();
            } else if let Some(time) = times.read.get(id) {
                time.unsaved.store(true, Ordering::Release);
            }
        }
    }

    /// Runs `read`, and runs it once more if a removal happened meanwhile. A read that finds a shape stored,
    /// and then finds its time removed, would combine two states (C1).
    ///
    /// The second time it gets the times that are removed meanwhile too, so it is the last (I9).
    pub(crate) fn read_consistently<T>(&self, read: impl Fn(&RemovedTimes) -> Result<T>) -> Result<T> {
        let before = self.removals.load(Ordering::Acquire);
        let outcome = read(&RemovedTimes::default())?;
        // A removal is committed, then its time is removed, then this number grows. So if the number is the
        // same, no time was removed between the read of the database and that of the table.
        if self.removals.load(Ordering::Acquire) == before {
            return Ok(outcome);
        }
        let pin = self.times().map(|times| times.removed.pin());
        read(&RemovedTimes(pin))
    }

    /// Returns a copy of all times. Costs one pass over the table under its shared lock.
    pub(crate) fn snapshot(&self, removed: &RemovedTimes) -> LastReadSnapshot {
        let mut since = HashMap::new();
        if let Some(times) = self.times() {
            since.extend(removed.all());
            since.extend(times.all());
        }
        LastReadSnapshot { at_open: Arc::clone(&self.at_open), since }
    }

    /// Returns when an owner first opened the stack with this shape; `None` if it was created since the
    /// open.
    pub(crate) fn first_seen_at(&self, id: Seq) -> Option<Timestamp> {
        self.at_open.last_read(id)
    }

    /// Returns the last-read time of a shape that was found in the database.
    pub(crate) fn last_read(&self, id: Seq, removed: &RemovedTimes) -> Option<Timestamp> {
        let known = self.times().and_then(|times| times.last_read(id).or_else(|| removed.get(id)));
        known.or_else(|| self.at_open.last_read(id))
    }

    /// Records a read of a shape.
    pub(crate) fn touch(&self, id: Seq, at: Timestamp) {
        let Some(times) = self.times() else { return };
        if let Some(entry) = times.shared.get(&id) {
            return entry.touch(at);
        }
        if let Some(time) = times.read.get(&id) {
            return time.touch(at);
        }
        drop(times);
        let at = self.at_open.last_read(id).map_or(at, |open| open.min(Timestamp::now()).max(at));
        if let Some(mut times) = self.times_mut() {
            times.record(id, at);
        }
    }

    /// Applies a batch that was committed, now or by an earlier attempt that seemed to fail. Applying it
    /// again does nothing (I6).
    pub(crate) fn apply(&self, batch: &Batch) {
        let Some(mut times) = self.times_mut() else { return };
        if batch.through <= times.through {
            return;
        }
        times.through = batch.through;
        times.drop_unshared();
        let is_pinned = times.removed.is_pinned();
        let mut removed = HashMap::new();
        let mut removals = false;
        for change in &batch.changes {
            match change {
                Change::Add { record, .. } => {
                    let entry = &record.entry;
                    // A read may have been recorded here since the commit.
                    if let Some(time) = times.read.remove(&entry.created()) {
                        entry.touch(time.get());
                    }
                    times.shared.insert(entry.created(), Arc::clone(entry));
                }
                Change::Remove { entry } => {
                    removals = true;
                    if is_pinned && let Some(at) = times.last_read(entry.created()) {
                        removed.insert(entry.created(), at);
                    }
                    times.remove(entry.created());
                }
                Change::Mark { .. } | Change::Discard { .. } => {}
                Change::Reset => {
                    removals = true;
                    if is_pinned {
                        removed.extend(times.all());
                    }
                    let retired = std::mem::take(&mut times.removed);
                    *times = Times { through: times.through, removed: retired, ..Times::default() };
                }
            }
        }
        if is_pinned && !removed.is_empty() {
            times.removed.retire(removed);
        }
        if removals {
            self.removals.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Returns `Unsupported` if the store keeps no last-read times.
    pub(crate) fn require(&self) -> Result<()> {
        if self.times.is_some() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            "the store keeps no last-read times, since it was opened with `last_reads(false)`; read them \
             from the cache above, or open it with `last_reads(true)`",
        ))
    }

    /// Removes the times of shapes that are gone: a read can be recorded while its shape is being removed.
    pub(crate) fn remove(&self, removed: &[Seq]) {
        if let Some(mut times) = self.times_mut().filter(|_| !removed.is_empty()) {
            removed.iter().for_each(|id| times.remove(*id));
        }
    }

    fn times(&self) -> Option<RwLockReadGuard<'_, Times>> {
        Some(self.times.as_ref()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn times_mut(&self) -> Option<RwLockWriteGuard<'_, Times>> {
        Some(self.times.as_ref()?.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The times that were removed since a read began.
#[derive(Default)]
pub(crate) struct RemovedTimes(Option<RetiredSince<HashMap<Seq, Timestamp>>>);

impl RemovedTimes {
    fn get(&self, id: Seq) -> Option<Timestamp> {
        self.0.as_ref()?.iter().find_map(|times| times.get(&id).copied())
    }

    fn all(&self) -> impl Iterator<Item = (Seq, Timestamp)> {
        self.0.iter().flat_map(RetiredSince::iter).flatten().map(|(id, at)| (*id, *at))
    }
}

impl Times {
    fn all(&self) -> impl Iterator<Item = (Seq, Timestamp)> {
        let ids = self.read.keys().chain(self.shared.keys());
        ids.filter_map(|id| Some((*id, self.last_read(*id)?)))
    }

    fn last_read(&self, id: Seq) -> Option<Timestamp> {
        if let Some(entry) = self.shared.get(&id) {
            return entry.last_read();
        }
        self.read.get(&id).map(Time::get)
    }

    fn record(&mut self, id: Seq, at: Timestamp) {
        match self.shared.get(&id) {
            Some(entry) => entry.touch(at),
            None => {
                self.read.entry(id).or_default().touch(at);
            }
        }
    }

    fn remove(&mut self, id: Seq) {
        self.read.remove(&id);
        self.shared.remove(&id);
    }

    /// Drops the entries to which this table has the last reference, and copies their times: no other thread
    /// can record a read in them any more.
    fn drop_unshared(&mut self) {
        let read = &mut self.read;
        self.shared.retain(|id, entry| {
            let Some(entry) = Arc::get_mut(entry) else { return true };
            if let Some(at) = entry.last_read() {
                let unsaved = AtomicBool::new(entry.take_dirty_read().is_some());
                read.insert(*id, Time { micros: AtomicU64::new(at.as_micros()), unsaved });
            }
            false
        });
        if self.shared.is_empty() {
            // The table of a large batch is freed.
            self.shared.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use shape_meta_core::conformance::shape;

    use super::*;

    fn recency() -> Recency {
        let times = Some(RwLock::new(Times::default()));
        Recency { at_open: Arc::default(), times, removals: AtomicU64::new(0) }
    }

    /// Once, the read was repeated as long as removals went on.
    #[test]
    fn c14_a_read_during_removals_runs_twice_at_most() {
        for is_reset in [false, true] {
            let (recency, last) = (recency(), Cell::new(0));
            let apply = |change: Change| {
                last.set(last.get() + 1);
                recency.apply(&Batch { changes: vec![change], through: Seq::new(last.get()) });
            };
            let record = Arc::new(shape(1).record(Seq::new(1)));
            let at = Timestamp::from_micros(7);
            let runs = Cell::new(0);
            let found = recency.read_consistently(|removed| {
                runs.set(runs.get() + 1);
                assert!(runs.get() <= 2);
                // The shape is found in the database, and is removed before its time is looked up.
                recency.touch(Seq::new(1), at);
                apply(match is_reset {
                    true => Change::Reset,
                    false => Change::Remove { entry: Arc::clone(&record.entry) },
                });
                let snapshot = recency.snapshot(removed).last_read(Seq::new(1));
                Ok((recency.last_read(Seq::new(1), removed), snapshot))
            });
            assert_eq!((found.expect("nothing fails"), runs.get()), ((Some(at), Some(at)), 2));
        }
    }
}
