use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError},
};

use super::Openings;
use crate::{
    Batch, Change, Entry, Error, ErrorKind, Result, Retired, RetiredSince, Seq, Timestamp,
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The last-read times of shapes, in memory, for compositions without a cache above.
///
/// A shape without reads counts as read when an owner first opened the store with it. So only shapes with
/// reads take memory.
#[derive(Debug)]
pub struct Recency {
    at_open: Arc<Openings>,
    times: Option<RwLock<Times>>,
    /// Counts the batches that removed the times of shapes.
    removals: AtomicU64,
}

/// A consistent copy of the last-read times.
#[derive(Debug)]
pub struct LastReadSnapshot {
    /// The times of openings.
    pub at_open: Arc<Openings>,
    /// The times of shapes with reads.
    pub since: HashMap<Seq, Timestamp>,
}

impl LastReadSnapshot {
    /// Returns the last-read time of a shape; `None` if no owner has opened the store with it yet.
    pub fn last_read(&self, id: Seq) -> Option<Timestamp> {
        self.since.get(&id).copied().or_else(|| self.at_open.last_read(id))
    }

    /// As [`last_read`](Self::last_read), for a shape whose `saved` time may be on disk and not in memory.
    pub fn last_read_since(&self, id: Seq, saved: Option<Timestamp>) -> Option<Timestamp> {
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
    /// Shapes that a removal has claimed because they were not read. No read of them counts any more.
    claimed: HashSet<Seq>,
    /// The times that batches removed, for reads that found a shape on disk before.
    removed: Retired<HashMap<Seq, Timestamp>>,
}

#[derive(Debug, Default)]
struct Time {
    micros: AtomicU64,
    unsaved: AtomicBool,
}

impl Time {
    fn saved(read: StoredTime) -> Self {
        let unsaved = AtomicBool::new(read.is_corrected);
        Self { micros: AtomicU64::new(read.at.as_micros()), unsaved }
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

/// The number of times that one sweep saves: about ten milliseconds of disk work, for which a flush waits.
const SWEEP_SIZE: usize = 10_000;

/// How often a shape is searched on disk for one touch, at most.
const MAX_SEARCHES: usize = 3;

/// A time that is stored: a last read, or an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTime {
    /// The time, which is not later than now.
    pub at: Timestamp,
    /// It was stored later than now, and counts as now. It is saved again, so that the shape ages from now
    /// on.
    pub is_corrected: bool,
}

impl StoredTime {
    /// A time that was read from the store.
    pub fn new(stored: Timestamp, now: Timestamp) -> Self {
        Self { at: stored.min(now), is_corrected: stored > now }
    }
}

/// The last-read times that a store has saved.
#[derive(Debug, Default)]
pub struct SavedReads(HashMap<Seq, Time>);

impl Extend<(Seq, StoredTime)> for SavedReads {
    fn extend<I: IntoIterator<Item = (Seq, StoredTime)>>(&mut self, saved: I) {
        self.0.extend(saved.into_iter().map(|(id, read)| (id, Time::saved(read))));
    }
}

impl Recency {
    /// Begins with the times of a store that is at `last_seq`. Without saved ones, it keeps none in memory.
    pub fn new(openings: Openings, last_seq: Seq, saved: Option<SavedReads>) -> Self {
        let times =
            saved.map(|SavedReads(read)| RwLock::new(Times { through: last_seq, read, ..Times::default() }));
        Self { at_open: Arc::new(openings), times, removals: AtomicU64::new(0) }
    }

    /// Begins anew, after a re-key has given all shapes other sequence numbers: with the times that it has
    /// saved, of a store that is at `last_seq`.
    pub fn restart(&mut self, last_seq: Seq, saved: SavedReads) {
        if let Some(times) = &mut self.times {
            *times = RwLock::new(Times { through: last_seq, read: saved.0, ..Times::default() });
        }
    }

    /// Takes some of the unsaved times, in ascending order of ids. Returns them and whether there may be
    /// more. They count as saved from now on.
    pub fn take_unsaved(&self) -> (Vec<(Seq, Timestamp)>, bool) {
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
    pub fn mark_unsaved(&self, reads: &[(Seq, Timestamp)]) {
        let Some(times) = self.times() else { return };
        for (id, _) in reads {
            if let Some(entry) = times.shared.get(id) {
                entry.mark_read_dirty();
            } else if let Some(time) = times.read.get(id) {
                time.unsaved.store(true, Ordering::Release);
            }
        }
    }

    /// Takes over the unsaved times of another table of the same store.
    pub fn merge(&self, other: &Self) {
        loop {
            let (reads, more) = other.take_unsaved();
            for (id, at) in &reads {
                self.touch(*id, *at);
            }
            if !more {
                return;
            }
        }
    }

    /// Runs `read`, and runs it once more if a removal happened meanwhile. A read that finds a shape on disk,
    /// and then finds its time removed, would combine two states (C1).
    ///
    /// The second time it gets the times that are removed meanwhile too, so it is the last (I9).
    pub fn read_consistently<T>(&self, read: impl Fn(&RemovedTimes) -> Result<T>) -> Result<T> {
        let before = self.removals.load(Ordering::Acquire);
        let outcome = read(&RemovedTimes::default())?;
        // A removal is committed, then its time is removed, then this number grows. So if the number is the
        // same, no time was removed between the read of the disk and that of the table.
        if self.removals.load(Ordering::Acquire) == before {
            return Ok(outcome);
        }
        let pin = self.times().map(|times| times.removed.pin());
        read(&RemovedTimes(pin))
    }

    /// Returns a copy of all times. Costs one pass over the table under its shared lock.
    pub fn snapshot(&self, removed: &RemovedTimes) -> LastReadSnapshot {
        let mut since = HashMap::new();
        if let Some(times) = self.times() {
            since.extend(removed.all());
            since.extend(times.all());
        }
        LastReadSnapshot { at_open: Arc::clone(&self.at_open), since }
    }

    /// Returns when an owner first opened the store with this shape; `None` if it was created since the
    /// open.
    pub fn first_seen_at(&self, id: Seq) -> Option<Timestamp> {
        self.at_open.last_read(id)
    }

    /// Returns the last-read time of a shape that was found on disk.
    pub fn last_read(&self, id: Seq, removed: &RemovedTimes) -> Option<Timestamp> {
        let known = self.times().and_then(|times| times.last_read(id).or_else(|| removed.get(id)));
        known.or_else(|| self.at_open.last_read(id))
    }

    /// Records a read of a shape. Returns whether it counts: `false` once a removal has
    /// [claimed](Self::claim_unread) the shape.
    pub fn touch(&self, id: Seq, at: Timestamp) -> bool {
        let Some(times) = self.times() else { return true };
        if times.claimed.contains(&id) {
            return false;
        }
        if let Some(entry) = times.shared.get(&id) {
            return entry.touch(at);
        }
        if let Some(time) = times.read.get(&id) {
            time.touch(at);
            return true;
        }
        drop(times);
        let at = self.at_open.last_read(id).map_or(at, |open| open.min(Timestamp::now()).max(at));
        self.times_mut().is_none_or(|mut times| times.record(id, at))
    }

    /// Records a read of the shape that `find` finds on disk. Returns whether such a shape is live, and the
    /// read counts.
    ///
    /// A shape that is removed between the search and the record may have been removed because it was not
    /// read. So it is searched again after a removal; a shape that is found again was read in time. Ends
    /// after three searches (I9).
    ///
    /// # Errors
    ///
    /// Those of `find`.
    pub fn touch_found(&self, at: Timestamp, find: impl Fn() -> Result<Option<Seq>>) -> Result<bool> {
        let mut before = self.removals.load(Ordering::Acquire);
        let mut recorded = None;
        for _ in 0..MAX_SEARCHES {
            let Some(id) = find()? else { return Ok(false) };
            if recorded == Some(id) {
                return Ok(true);
            }
            if !self.touch(id, at) {
                return Ok(false);
            }
            let after = self.removals.load(Ordering::Acquire);
            if after == before {
                return Ok(true);
            }
            (recorded, before) = (Some(id), after);
        }
        Ok(true)
    }

    /// Claims a shape for a removal, unless it was read at `since` or later; see
    /// [`ShapeStore::claim_unread`](crate::ShapeStore::claim_unread).
    pub fn claim_unread(&self, entry: &Entry, since: Timestamp) -> bool {
        let id = entry.created();
        let opened = self.at_open.last_read(id);
        let Some(mut times) = self.times_mut() else {
            // A layer above keeps the times.
            return !Timestamp::is_read_since(opened, since);
        };
        match times.shared.get(&id) {
            Some(shared) => return shared.claim_unread(since),
            None if Timestamp::is_read_since(times.last_read(id).or(opened), since) => return false,
            None => {}
        }
        // A read may still be recorded in it: the layer above shows it as pending.
        let is_claimed = entry.claim_unread(since);
        if is_claimed {
            times.claimed.insert(id);
        }
        is_claimed
    }

    /// Ends a claim, because the shape is not removed after all.
    pub fn release_claim(&self, entry: &Entry) {
        if let Some(mut times) = self.times_mut() {
            times.claimed.remove(&entry.created());
            if let Some(shared) = times.shared.get(&entry.created()) {
                shared.release_claim();
            }
        }
        entry.release_claim();
    }

    /// Applies a batch that was committed, now or by an earlier attempt that seemed to fail. Applying it
    /// again does nothing (I6).
    pub fn apply(&self, batch: &Batch) {
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
                Change::Mark { .. } => {}
                Change::Discard { created, .. } => drop(times.claimed.remove(created)),
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
    pub fn require(&self) -> Result<()> {
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
    pub fn remove(&self, removed: &[Seq]) {
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
pub struct RemovedTimes(Option<RetiredSince<HashMap<Seq, Timestamp>>>);

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

    fn record(&mut self, id: Seq, at: Timestamp) -> bool {
        if self.claimed.contains(&id) {
            return false;
        }
        if let Some(entry) = self.shared.get(&id) {
            return entry.touch(at);
        }
        self.read.entry(id).or_default().touch(at);
        true
    }

    fn remove(&mut self, id: Seq) {
        self.read.remove(&id);
        self.shared.remove(&id);
        self.claimed.remove(&id);
    }

    /// Drops the entries to which this table has the last reference, and copies their times: no other thread
    /// can record a read in them any more.
    fn drop_unshared(&mut self) {
        let (read, claimed) = (&mut self.read, &mut self.claimed);
        self.shared.retain(|id, entry| {
            let Some(entry) = Arc::get_mut(entry) else { return true };
            if entry.is_claimed() {
                claimed.insert(*id);
            }
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

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::conformance::shape;

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
                // The shape is found on disk, and is removed before its time is looked up.
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
