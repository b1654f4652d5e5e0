use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    ApplyChanges, Batch, CloseReport, ControlWrites, Counts, Entry, Error, Found, GetOrAdd, Handle,
    HandleSet, Health, Key, LeastRecentlyUsed, Limits, Metadata, MutateError, MutateShapes, Mutation,
    NewShape, NotDurable, Observer, Pending, Progress, ReadShapes, Receipt, Record, Relation, Remedy, Result,
    Scan, Seq, Signal, Timestamp,
    sync::{Mutex, MutexGuard},
    validate,
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
    writer: Mutex<Writer>,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Writer {
    closed: bool,
    /// Since when writes have failed, and how often.
    failing: Option<(Instant, u32)>,
}

impl<S: ApplyChanges> Direct<S> {
    /// Over this store.
    ///
    /// # Errors
    ///
    /// If the store cannot say how far its order has come.
    pub fn new(inner: S, limits: Limits, observer: Arc<dyn Observer>) -> Result<Self> {
        let progress = Arc::new(Progress::new(inner.last_seq()?));
        Ok(Self {
            inner,
            limits,
            observer,
            progress,
            writer: Mutex::default(),
            health: Mutex::new(Health::Ready),
        })
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn serialized<T>(&self, mutate: impl FnOnce() -> Result<T, MutateError>) -> Result<T, MutateError> {
        let mut writer = self.writer();
        if writer.closed {
            return Err(Error::closed().into());
        }
        let outcome = mutate();
        match &outcome {
            Ok(_) => {
                if writer.failing.take().is_some() {
                    self.set_health(Health::Ready);
                }
            }
            Err(MutateError::Refused(refusal)) => self.observer.refused(refusal),
            Err(MutateError::Failed(error)) => {
                let (since, failures) = writer.failing.unwrap_or_else(|| (Instant::now(), 0));
                let failures = failures.saturating_add(1);
                writer.failing = Some((since, failures));
                let error = error.clone();
                self.set_health(match error.kind().remedy() {
                    Remedy::Stop => Health::Stopped { error },
                    _ => Health::Degraded { error, since: since.elapsed(), failures },
                });
            }
        }
        outcome
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // What it guards is only ever replaced whole, so a panic leaves nothing half-done.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    fn commit(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        if let Mutation::Add(shape) = mutation {
            self.limits.check(shape)?;
        }
        let found = Found::of(mutation, &self.inner)?;
        let last = self.inner.last_seq()?;
        let seq = match validate(mutation, found, last.next())? {
            None => last,
            Some(change) => {
                let through = last.next();
                self.inner.apply(&Batch { changes: vec![change], through })?;
                through
            }
        };
        Ok(self.receipt(seq))
    }

    /// What the store below has reached is committed, also by an attempt whose answer was lost.
    fn receipt(&self, seq: Seq) -> Receipt {
        self.progress.settle(seq);
        // What is refused here is told at once, so nobody has to be told by a receipt.
        Receipt::up_to(seq, Arc::clone(&self.progress))
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

/// Nothing is ever pending, so most of this is true at once.
#[deny(clippy::missing_trait_methods)]
impl<S: ApplyChanges> ControlWrites for Direct<S> {
    fn request_flush(&self) -> Receipt {
        self.receipt(self.progress.settled())
    }

    fn flush(&self, _: Duration) -> Result<(), NotDurable> {
        Ok(())
    }

    fn pause(&self) {}

    fn resume(&self) {}

    fn pending(&self) -> Pending {
        Pending::default()
    }

    fn drain_rate(&self) -> f64 {
        0.0
    }

    /// That of the latest mutation. Its age is that at the latest failure.
    fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the mutation that is under way, however long it takes.
    fn close(&self, _: Duration) -> CloseReport {
        self.writer().closed = true;
        self.set_health(Health::Closed);
        CloseReport::default()
    }
}
