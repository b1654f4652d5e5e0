use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    Activity, AttemptContext, Batch, Change, CloseReport, Degradation, DurabilityTracker, Error, ErrorKind,
    Existing, FlushStats, GetOrAdd, Handle, HandleState, Health, HealthState, LastError, Latencies, Limits,
    MutateError, MutateShapes, Mutation, NewShape, NotDurable, Observer, Pending, ReadShapes, Receipt,
    Remedy, Repaired, Reservation, ReservedHandles, Result, Seq, ShapeStore, ShapeStoreExt, Signal,
    StoreControl, TrustedState, Usage, forward_reads,
    sync::{Mutex, MutexGuard},
    validate,
};

/// The composition without a buffer: each mutation is a batch of its own, and durable when it returns.
///
/// The other compositions are compared with it. Mutations are serialized by a lock. Reads go straight to the
/// store below and never take that lock.
pub struct Direct<S> {
    inner: S,
    limits: Limits,
    observer: Arc<dyn Observer>,
    tracker: Arc<DurabilityTracker>,
    /// Whether the observer wants the latencies of mutations.
    timed: bool,
    /// Held by a mutation from validation to commit; no reader takes it (I5). Taken before `condition`.
    writer: Mutex<Writer>,
    /// The state behind [`health`](StoreControl::health). Held for a few instructions only.
    condition: Mutex<Condition>,
    /// Checked and reserved under `writer`.
    reserved: Arc<ReservedHandles>,
    last_read_save_interval: Duration,
}

