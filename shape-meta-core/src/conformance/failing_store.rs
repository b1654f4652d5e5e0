use std::sync::Arc;

use super::Faults;
use crate::{
    Batch, ChangeLog, Delta, Entry, Error, ErrorKind, LastReadStore, ReadShapes, RebuildStore, Record,
    Repaired, Result, Seq, ShapeStore, ShapeStoreExt, SweepProgress, Timestamp, TrustedState, Usage,
    forward_reads,
};

/// A store that forwards every call to another store, except where its [`Faults`] make the call fail, panic
/// or block.
#[derive(Debug)]
pub struct FailingStore<S> {
    inner: S,
    faults: Faults,
}

impl<S> FailingStore<S> {
    /// Wraps a store. Nothing fails yet.
    pub fn new(inner: S) -> Self {
        Self::with(inner, Faults::default())
    }

    /// Wraps a store with existing faults, so that they continue after the store is reopened.
    pub fn with(inner: S, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// Returns the wrapped store.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns the faults of this store. They can be changed from any thread.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl<S: ShapeStore> FailingStore<S> {
    fn apply_with_faults(&self, batch: &Batch, apply: impl FnOnce() -> Result<()>) -> Result<()> {
        let (number, fault) = self.faults.next_apply();
        self.faults.run(fault.as_ref(), number, || {
            // A batch that is already committed is skipped, whatever it contains (I6). The wrapped store may
            // not have published it yet, so its `last_seq` alone is not enough.
            let committed = self.faults.committed().max(self.inner.last_seq()?);
            if batch.through > committed
                && let Some(rejection) = self.faults.rejection(batch)
            {
                return Err(rejection);
            }
            apply()?;
            self.faults.count_applied(batch);
            Ok(())
        })
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ReadShapes> ReadShapes for FailingStore<S> {
    forward_reads!(self => self.inner; read => self.faults.read(read));
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ShapeStore for FailingStore<S> {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.apply_with_faults(batch, || self.inner.apply(batch))
    }

    /// Takes its fault from the same queue as `apply`.
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.apply_with_faults(batch, || self.inner.commit(batch))
    }

    fn publish(&self, batch: &Batch) {
        let fault = self.faults.next_publish();
        // The queue holds panics and blocks only: a publish cannot return an error.
        let published = self.faults.run(fault.as_ref(), batch.through.get(), || {
            self.inner.publish(batch);
            Ok(())
        });
        debug_assert!(published.is_ok());
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.faults.read(|| self.inner.load(each))
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.faults.read(|| self.inner.record_of(entry))
    }

    fn claim_unread(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        self.inner.claim_unread(entry, since)
    }

    fn release_claim(&self, entry: &Arc<Entry>) {
        self.inner.release_claim(entry);
    }

    fn check_lease(&self) -> Result<()> {
        self.inner.check_lease()
    }

    fn resource_usage(&self) -> Usage {
        self.inner.resource_usage()
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.inner.change_log()?;
        Some(self)
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self)
    }
}

impl<S: ShapeStore> ChangeLog for FailingStore<S> {
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        self.faults.read(|| self.inner.changes_since(seq))
    }

    fn line(&self) -> u64 {
        self.inner.change_log().map_or(0, ChangeLog::line)
    }
}

impl<S: ShapeStore> LastReadStore for FailingStore<S> {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        let fault = self.faults.next_save();
        self.faults.run(fault.as_ref(), 0, || self.inner.save_reads(reads))
    }

    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        self.faults.read(|| self.inner.saved_reads(each))
    }

    fn sweep(&self) -> Result<SweepProgress> {
        let fault = self.faults.next_save();
        self.faults.run(fault.as_ref(), 0, || self.inner.sweep_reads())
    }
}

/// A store without a file counts as rebuilt, so that a test can let writing resume.
impl<S: ShapeStore> RebuildStore for FailingStore<S> {
    fn rebuild(&self, trusted: TrustedState<'_>) -> Result<Repaired> {
        match self.faults.read(|| self.inner.rebuild_from(trusted)) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Repaired::new(
                "nowhere".into(),
                Error::new(ErrorKind::Corrupt, "corrupted on purpose by a test"),
                self.inner.counts()?.total,
                Vec::new(),
            )),
            other => other,
        }
    }
}
