use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_core::{Batch, Change, Entry, Error, ErrorKind, Result, Seq, Timestamp};

/// When shapes were last read, for compositions without a cache above.
///
/// A shape that was there at open counts as read at that moment, until it is read again. So only those
/// that were read since, or created since and read, take memory.
#[derive(Debug)]
pub(crate) struct Recency {
    at_open: AtOpen,
    times: Option<RwLock<Times>>,
    /// How many batches have made the times of removed shapes forgotten.
    removals: AtomicU64,
}

/// What is known of every shape that was there at open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtOpen {
    pub(crate) at: Timestamp,
    pub(crate) through: Seq,
}

impl AtOpen {
    fn last_read(self, id: Seq) -> Option<Timestamp> {
        (id <= self.through).then_some(self.at)
    }
}

/// The last-read times as they were at one moment.
#[derive(Debug)]
pub(crate) struct LastReads {
    pub(crate) at_open: AtOpen,
    /// Those that were read since the opening.
    pub(crate) since: HashMap<Seq, Timestamp>,
}

impl LastReads {
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        self.since.get(&id).copied().or_else(|| self.at_open.last_read(id))
    }
}

#[derive(Debug, Default)]
struct Times {
    /// The batches up to here are in this table.
    through: Seq,
    read: HashMap<Seq, AtomicU64>,
    /// Entries that came with a batch and that somebody else still holds: a buffer above may be noting a
    /// read in one of them at this very moment. Once nobody else does, its time is copied and the entry
    /// is let go.
    young: HashMap<Seq, Arc<Entry>>,
}

impl Recency {
    pub(crate) fn new(opened_at: Timestamp, opened_through: Seq, keep: bool) -> Self {
        Self {
            at_open: AtOpen { at: opened_at, through: opened_through },
            times: keep.then(|| RwLock::new(Times { through: opened_through, ..Times::default() })),
            removals: AtomicU64::new(0),
        }
    }

    /// Reads again if a removal came in between. A read that finds a shape on disk, and then finds its
    /// time forgotten, would put together what never was so (C1). Reading again finds the shape gone.
    pub(crate) fn in_one_moment<T>(&self, read: impl Fn() -> Result<T>) -> Result<T> {
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
    pub(crate) fn snapshot(&self) -> LastReads {
        let mut since = HashMap::new();
        if let Some(times) = self.read() {
            let ids = times.read.keys().chain(times.young.keys());
            since.extend(ids.filter_map(|id| Some((*id, times.last_read(*id)?))));
        }
        LastReads { at_open: self.at_open, since }
    }

    /// When this shape was last read, as far as is known here.
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        self.read().and_then(|times| times.last_read(id)).or_else(|| self.at_open.last_read(id))
    }

    pub(crate) fn touch(&self, id: Seq, at: Timestamp) {
        let Some(times) = self.read() else { return };
        if let Some(entry) = times.young.get(&id) {
            return entry.touch(at);
        }
        if let Some(time) = times.read.get(&id) {
            time.fetch_max(at.as_micros(), Ordering::Relaxed);
            return;
        }
        drop(times);
        let at = self.at_open.last_read(id).map_or(at, |open| open.max(at));
        if let Some(mut times) = self.write() {
            times.note(id, at);
        }
    }

    /// A batch was committed: just now, or by an attempt that seemed to fail. Applying it again does
    /// nothing (I6).
    pub(crate) fn apply(&self, batch: &Batch) {
        let Some(mut times) = self.write() else { return };
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
                        entry.touch(Timestamp::from_micros(time.into_inner()));
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
        if let Some(mut times) = self.write().filter(|_| !dead.is_empty()) {
            dead.iter().for_each(|id| times.forget(*id));
        }
    }

    fn read(&self) -> Option<RwLockReadGuard<'_, Times>> {
        Some(self.times.as_ref()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Option<RwLockWriteGuard<'_, Times>> {
        Some(self.times.as_ref()?.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Times {
    fn last_read(&self, id: Seq) -> Option<Timestamp> {
        if let Some(entry) = self.young.get(&id) {
            return entry.last_read();
        }
        self.read.get(&id).map(|time| Timestamp::from_micros(time.load(Ordering::Relaxed)))
    }

    fn note(&mut self, id: Seq, at: Timestamp) {
        match self.young.get(&id) {
            Some(entry) => entry.touch(at),
            None => {
                self.read.entry(id).or_default().fetch_max(at.as_micros(), Ordering::Relaxed);
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
                read.insert(*id, AtomicU64::new(at.as_micros()));
            }
            false
        });
        if self.young.is_empty() {
            // A batch of fifty thousand should not leave its table behind.
            self.young.shrink_to_fit();
        }
    }
}
