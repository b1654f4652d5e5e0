//! A store that says what it is told to say of changes, repairs and reads.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use shape_meta_core::{
    Batch, Connections, Counts, Delta, Entry, Error, ErrorKind, Handle, HandleSet, Key, LeastRecentlyUsed,
    MemoryStore, Metadata, ReadShapes, Record, Relation, Repaired, Result, Scan, Seq, ShapeStore,
    SweepProgress, Timestamp, TrustedState, Usage,
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
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        self.inner().metadata(handle)
    }
    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        self.inner().handle_for(key)
    }
    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        self.inner().entry(handle)
    }
    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        self.inner().record(handle)
    }
    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        self.inner().handles_for_relations(relations)
    }
    fn counts(&self) -> Result<Counts> {
        self.inner().counts()
    }
    fn scan(&self) -> Result<Scan<'_>> {
        let all: Vec<_> = self.inner().scan()?.collect();
        Ok(Box::new(all.into_iter()))
    }
    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        self.inner().touch(handle, at)
    }
    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        self.inner().least_recently_used(n, excluded)
    }
    fn last_seq(&self) -> Result<Seq> {
        self.inner().last_seq()
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
    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        usage.cache_bytes = 1_000;
        usage.connections = Some(Connections { used: 1, max: 2, ..Connections::default() });
        usage
    }
    fn repair(&self, known: TrustedState<'_>) -> Result<Repaired> {
        let entries = known.entries.expect("a mirror knows all").iter().map(|entry| entry.created());
        *self.known.lock().unwrap() = (entries.collect(), known.last_seq);
        let error = Error::new(ErrorKind::Corrupt, "damaged on purpose");
        if self.repaired.lock().unwrap().is_none() {
            return Err(error);
        }
        self.replace();
        Ok(Repaired::new("nowhere".into(), error, self.counts()?.total, Vec::new()))
    }
    fn changes_since(&self, place: Seq) -> Result<Option<Delta>> {
        self.asked.lock().unwrap().push(place);
        Ok(self.delta.lock().unwrap().clone())
    }
    fn save_reads(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        broken(&self.fail_saves)?;
        self.saved.lock().unwrap().push(reads.to_vec());
        Ok(())
    }
    fn saved_reads(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        self.saved.lock().unwrap().iter().flatten().for_each(|(created, at)| each(*created, *at));
        Ok(())
    }
    fn sweep_reads(&self) -> Result<SweepProgress> {
        panic!("the one who notes reads sweeps them")
    }
}