/// The default interval of saving last-read times. A shape then costs at most one row written per minute,
/// however often it is read.
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
    /// Since when writes fail, and how often.
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
    /// Records a failed write. Returns whether writing has stopped with it.
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
    /// Composes a store over `inner`.
    ///
    /// # Errors
    ///
    /// If the last sequence number cannot be read from `inner`.
    pub fn new(inner: S, limits: Limits, observer: Arc<dyn Observer>) -> Result<Self> {
        let tracker = Arc::new(DurabilityTracker::observed(inner.last_seq()?, Arc::clone(&observer)));
        Ok(Self {
            timed: observer.wants_acknowledged(),
            inner,
            limits,
            observer,
            tracker,
            writer: Mutex::new(Writer { closed: false, saved: Instant::now() }),
            condition: Mutex::default(),
            reserved: Arc::new(ReservedHandles::new(Arc::new(Signal::new()))),
            last_read_save_interval: MINUTE,
        })
    }

    /// Sets the interval at which last-read times are saved. Default: one minute.
    ///
    /// There is no background thread: the first mutation after the interval saves a part of them, and
    /// [`close`](StoreControl::close) the rest. That mutation waits until about ten thousand times are saved.
    pub fn last_read_save_interval(mut self, interval: Duration) -> Self {
        self.last_read_save_interval = interval;
        self
    }

    /// Returns the store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Runs a mutation under the writer's lock and records its outcome. `mutate` gets the time of the call,
    /// if latencies are observed.
    fn serialized<T>(
        &self,
        attempt: AttemptContext,
        mutate: impl FnOnce(Option<Instant>) -> Result<T, MutateError>,
    ) -> Result<T, MutateError> {
        let started_at = self.timed.then(|| attempt.first_tried.unwrap_or_else(Instant::now));
        let mut writer = self.writer();
        if writer.closed {
            let error = Error::closed();
            self.observer.failed(&error);
            return Err(error.into());
        }
        let outcome = mutate(started_at);
        match &outcome {
            Ok(_) => {
                if writer.saved.elapsed() >= self.last_read_save_interval && !self.save_reads() {
                    writer.saved = Instant::now();
                }
            }
            Err(MutateError::Refused(refusal)) if refusal.is_retryable() && !attempt.is_final => {}
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
        // Both fields are consistent at any time, so a panic leaves no partial change.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        // No code that can panic runs under this lock.
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves a part of the last-read times. Returns whether there are more. A failure is emitted to the
    /// observer only; the next sweep retries the same times.
    fn save_reads(&self) -> bool {
        let span = self.observer.begin(Activity::SaveReads);
        let swept = self.inner.sweep_reads();
        if let Some(span) = span {
            span.end(swept.as_ref().err());
        }
        swept.is_ok_and(|swept| swept.more)
    }

    fn commit(&self, mutation: &Mutation, started_at: Option<Instant>) -> Result<Receipt, MutateError> {
        if let Mutation::Add(shape) = mutation {
            self.limits.check(shape)?;
        }
        let existing = Existing::of(mutation, &self.inner)?;
        let last = self.inner.last_seq()?;
        let seq = match validate(mutation, existing, last.next())? {
            None => last,
            Some(change) => {
                if let Change::Add { record, .. } = &change {
                    self.reserved.check(record.handle())?;
                }
                let through = last.next();
                self.apply(Batch { changes: vec![change], through })?;
                if let Some(started_at) = started_at {
                    let mut latencies = Latencies::default();
                    latencies.record(started_at.elapsed());
                    self.observer.acknowledged(&latencies);
                }
                through
            }
        };
        Ok(self.receipt(seq))
    }

    /// Applies a batch, and emits it as a flush of one mutation.
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
        // Only a write shows that the disk works; a mutation without effect does not reach this line.
        self.condition().failing = None;
        if self.observer.wants_committed() {
            batch.changes.iter().for_each(|change| self.observer.committed(change));
        }
        let changes = batch.changes.len();
        self.observer.flushed(&FlushStats { mutations: 1, changes, bytes, took, oldest: took });
        Ok(())
    }

    /// Returns a receipt for `seq`, which the store below has committed, possibly by an attempt whose answer
    /// was lost.
    fn receipt(&self, seq: Seq) -> Receipt {
        self.tracker.settle(seq);
        // A rejection is returned by the mutation itself, so no receipt has to report one.
        Receipt::up_to(seq, Arc::clone(&self.tracker))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ReadShapes for Direct<S> {
    forward_reads!(self => self.inner);
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> MutateShapes for Direct<S> {
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.attempt(mutation, AttemptContext::ONLY)
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.attempt_get_or_add(shape, AttemptContext::ONLY)
    }

    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        self.serialized(attempt, |started_at| self.commit(mutation, started_at))
    }

    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        self.serialized(attempt, |started_at| {
            if let Some(handle) = self.inner.handle_for(&shape.key)? {
                let receipt = self.receipt(self.inner.last_seq()?);
                return Ok(GetOrAdd { handle, added: false, receipt });
            }
            let receipt = self.commit(&Mutation::Add(shape.clone()), started_at)?;
            Ok(GetOrAdd { handle: shape.handle.clone(), added: true, receipt })
        })
    }

    /// There is always capacity; only a reserved handle is waited for.
    fn capacity_signal(&self) -> Option<&Signal> {
        Some(self.reserved.released())
    }
}

/// Nothing is ever pending, so most methods have nothing to do.
#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> StoreControl for Direct<S> {
    fn request_flush(&self) -> Receipt {
        self.receipt(self.tracker.settled())
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

    /// The health as of the latest mutation. Nothing is ever pending, so the durability window is zero.
    fn health(&self) -> Health {
        self.condition().health()
    }

    fn usage(&self) -> Usage {
        self.inner.resource_usage()
    }

    /// Mutations wait until the repair is complete.
    fn repair(&self) -> Result<Repaired> {
        let writer = self.writer();
        if writer.closed {
            return Err(Error::closed());
        }
        let repaired = self.inner.rebuild_from(TrustedState::default())?;
        self.condition().failing = None;
        Ok(repaired)
    }

    /// Waits for the mutation in progress. Nothing is ever pending.
    fn reserve_handles(&self, handles: &[Handle]) -> Result<Reservation> {
        let writer = self.writer();
        let reservation = self.reserved.reserve(handles);
        drop(writer);
        reservation.set_states(|_, handle| {
            let live = self.inner.metadata(handle)?;
            Ok(live.map_or(HandleState::Free, |live| HandleState::Live { created: live.created }))
        })
    }

    /// Waits for the mutation in progress, without a limit, and saves the last-read times.
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
