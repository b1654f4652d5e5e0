use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    ApplyChanges, Batch, Counts, Entry, Found, GetOrAdd, Handle, HandleSet, Key, LeastRecentlyUsed, Limits,
    Metadata, MutateError, MutateShapes, Mutation, NewShape, Observer, Progress, ReadShapes, Receipt, Record,
    Relation, Result, Scan, Seq, Signal, Timestamp, validate,
};

/// The composition without a buffer: each mutation is a batch of its own, committed before it returns.
///
/// It is the reference that everything else is compared with. Mutations wait for one another; reads go
/// straight to the store below and wait for nothing.
pub struct Direct<S> {
    inner: S,
    limits: Limits,
    observer: Arc<dyn Observer>,
    progress: Arc<Progress>,
    /// Held by a mutation from validation to commit. No reader wants it (I5).
    writer: Mutex<()>,
}

impl<S: ApplyChanges> Direct<S> {
    /// Over this store.
    ///
    /// # Errors
    ///
    /// If the store cannot say how far its order has come.
    pub fn new(inner: S, limits: Limits, observer: Arc<dyn Observer>) -> Result<Self> {
        let progress = Arc::new(Progress::new(inner.last_seq()?));
        Ok(Self { inner, limits, observer, progress, writer: Mutex::new(()) })
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn serialized<T>(&self, mutate: impl FnOnce() -> Result<T, MutateError>) -> Result<T, MutateError> {
        // The lock guards no data, so a panic under it leaves nothing broken behind.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        mutate().inspect_err(|error| {
            if let Some(refusal) = error.refusal() {
                self.observer.refused(refusal);
            }
        })
    }

    fn commit(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        let mut found = Found::default();
        if let Some(handle) = mutation.handle() {
            found.by_handle = self.inner.entry(handle)?.map(|entry| {
                let state = entry.state();
                (entry, state)
            });
        }
        if let Mutation::Add(shape) = mutation {
            self.limits.check(shape)?;
            found.by_key = self.inner.handle_for(&shape.key)?;
        }
        let last = self.inner.last_seq()?;
        let seq = match validate(mutation, found, last.next())? {
            None => last,
            Some(change) => {
                let through = last.next();
                self.inner.apply(&Batch { changes: vec![change], through })?;
                self.progress.settle(through);
                through
            }
        };
        Ok(self.receipt(seq))
    }

    fn receipt(&self, seq: Seq) -> Receipt {
        Receipt::new(seq, Arc::clone(&self.progress))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ApplyChanges> ReadShapes for Direct<S> {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        self.inner.metadata(handle)
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        self.inner.handle_for(key)
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        self.inner.entry(handle)
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        self.inner.record(handle)
    }

    fn handles_reading(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        self.inner.handles_reading(relations)
    }

    fn counts(&self) -> Result<Counts> {
        self.inner.counts()
    }

    fn scan(&self) -> Result<Scan<'_>> {
        self.inner.scan()
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        self.inner.touch(handle, at)
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        self.inner.least_recently_used(n, excluded)
    }

    fn last_seq(&self) -> Result<Seq> {
        self.inner.last_seq()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ApplyChanges> MutateShapes for Direct<S> {
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.serialized(|| self.commit(mutation))
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.serialized(|| {
            if let Some(handle) = self.inner.handle_for(&shape.key)? {
                let receipt = self.receipt(self.inner.last_seq()?);
                return Ok(GetOrAdd { handle, added: false, receipt });
            }
            let receipt = self.commit(&Mutation::Add(shape.clone()))?;
            Ok(GetOrAdd { handle: shape.handle.clone(), added: true, receipt })
        })
    }

    fn room(&self) -> Option<&Signal> {
        None
    }
}
