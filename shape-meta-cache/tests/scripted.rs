//! A store that says what it is told to say of changes, repairs and reads.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use shape_meta_core::{
    Batch, ChangeLog, Connections, Delta, Entry, Error, ErrorKind, LastReadStore, MemoryStore, ReadShapes,
    RebuildStore, Record, Repaired, Result, Scan, Seq, ShapeStore, SweepProgress, Timestamp, TrustedState,
    Usage, forward_reads,
};

/// Over a store in memory.
#[derive(Default)]
pub(crate) struct Scripted {
    inner: Mutex<Arc<MemoryStore>>,
    /// What has changed, whatever place is asked for.
    pub(crate) delta: Mutex<Option<Delta>>,
    /// For which places it was asked.
    pub(crate) asked: Mutex<Vec<Seq>>,
    /// What a repair puts in the place of the store; it fails if there is nothing.
    pub(crate) repaired: Mutex<Option<MemoryStore>>,
    /// What the latest repair was told to be known.
    pub(crate) known: Mutex<(Vec<Seq>, Option<Seq>)>,
    pub(crate) fail_loads: AtomicBool,
    pub(crate) fail_saves: AtomicBool,
    /// The reads that were saved, a part each.
    pub(crate) saved: Mutex<Vec<Vec<(Seq, Timestamp)>>>,
}

impl Scripted {
    /// The store below it.
    pub(crate) fn inner(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.inner.lock().unwrap())
    }

    /// Puts what a repair would put there into the place of the store.
    pub(crate) fn replace(&self) {
        let repaired = self.repaired.lock().unwrap().take();
        *self.inner.lock().unwrap() = Arc::new(repaired.expect("it is said by what"));
    }
}

fn broken(is_broken: &AtomicBool) -> Result<()> {
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
        broken(&self.fail_loads)?;
        self.inner().load(each)
    }
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.inner().record_of(entry)
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
        self.asked.lock().unwrap().push(seq);
        Ok(self.delta.lock().unwrap().clone())
    }
}

impl LastReadStore for Scripted {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        broken(&self.fail_saves)?;
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
        let entries = trusted.entries.expect("a mirror knows all").iter().map(|entry| entry.created());
        *self.known.lock().unwrap() = (entries.collect(), trusted.last_seq);
        let error = Error::new(ErrorKind::Corrupt, "damaged on purpose");
        if self.repaired.lock().unwrap().is_none() {
            return Err(error);
        }
        self.replace();
        Ok(Repaired::new("nowhere".into(), error, self.counts()?.total, Vec::new()))
    }
}
