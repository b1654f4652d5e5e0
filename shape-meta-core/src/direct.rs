use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    Activity, AttemptContext, Batch, Change, CloseReport, Degradation, DurabilityTracker, Error, ErrorKind,
    Existing, FlushStats, GetOrAdd, Health, HealthState, LastError, Latencies, Limits, MutateError,
    MutateShapes, Mutation, NewShape, NotDurable, Observer, Pending, ReadShapes, Receipt, Remedy, Repaired,
    Result, Seq, ShapeStore, ShapeStoreExt, Signal, StoreControl, TrustedState, Usage, forward_reads,
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
    progress: Arc<DurabilityTracker>,
    /// Whether the observer wants to hear how long mutations took.
    timed: bool,
    /// Held by a mutation from validation to commit. No reader wants it (I5).
    writer: Mutex<Writer>,
    /// What health tells. Never held for longer than it takes to look.
    condition: Mutex<Condition>,
    last_read_save_interval: Duration,
}

/// How often last-read times are saved, unless it is said otherwise: so a shape costs the disk one row a
/// minute at most, however often it is read.
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Writer {
    closed: bool,
    /// When last-read times were last saved.
    saved: Instant,
}

#[derive(Debug, Default)]
struct Condition {
    phase: Phase,
    /// Since when writes have failed, and how often.
    failing: Option<(Instant, u32)>,
    latest: Option<(Error, Instant)>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Open,
    Closing,
    Closed,
}

impl Condition {
    /// Says whether writing has stopped with this failure.
    fn failed(&mut self, error: &Error) -> bool {
        let now = Instant::now();
        let stopped_before = self.is_stopped();
        let (since, failures) = self.failing.unwrap_or((now, 0));
        self.failing = Some((since, failures.saturating_add(1)));
        self.latest = Some((error.clone(), now));
        self.is_stopped() && !stopped_before
    }

    fn is_stopped(&self) -> bool {
        let stops = |(error, _): &(Error, Instant)| error.kind().remedy() == Remedy::Stop;
        self.failing.is_some() && self.latest.as_ref().is_some_and(stops)
    }

    fn health(&self) -> Health {
        let state = match (self.phase, self.failing, &self.latest) {
            (Phase::Closing, ..) => HealthState::Closing,
            (Phase::Closed, ..) => HealthState::Closed,
            (Phase::Open, Some((since, failures)), Some((error, _))) => {
                let error = error.clone();
                match error.kind() {
                    ErrorKind::Fenced => HealthState::Fenced { error },
                    _ if self.is_stopped() => HealthState::Stopped { error },
                    _ => HealthState::Degraded {
                        why: Degradation::Failing { error, failures },
                        since: since.elapsed(),
                    },
                }
            }
            (Phase::Open, ..) => HealthState::Ready,
        };
        let last_error = self.latest.as_ref();
        let last_error = last_error.map(|(error, at)| LastError { error: error.clone(), ago: at.elapsed() });
        Health { last_error, ..Health::new(state) }
    }
}

impl<S: ShapeStore> Direct<S> {
    /// Over this store.
    ///
    /// # Errors
    ///
    /// If the store cannot say how far its order has come.
    pub fn new(inner: S, limits: Limits, observer: Arc<dyn Observer>) -> Result<Self> {
        let progress = Arc::new(DurabilityTracker::observed(inner.last_seq()?, Arc::clone(&observer)));
        Ok(Self {
            timed: observer.wants_acknowledged(),
            inner,
            limits,
            observer,
            progress,
            writer: Mutex::new(Writer { closed: false, saved: Instant::now() }),
            condition: Mutex::default(),
            last_read_save_interval: MINUTE,
        })
    }

    /// How often last-read times are saved. Default: a minute.
    ///
    /// There is no thread here, so it happens after the first mutation that comes when it is time, and at
    /// [`close`](StoreControl::close). That mutation waits for some ten thousand times at most.
    pub fn last_read_save_interval(mut self, interval: Duration) -> Self {
        self.last_read_save_interval = interval;
        self
    }

