//! A store with scripted results for changes, repairs and saved reads.

use std::sync::{
    Arc, Barrier, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use shape_meta_core::{
    Batch, ChangeLog, Connections, Delta, Entry, Error, ErrorKind, LastReadStore, MemoryStore, ReadShapes,
    RebuildStore, Record, Repaired, Result, Scan, Seq, ShapeStore, SweepProgress, Timestamp, TrustedState,
    Usage, forward_reads,
};

/// A scripted store over one in memory.
#[derive(Default)]
pub(crate) struct Scripted {
    inner: Mutex<Arc<MemoryStore>>,
    /// The result of `changes_since`, for any sequence number.
    pub(crate) delta: Mutex<Option<Delta>>,
    /// The arguments of the calls of `changes_since`.
    pub(crate) changes_since: Mutex<Vec<Seq>>,
    /// The line of history.
    pub(crate) line: AtomicU64,
    /// The store that a repair puts in place; a repair without one fails.
    pub(crate) repaired: Mutex<Option<MemoryStore>>,
    /// The trusted state that the latest repair got.
    pub(crate) trusted: Mutex<(Vec<Seq>, Option<Seq>)>,
    pub(crate) fail_loads: AtomicBool,
    /// The next read of a record waits here twice, after it has read.
    pub(crate) pause_record: Mutex<Option<Arc<Barrier>>>,
    pub(crate) fail_saves: AtomicBool,
    /// The saved reads, one list for each call.
    pub(crate) saved: Mutex<Vec<Vec<(Seq, Timestamp)>>>,
}

impl Scripted {
    /// Returns the store below.
    pub(crate) fn inner(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.inner.lock().unwrap())
    }

    /// Replaces the store as a repair would.
    pub(crate) fn replace(&self) {
        let repaired = self.repaired.lock().unwrap().take();
        *self.inner.lock().unwrap() = Arc::new(repaired.expect("`repaired` is set"));
    }
}

fn fail_if(is_broken: &AtomicBool) -> Result<()> {
    match is_broken.load(SeqCst) {
        true => Err(Error::new(ErrorKind::Io, "broken on purpose")),
        false => Ok(()),
    }
}

impl ReadShapes for Scripted {
    forward_reads!(self => self.inner(); except scan);

    fn scan(&self) -> Result<Scan<'_>> {
        let all: Vec<_> = self.inner().scan()?.collect();
        Ok(Box::new(all.into_iter()))
    }
}

impl ShapeStore for Scripted {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.inner().apply(batch)
    }
    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        fail_if(&self.fail_loads)?;
        self.inner().load(each)
    }
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        let record = self.inner().record_of(entry);
        let pause = self.pause_record.lock().unwrap().take();
        if let Some(pause) = pause {
            pause.wait();
            pause.wait();
        }
        record
    }
    fn resource_usage(&self) -> Usage {
        let mut usage = Usage::default();
        usage.cache_bytes = 1_000;
        usage.connections = Some(Connections { used: 1, max: 2, ..Connections::default() });
        usage
    }
    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }
    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }
    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self)
    }
}

impl ChangeLog for Scripted {
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        self.changes_since.lock().unwrap().push(seq);
        Ok(self.delta.lock().unwrap().clone())
    }

    fn line(&self) -> u64 {
        self.line.load(SeqCst)
    }
}

impl LastReadStore for Scripted {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        fail_if(&self.fail_saves)?;
        self.saved.lock().unwrap().push(reads.to_vec());
        Ok(())
    }
    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        self.saved.lock().unwrap().iter().flatten().for_each(|(created, at)| each(*created, *at));
        Ok(())
    }
    fn sweep(&self) -> Result<SweepProgress> {
        panic!("the layer that records reads sweeps them")
    }
}

impl RebuildStore for Scripted {
    fn rebuild(&self, trusted: TrustedState<'_>) -> Result<Repaired> {
        let entries =
            trusted.entries.expect("a mirror passes all entries").iter().map(|entry| entry.created());
        *self.trusted.lock().unwrap() = (entries.collect(), trusted.last_seq);
        let error = Error::new(ErrorKind::Corrupt, "damaged on purpose");
        if self.repaired.lock().unwrap().is_none() {
            return Err(error);
        }
        self.replace();
        Ok(Repaired::new("nowhere".into(), error, self.counts()?.total, Vec::new()))
    }
}
