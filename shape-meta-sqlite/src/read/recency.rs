use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rusqlite::Connection;
use shape_meta_core::{Batch, Change, Entry, Error, ErrorKind, Result, Seq, Timestamp};

use crate::read::last_reads::{self, Openings};

/// When shapes were last read, for compositions without a cache above.
///
/// A shape that nobody has read counts as read when an owner first found it. So only those that were read
/// take memory.
#[derive(Debug)]
pub(crate) struct Recency {
    at_open: Arc<Openings>,
    times: Option<RwLock<Times>>,
    /// How many batches have made the times of removed shapes forgotten.
    removals: AtomicU64,
}

/// The last-read times as they were at one moment.
#[derive(Debug)]
pub(crate) struct LastReadSnapshot {
    pub(crate) at_open: Arc<Openings>,
    /// Those that were read.
    pub(crate) since: HashMap<Seq, Timestamp>,
}

impl LastReadSnapshot {
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        self.since.get(&id).copied().or_else(|| self.at_open.last_read(id))
    }

    /// The same, where the time that is on disk is known, and may not be in memory.
    pub(crate) fn last_read_since(&self, id: Seq, saved: Option<Timestamp>) -> Option<Timestamp> {
        self.since.get(&id).copied().max(saved).or_else(|| self.at_open.last_read(id))
    }
}

#[derive(Debug, Default)]
struct Times {
    /// The batches up to here are in this table.
    through: Seq,
    read: HashMap<Seq, Time>,
    /// Entries that came with a batch and that somebody else still holds: a buffer above may be noting a
    /// read in one of them at this very moment. Once nobody else does, its time is copied and the entry
    /// is let go.
    young: HashMap<Seq, Arc<Entry>>,
}

#[derive(Debug, Default)]
struct Time {
    micros: AtomicU64,
    unsaved: AtomicBool,
}

impl Time {
    fn saved(at: Timestamp) -> Self {
        Self { micros: AtomicU64::new(at.as_micros()), unsaved: AtomicBool::new(false) }
    }

    fn get(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// In this order, as in [`Entry::touch`].
    fn touch(&self, at: Timestamp) {
        if self.micros.fetch_max(at.as_micros(), Ordering::Relaxed) < at.as_micros() {
            self.unsaved.store(true, Ordering::Release);
        }
    }

    fn take_unsaved(&self) -> Option<Timestamp> {
        self.unsaved.swap(false, Ordering::Acquire).then(|| self.get())
    }
}

/// How many times are saved in one turn: some ten milliseconds of a disk that a flush then waits for.
const PART: usize = 10_000;

impl Recency {
    /// As the database has it, whose order has come so far.
    pub(crate) fn read(connection: &Connection, last_seq: Seq, keep: bool) -> Result<Self> {
        let saved = if keep { last_reads::all(connection)? } else { HashMap::new() };
        let read = saved.into_iter().map(|(id, at)| (id, Time::saved(at))).collect();
        Ok(Self {
            at_open: Arc::new(Openings::read(connection)?),
            times: keep.then(|| RwLock::new(Times { through: last_seq, read, ..Times::default() })),
            removals: AtomicU64::new(0),
        })
    }

    /// Some of the times that are not on disk, in the order of ids, and whether there are more. They count
    /// as saved from now on.
    pub(crate) fn take_unsaved(&self) -> (Vec<(Seq, Timestamp)>, bool) {
        let Some(times) = self.times() else { return (Vec::new(), false) };
        let young = times.young.iter().map(|(id, entry)| (*id, entry.take_unsaved()));
        let old = times.read.iter().map(|(id, time)| (*id, time.take_unsaved()));
        let unsaved = young.chain(old).filter_map(|(id, at)| Some((id, at?)));
        let mut reads: Vec<_> = unsaved.take(PART).collect();
        drop(times);
        reads.sort_unstable_by_key(|(id, _)| *id);
        let more = reads.len() == PART;
        (reads, more)
    }

    /// These were not saved after all.
    pub(crate) fn not_saved(&self, reads: &[(Seq, Timestamp)]) {
        let Some(times) = self.times() else { return };
        for (id, _) in reads {
            if let Some(entry) = times.young.get(id) {
                entry.not_saved();
            } else if let Some(time) = times.read.get(id) {
                time.unsaved.store(true, Ordering::Release);
            }
        }
    }

    /// Takes over the reads that another table of the same database has noted.
    pub(crate) fn take_over(&self, other: &Self) {
        loop {
            let (reads, more) = other.take_unsaved();
            reads.iter().for_each(|(id, at)| self.touch(*id, *at));
            if !more {
                return;
            }
        }
    }