    /// The store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// One mutation at a time, with the moment at which its caller came, if anybody wants to know.
    fn serialized<T>(
        &self,
        mutate: impl FnOnce(Option<Instant>) -> Result<T, MutateError>,
    ) -> Result<T, MutateError> {
        let came = self.timed.then(Instant::now);
        let mut writer = self.writer();
        if writer.closed {
            let error = Error::closed();
            self.observer.failed(&error);
            return Err(error.into());
        }
        let outcome = mutate(came);
        match &outcome {
            Ok(_) => {
                if writer.saved.elapsed() >= self.last_read_save_interval && !self.save_reads() {
                    writer.saved = Instant::now();
                }
            }
            Err(MutateError::Refused(refusal)) => self.observer.refused(refusal),
            Err(MutateError::Failed(error)) => {
                let stopped = self.condition().failed(error);
                self.observer.failed(error);
                if stopped {
                    self.observer.stopped(error);
                }
            }
        }
        outcome
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // What it guards is a single flag, so a panic leaves nothing half-done.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        // Nothing that could panic runs under it.
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves some of the last-read times, and says whether there are more. A failure is told to the
    /// observer alone, and the same times are tried again next time.
    fn save_reads(&self) -> bool {
        let span = self.observer.begin(Activity::SaveReads);
        let swept = self.inner.sweep_reads();
        if let Some(span) = span {
            span.end(swept.as_ref().err());
        }
        swept.is_ok_and(|swept| swept.more)
    }

    fn commit(&self, mutation: &Mutation, came: Option<Instant>) -> Result<Receipt, MutateError> {
        if let Mutation::Add(shape) = mutation {
            self.limits.check(shape)?;
        }
        let found = Existing::of(mutation, &self.inner)?;
        let last = self.inner.last_seq()?;
        let seq = match validate(mutation, found, last.next())? {
            None => last,
            Some(change) => {
                let through = last.next();
                self.apply(Batch { changes: vec![change], through })?;
                if let Some(came) = came {
                    let mut latencies = Latencies::default();
                    latencies.record(came.elapsed());
                    self.observer.acknowledged(&latencies);
                }
                through
            }
        };
        Ok(self.receipt(seq))
    }

    /// A flush of one change.
    fn apply(&self, batch: Batch) -> Result<()> {
        let bytes = batch.changes.iter().map(Change::memory).sum();
        let span = self.observer.begin(Activity::Flush { changes: batch.changes.len(), bytes });
        let begun = Instant::now();
        let outcome = self.inner.apply(&batch);
        let took = begun.elapsed();
        if let Some(span) = span {
            span.end(outcome.as_ref().err());
        }
        outcome?;
        // Not what came to nothing, or what was found: that says nothing about the disk.
        self.condition().failing = None;
        if self.observer.wants_committed() {
            batch.changes.iter().for_each(|change| self.observer.committed(change));
        }
        let changes = batch.changes.len();
        self.observer.flushed(&FlushStats { mutations: 1, changes, bytes, took, oldest: took });
        Ok(())
    }

    /// What the store below has reached is committed, also by an attempt whose answer was lost.
    fn receipt(&self, seq: Seq) -> Receipt {
        self.progress.settle(seq);
        // What is refused here is told at once, so nobody has to be told by a receipt.
        Receipt::up_to(seq, Arc::clone(&self.progress))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ReadShapes for Direct<S> {
    forward_reads!(self => self.inner);
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> MutateShapes for Direct<S> {
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.serialized(|came| self.commit(mutation, came))
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.serialized(|came| {
            if let Some(handle) = self.inner.handle_for(&shape.key)? {
                let receipt = self.receipt(self.inner.last_seq()?);
                return Ok(GetOrAdd { handle, added: false, receipt });
            }
            let receipt = self.commit(&Mutation::Add(shape.clone()), came)?;
            Ok(GetOrAdd { handle: shape.handle.clone(), added: true, receipt })
        })
    }

    /// There is room for the only attempt.
    fn attempt(&self, mutation: &Mutation, _: AttemptContext) -> Result<Receipt, MutateError> {
        self.try_mutate(mutation)
    }

    /// The same.
    fn attempt_get_or_add(&self, shape: &NewShape, _: AttemptContext) -> Result<GetOrAdd, MutateError> {
        self.try_get_or_add(shape)
    }

    fn capacity_signal(&self) -> Option<&Signal> {
        None
    }
}

/// Nothing is ever pending, so most of this is true at once.
#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> StoreControl for Direct<S> {
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

    /// That of the latest mutation. Nothing is ever pending, so the durability window is nothing.
    fn health(&self) -> Health {
        self.condition().health()
    }

    fn usage(&self) -> Usage {
        self.inner.resource_usage()
    }

    /// Mutations wait for it.
    fn repair(&self) -> Result<Repaired> {
        let writer = self.writer();
        if writer.closed {
            return Err(Error::closed());
        }
        let repaired = self.inner.rebuild_from(TrustedState::default())?;
        self.condition().failing = None;
        Ok(repaired)
    }

    /// Waits for the mutation that is under way, however long it takes. Last-read times are saved.
    fn close(&self, timeout: Duration) -> CloseReport {
        let begun = Instant::now();
        if !matches!(self.condition().phase, Phase::Closed) {
            self.condition().phase = Phase::Closing;
        }
        let mut writer = self.writer();
        if !std::mem::replace(&mut writer.closed, true) {
            let span = self.observer.begin(Activity::Close);
            if !self.condition().is_stopped() {
                while self.save_reads() && begun.elapsed() < timeout {}
            }
            if let Some(span) = span {
                span.end(None);
            }
        }
        drop(writer);
        self.condition().phase = Phase::Closed;
        CloseReport { took: begun.elapsed(), ..CloseReport::default() }
    }
}