    /// Reads again if a removal came in between. A read that finds a shape on disk, and then finds its
    /// time forgotten, would put together what never was so (C1). Reading again finds the shape gone.
    pub(crate) fn read_consistently<T>(&self, read: impl Fn() -> Result<T>) -> Result<T> {
        loop {
            let before = self.removals.load(Ordering::Acquire);
            let outcome = read()?;
            // The removal is on disk before its time is forgotten, and that before this number grows. So
            // if it has not grown, what was found missing was missing.
            if self.removals.load(Ordering::Acquire) == before {
                return Ok(outcome);
            }
        }
    }

    /// All times as they are now: a copy, for reads that go on while they change.
    pub(crate) fn snapshot(&self) -> LastReadSnapshot {
        let mut since = HashMap::new();
        if let Some(times) = self.times() {
            let ids = times.read.keys().chain(times.young.keys());
            since.extend(ids.filter_map(|id| Some((*id, times.last_read(*id)?))));
        }
        LastReadSnapshot { at_open: Arc::clone(&self.at_open), since }
    }

    /// When an owner has found this shape, as its database knew it at open.
    pub(crate) fn first_seen_at(&self, id: Seq) -> Option<Timestamp> {
        self.at_open.last_read(id)
    }

    /// When this shape was last read, as far as is known here.
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        self.times().and_then(|times| times.last_read(id)).or_else(|| self.at_open.last_read(id))
    }

    pub(crate) fn touch(&self, id: Seq, at: Timestamp) {
        let Some(times) = self.times() else { return };
        if let Some(entry) = times.young.get(&id) {
            return entry.touch(at);
        }
        if let Some(time) = times.read.get(&id) {
            return time.touch(at);
        }
        drop(times);
        let at = self.at_open.last_read(id).map_or(at, |open| open.max(at));
        if let Some(mut times) = self.times_mut() {
            times.note(id, at);
        }
    }

    /// A batch was committed: just now, or by an attempt that seemed to fail. Applying it again does
    /// nothing (I6).
    pub(crate) fn apply(&self, batch: &Batch) {
        let Some(mut times) = self.times_mut() else { return };
        if batch.through <= times.through {
            return;
        }
        times.through = batch.through;
        times.age();
        let mut removals = false;
        for change in &batch.changes {
            match change {
                Change::Add { record, .. } => {
                    let entry = &record.entry;
                    // A read may have been noted here since the commit.
                    if let Some(time) = times.read.remove(&entry.created()) {
                        entry.touch(time.get());
                    }
                    times.young.insert(entry.created(), Arc::clone(entry));
                }
                Change::Remove { entry } => {
                    removals = true;
                    times.forget(entry.created());
                }
                Change::Mark { .. } => {}
                Change::Reset => {
                    removals = true;
                    *times = Times { through: times.through, ..Times::default() };
                }
            }
        }
        if removals {
            self.removals.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Refuses to answer from nothing.
    pub(crate) fn need(&self) -> Result<()> {
        if self.times.is_some() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            "the store was opened without last-read times, for a cache above that keeps them; open it with \
             `last_reads(true)` to ask it directly",
        ))
    }

    /// Forgets shapes that turned out to be gone: a read can be noted while its shape is being removed.
    pub(crate) fn forget(&self, dead: &[Seq]) {
        if let Some(mut times) = self.times_mut().filter(|_| !dead.is_empty()) {
            dead.iter().for_each(|id| times.forget(*id));
        }
    }

    fn times(&self) -> Option<RwLockReadGuard<'_, Times>> {
        Some(self.times.as_ref()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn times_mut(&self) -> Option<RwLockWriteGuard<'_, Times>> {
        Some(self.times.as_ref()?.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Times {
    fn last_read(&self, id: Seq) -> Option<Timestamp> {
        if let Some(entry) = self.young.get(&id) {
            return entry.last_read();
        }
        self.read.get(&id).map(Time::get)
    }

    fn note(&mut self, id: Seq, at: Timestamp) {
        match self.young.get(&id) {
            Some(entry) => entry.touch(at),
            None => {
                self.read.entry(id).or_default().touch(at);
            }
        }
    }

    fn forget(&mut self, id: Seq) {
        self.read.remove(&id);
        self.young.remove(&id);
    }

    /// Lets go of entries that only this table holds: nobody else can note a read in them any more.
    fn age(&mut self) {
        let read = &mut self.read;
        self.young.retain(|id, entry| {
            let Some(entry) = Arc::get_mut(entry) else { return true };
            if let Some(at) = entry.last_read() {
                let unsaved = AtomicBool::new(entry.take_unsaved().is_some());
                read.insert(*id, Time { micros: AtomicU64::new(at.as_micros()), unsaved });
            }
            false
        });
        if self.young.is_empty() {
            // A batch of fifty thousand should not leave its table behind.
            self.young.shrink_to_fit();
        }
    }
}
