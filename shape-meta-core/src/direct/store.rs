use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use super::{
    condition::{Condition, Phase},
    queue::{Answer, Callers, NextLeader, Queue, Request, Ticket, Turn},
    transaction::{Claims, Transaction},
};
use crate::{
    Activity, AttemptContext, AwaitShapes, Batch, Change, CloseReport, DurabilityTracker, Entry, Error,
    ErrorKind, Existing, FlushStats, GetOrAdd, Handle, HandleState, Health, HealthState, Key, Latencies,
    Limits, LookUp, MutateError, MutateShapes, Mutation, NewShape, NotDurable, Observer, Pending, ReadShapes,
    Receipt, Refusal, Remedy, Repaired, Reservation, ReservedHandles, Result, Seq, ShapeStore, ShapeStoreExt,
    ShapeWaits, Signal, StoreControl, Submitted, TrustedState, Usage,
    feed::{Feed, FeedChange, FeedError, FeedOptions, FeedStage, Feeds},
    forward_reads,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        thread::{self, ThreadId},
    },
    validate,
};

/// The composition without a buffer: each mutation is durable, and visible to every reader, when it returns.
///
/// Mutations that are made at the same time share a transaction (group commit). Their callers queue, and one
/// of them leads: it validates the mutations in their order, commits them in one batch, and answers each. A
/// refused mutation refuses its own caller alone; a transaction that fails, fails all of its callers. A
/// caller waits for the transactions of those that came before it. A single caller has a transaction for each
/// mutation, and the other compositions are compared with that.
///
/// Reads go straight to the store below, and never wait for a mutation.
///
/// An observer is called on the thread of a caller, during a transaction. There it may read memory, but not
/// mutate, repair or close the store: such a call would wait for itself, and fails as
/// [`Unsupported`](crate::ErrorKind::Unsupported). So does a read of the disk over a cache, which would wait
/// until the transaction is published.
pub struct Direct<S>(Arc<Shared<S>>);

struct Shared<S> {
    inner: S,
    limits: Limits,
    observer: Arc<dyn Observer>,
    tracker: Arc<DurabilityTracker>,
    /// Whether the observer wants the latencies of mutations.
    timed: bool,
    queue: Queue,
    /// The threads that call observers while they lead the queue, or while the leader waits for them. Held
    /// for a few instructions only.
    leading: Mutex<Vec<ThreadId>>,
    /// Held by the leader of the queue across disk work, and by none else, so no one waits for it. No reader
    /// takes it (I5). Taken before `condition`.
    writer: Mutex<Writer>,
    /// The state behind [`health`](StoreControl::health). Held for a few instructions only.
    condition: Mutex<Condition>,
    /// Checked and reserved under `writer`.
    reserved: Arc<ReservedHandles>,
    creation_counts_as_read: AtomicBool,
    waits: Arc<ShapeWaits>,
    /// Subscribed to, and emitted to, under `writer`.
    feeds: Arc<Feeds>,
    /// The last sequence number at the open.
    opened_at: Seq,
}

/// The default interval of saving last-read times. A shape then costs at most one row written per minute,
/// however often it is read.
const MINUTE: Duration = Duration::from_secs(60);

/// How long the last step of a close may take although the deadline has passed: enough for a store that does
/// not hang.
const GRACE: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Writer {
    /// Whether close has saved the last-read times, or has begun to.
    closed: bool,
    /// When last-read times were last saved.
    saved: Instant,
    last_read_save_interval: Duration,
}

/// The lead of the queue, which is handed over when this is dropped, also by a panic.
struct Lead<'a, S: ShapeStore + 'static> {
    shared: &'a Arc<Shared<S>>,
    /// The ticket of the leader, while its thread may still unwind. It must not get the lead then.
    own: Option<Arc<Ticket>>,
}

impl<'a, S: ShapeStore + 'static> Lead<'a, S> {
    fn new(shared: &'a Arc<Shared<S>>, own: Option<&Arc<Ticket>>) -> Self {
        shared.leading().push(thread::current().id());
        Self { shared, own: own.cloned() }
    }
}

impl<S: ShapeStore + 'static> Drop for Lead<'_, S> {
    fn drop(&mut self) {
        self.shared.leads_no_more();
        if let Some(own) = self.own.take() {
            self.shared.queue.withdraw(&own);
        }
        if self.shared.condition().phase == Phase::Closed {
            // A close that did not wait for the transaction of this thread has left that to it.
            self.shared.feeds.close();
        }
        self.shared.hand_over();
    }
}

/// A future that waits. Its ticket is withdrawn when it is dropped.
struct Waiting<S>(Arc<Shared<S>>, Arc<Ticket>);

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.1.abandon();
    }
}

impl<S: ShapeStore + 'static> Direct<S> {
    /// Composes a store over `inner`.
    ///
    /// # Errors
    ///
    /// If the last sequence number cannot be read from `inner`.
    pub fn new(inner: S, limits: Limits, observer: Arc<dyn Observer>) -> Result<Self> {
        Self::with_feeds(inner, limits, observer, Arc::default())
    }

    /// As [`new`](Self::new), with feeds that were subscribed to before: those of a standby, which go on.
    ///
    /// # Errors
    ///
    /// Those of `new`.
    pub fn with_feeds(
        inner: S,
        limits: Limits,
        observer: Arc<dyn Observer>,
        feeds: Arc<Feeds>,
    ) -> Result<Self> {
        let opened_at = inner.last_seq()?;
        let tracker = Arc::new(DurabilityTracker::observed(opened_at, Arc::clone(&observer)));
        let writer = Writer { closed: false, saved: Instant::now(), last_read_save_interval: MINUTE };
        Ok(Self(Arc::new(Shared {
            timed: observer.wants_acknowledged(),
            inner,
            limits,
            observer,
            tracker,
            queue: Queue::default(),
            leading: Mutex::default(),
            writer: Mutex::new(writer),
            condition: Mutex::default(),
            reserved: Arc::new(ReservedHandles::new(Arc::new(Signal::new()))),
            creation_counts_as_read: AtomicBool::new(false),
            waits: Arc::default(),
            feeds,
            opened_at,
        })))
    }

    /// Sets whether a shape counts as read when it is created. Default false: a shape that was never read is
    /// left out of the least recently used ones until the store is opened again. With true, it ages from its
    /// creation, and each created shape costs the disk one small row more.
    pub fn creation_counts_as_read(self, counts: bool) -> Self {
        self.0.creation_counts_as_read.store(counts, Ordering::Relaxed);
        self
    }

    /// Sets the interval at which last-read times are saved. Default: one minute.
    ///
    /// There is no background thread: the first mutation after the interval saves a part of them, and
    /// [`close`](StoreControl::close) the rest. That mutation waits until about ten thousand times are saved.
    pub fn last_read_save_interval(self, interval: Duration) -> Self {
        self.0.writer().last_read_save_interval = interval;
        self
    }

    /// Returns the store below.
    pub fn inner(&self) -> &S {
        &self.0.inner
    }
}

impl<S> Shared<S> {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        // The fields are consistent at any time, so a panic leaves no partial change.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no transaction is in progress now.
    fn has_no_transaction(&self) -> bool {
        !matches!(self.writer.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn leading(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        // No code that can panic runs under this lock.
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that this thread leads no more.
    fn leads_no_more(&self) {
        let ours = thread::current().id();
        self.leading().retain(|thread| *thread != ours);
    }

    /// Refuses a call that would wait for the transaction that it is made in.
    fn check_not_leading(&self) -> Result<()> {
        if !self.leading().contains(&thread::current().id()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            "an observer made this call on the thread of a mutation, and the call would wait for that \
             mutation; nothing has changed; make the call on another thread",
        ))
    }

    /// Refuses a mutation by an observer of a mutation, and one once close has begun.
    fn check_open(&self) -> Result<()> {
        self.check_not_leading()?;
        if self.condition().phase == Phase::Open { Ok(()) } else { Err(Error::closed()) }
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        // No code that can panic runs under this lock.
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a receipt for `seq`, which the store below has committed, possibly by an attempt whose answer
    /// was lost.
    fn receipt(&self, seq: Seq) -> Receipt {
        self.tracker.settle(seq);
        // A rejection is returned by the mutation itself, so no receipt has to report one.
        Receipt::up_to(seq, Arc::clone(&self.tracker))
    }

    fn added_or_found(&self, shape: &NewShape, answer: Answer) -> GetOrAdd {
        let receipt = self.receipt(answer.seq);
        match answer.existing {
            Some(handle) => GetOrAdd { handle, added: false, receipt },
            None => GetOrAdd { handle: shape.handle.clone(), added: true, receipt },
        }
    }
}

impl<S: ShapeStore> Shared<S> {
    /// Returns the shape with this key, which is committed, if it is live.
    fn find(&self, key: &Key) -> Result<Option<GetOrAdd>> {
        if self.condition().is_failing() {
            // What is found may be of a write that has failed. This fails if it is not known what is
            // committed.
            self.inner.last_seq()?;
        }
        let receipt = || Receipt::up_to(self.tracker.settled(), Arc::clone(&self.tracker));
        let found = self.inner.handle_for(key)?;
        Ok(found.map(|handle| GetOrAdd { handle, added: false, receipt: receipt() }))
    }
}

/// The queue: who leads.
impl<S: ShapeStore + 'static> Shared<S> {
    /// Commits a request, or waits until another caller has.
    fn call(self: &Arc<Self>, request: Request) -> Result<Answer, MutateError> {
        if let Err(error) = self.check_open() {
            self.observer.failed(&error);
            return Err(error.into());
        }
        let ticket = Ticket::new(Some(request), true);
        if self.queue.push(&ticket) {
            self.lead(Some(&ticket));
        }
        loop {
            let waiter = ticket.changed().listen();
            match ticket.turn() {
                Turn::Return(outcome) => return outcome,
                Turn::Lead => self.lead(Some(&ticket)),
                Turn::Wait => drop(waiter.wait(None)),
            }
        }
    }

    /// The same as a future. It never leads, because that blocks; if no thread does, one is started.
    fn submit<T: 'static>(
        self: &Arc<Self>,
        request: Request,
        finish: impl FnOnce(&Self, Answer) -> T + Send + 'static,
    ) -> Submitted<T> {
        if let Err(error) = self.check_open() {
            self.observer.failed(&error);
            return Submitted::Done(Err(error.into()));
        }
        let ticket = Ticket::new(Some(request), false);
        if self.queue.push(&ticket) {
            // As if this future had led: it hands over to itself.
            self.hand_over();
        }
        // Made here, so that it is also withdrawn if the future is never polled.
        let waiting = Waiting(Arc::clone(self), ticket);
        Submitted::Waiting(Box::pin(async move {
            let Waiting(shared, ticket) = &waiting;
            loop {
                let waiter = ticket.changed().listen();
                if let Turn::Return(outcome) = ticket.turn() {
                    return Ok(finish(shared, outcome?));
                }
                waiter.await;
            }
        }))
    }

    /// Waits for the callers that came before, until the deadline, and keeps later ones waiting until the
    /// guard is dropped.
    ///
    /// # Errors
    ///
    /// `Unsupported` on the thread that leads, where an observer made the call, and `Busy` at the deadline.
    fn lead_alone(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Lead<'_, S>> {
        self.check_not_leading()?;
        let ticket = Ticket::new(None, true);
        if self.queue.push(&ticket) {
            return Ok(Lead::new(self, None));
        }
        let mut waits = true;
        loop {
            let waiter = ticket.changed().listen();
            if matches!(ticket.turn(), Turn::Lead) {
                return Ok(Lead::new(self, None));
            }
            if !waits {
                return Err(Error::new(
                    ErrorKind::Busy,
                    "a mutation or a repair is still in progress; its caller gets the outcome, and no other one \
                     is accepted; close again to wait for it",
                ));
            }
            waits = waiter.wait(deadline);
            if !waits {
                // From here on it does not get the lead, but it may have it.
                self.queue.withdraw(&ticket);
            }
        }
    }

    /// Commits what is queued until the own ticket is answered, or no one waits, and hands over.
    fn lead(self: &Arc<Self>, own: Option<&Arc<Ticket>>) {
        let mut lead = Lead::new(self, own);
        loop {
            let tickets = self.queue.take();
            if tickets.is_empty() {
                break;
            }
            self.commit(tickets);
            if own.is_some_and(|own| own.is_answered()) {
                break;
            }
        }
        lead.own = None;
    }

    fn hand_over(self: &Arc<Self>) {
        let mut failed = None;
        while matches!(self.queue.hand_over(), NextLeader::Thread) {
            let shared = Arc::clone(self);
            let thread = thread::Builder::new().name("shape-meta-commit".into());
            let Err(error) = thread.spawn(move || shared.lead(None)) else { break };
            let message = format!(
                "the thread that commits for futures could not be started: {error}; nothing has changed; try \
                 again"
            );
            let error = Error::new(ErrorKind::Io, message).with_source(error);
            self.queue.take_leaderless().drain().for_each(|ticket| ticket.answer(Err(error.clone().into())));
            failed = Some(error);
        }
        // Once the lead is handed over, since an observer may panic.
        failed.iter().for_each(|error| self.observer.failed(error));
    }
}

/// Transactions, by the leader.
impl<S: ShapeStore + 'static> Shared<S> {
    /// Validates the mutations of these callers in their order, commits the changes in one transaction, and
    /// answers. A mutation that concerns a shape that is changed already waits for the next transaction, and
    /// is the first in it.
    fn commit(&self, mut callers: Callers) {
        let mut writer = self.writer();
        // Those that came before close began are committed, unless its deadline has passed.
        if self.condition().phase == Phase::Closed {
            let error = Error::closed();
            callers.drain().for_each(|ticket| self.fail(&ticket, &error));
            return;
        }
        let last = match self.inner.last_seq() {
            Ok(last) => last,
            Err(error) => return self.fail_all(callers, &error),
        };
        let mut transaction = Transaction::after(last);
        let mut claims = Claims::new(&self.inner);
        let mut postponed = self.queue.postpone();
        let mut succeeded = false;
        while let Some((ticket, request)) = callers.first() {
            let outcome = match transaction.excludes(&request.mutation) {
                true => Ok(Validated::Postponed),
                false => self.validated(request, &transaction, &mut claims),
            };
            match outcome {
                Ok(Validated::Change(change)) => transaction.push(Arc::clone(ticket), change),
                Ok(Validated::Removals(removed)) => transaction.push_all(Arc::clone(ticket), removed),
                Ok(Validated::Postponed) => {
                    postponed.push(Arc::clone(ticket));
                    transaction.exclude(&request.mutation);
                    if request.mutation.is_of_many() {
                        // What came after it is not removed by it.
                        transaction.close();
                    }
                }
                Ok(Validated::Answer(answer)) => {
                    succeeded = true;
                    ticket.answer(Ok(answer));
                }
                Err(MutateError::Refused(refusal)) => {
                    if !refusal.is_retryable() || request.attempt.is_final {
                        self.observer.refused(&refusal);
                    }
                    ticket.answer(Err(refusal.into()));
                }
                Err(MutateError::Failed(error)) => self.fail_all(Callers::one(ticket), &error),
            }
            callers.remove_first();
        }
        drop(postponed);
        if !transaction.is_empty() {
            succeeded |= self.apply(transaction, claims);
        }
        if succeeded && writer.saved.elapsed() >= writer.last_read_save_interval && !self.save_reads() {
            writer.saved = Instant::now();
        }
    }

    fn validated(
        &self,
        request: &Request,
        transaction: &Transaction,
        claims: &mut Claims<'_, S>,
    ) -> Result<Validated, MutateError> {
        let answer = |existing| Validated::Answer(Answer { seq: transaction.last(), existing });
        if let Mutation::Add(shape) = &request.mutation {
            if request.or_get
                && let Some(handle) = self.inner.handle_for(&shape.key)?
            {
                return Ok(answer(Some(handle)));
            }
            self.limits.check(shape)?;
        }
        if let Mutation::RemoveAll(removal) = &request.mutation {
            if !transaction.is_empty() {
                return Ok(Validated::Postponed);
            }
            // Nothing else changes the store meanwhile, so all of it is as of one moment.
            let removed = removal.select(&self.inner)?.into_shapes(|entry| Some(Arc::clone(entry)));
            return Ok(if removed.is_empty() { answer(None) } else { Validated::Removals(removed) });
        }
        let existing = Existing::of(&request.mutation, &self.inner)?;
        let change = validate(&request.mutation, existing, transaction.next_seq())?;
        Ok(match change {
            None => answer(None),
            // Alone in its transaction, because everything else rests on what it removes.
            Some(Change::Reset) if !transaction.is_empty() => Validated::Postponed,
            Some(change) => {
                if let Change::Add { record, .. } = &change {
                    self.reserved.check(record.handle())?;
                    if self.creation_counts_as_read.load(Ordering::Relaxed) {
                        record.entry.touch_at_creation();
                    }
                }
                if let (Mutation::RemoveUnread { since, .. }, Change::Remove { entry }) =
                    (&request.mutation, &change)
                    && !claims.claim(entry, *since)
                {
                    return Err(Refusal::ReadSince { handle: entry.handle().clone() }.into());
                }
                Validated::Change(change)
            }
        })
    }

    /// Applies a transaction, which is emitted as a flush, and answers its callers. Returns whether it is
    /// committed.
    fn apply(&self, transaction: Transaction, claims: Claims<'_, S>) -> bool {
        let (batch, mut callers) = transaction.finish();
        let mut wake = WakeOnDrop { waits: &self.waits, committed: None };
        match self.apply_batch(&batch, &callers) {
            Ok(()) => {
                claims.keep();
                wake.committed = Some(&batch);
                drop(wake);
                self.tracker.settle(batch.through);
                // A single caller has all of the changes.
                let first = batch.through.get() - callers.iter().count() as u64 + 1;
                for (seq, ticket) in (first..).map(Seq::new).zip(callers.drain()) {
                    ticket.answer(Ok(Answer { seq, existing: None }));
                }
                true
            }
            // Nothing was applied. Which change was rejected shows when each is applied alone.
            Err(error) if callers.iter().count() > 1 && error.kind().remedy() == Remedy::Isolate => {
                self.queue.put_back_alone(callers);
                false
            }
            Err(error) => {
                self.fail_all(callers, &error);
                false
            }
        }
    }

    fn apply_batch(&self, batch: &Batch, callers: &Callers) -> Result<()> {
        let bytes = batch.changes.iter().map(Change::memory).sum();
        let span = self.observer.begin(Activity::Flush { changes: batch.changes.len(), bytes });
        let begun = Instant::now();
        let outcome = self.apply_and_publish(batch);
        let took = begun.elapsed();
        if let Some(span) = span {
            span.end(outcome.as_ref().err());
        }
        outcome?;
        // Only a write shows that the disk works; a mutation without effect does not reach this line.
        self.condition().succeeded();
        if self.observer.wants_committed() {
            batch.changes.iter().for_each(|change| self.observer.committed(change));
        }
        let changes = batch.changes.len();
        // A mutation that is queued is not accepted yet, so no change is older than its transaction.
        let stats = FlushStats { mutations: changes as u64, changes, bytes, took, oldest: took };
        self.observer.flushed(&stats);
        if self.timed {
            let mut latencies = Latencies::default();
            for (ticket, request) in callers.iter() {
                latencies.record(request.attempt.first_tried.unwrap_or(ticket.queued_at).elapsed());
            }
            self.observer.acknowledged(&latencies);
        }
        Ok(())
    }

    /// Applies a batch, and gives it to the subscribers if it is committed: before an observer that may panic
    /// is called, and before any caller is answered. The caller holds `writer`.
    fn apply_and_publish(&self, batch: &Batch) -> Result<()> {
        let doubt = InDoubt(&self.feeds);
        let outcome = self.inner.apply(batch);
        std::mem::forget(doubt);
        if self.feeds.watched().by_none() {
            return outcome;
        }
        let is_committed = match &outcome {
            Ok(()) => Ok(true),
            // An earlier batch, whose answer was lost, was found.
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(()),
            // The answer may have been lost.
            Err(_) => self.inner.last_seq().map(|last| last >= batch.through).map_err(drop),
        };
        match is_committed {
            Ok(true) => {
                self.feeds.publish(&[FeedStage::Visible, FeedStage::Durable], FeedChange::of_batch(batch));
            }
            Ok(false) => {}
            Err(()) => drop(InDoubt(&self.feeds)),
        }
        outcome
    }

    /// Answers all of these callers with a failed write.
    fn fail_all(&self, mut callers: Callers, error: &Error) {
        let stopped = self.condition().failed(error);
        callers.drain().for_each(|ticket| self.fail(&ticket, error));
        if stopped {
            self.observer.stopped(error);
        }
    }

    /// Answers first, since an observer may panic.
    fn fail(&self, ticket: &Ticket, error: &Error) {
        ticket.answer(Err(error.clone().into()));
        self.observer.failed(error);
    }

    /// Saves a part of the last-read times. Returns whether there are more. A failure is emitted to the
    /// observer only; the next sweep retries the same times.
    fn save_reads(&self) -> bool {
        let swept = Activity::SaveReads.observed(&*self.observer, || self.inner.sweep_reads());
        swept.is_ok_and(|swept| swept.more)
    }

    /// Saves the last-read times on another thread, and waits for that until the deadline. A save that hangs
    /// keeps the thread.
    fn save_all_reads(self: &Arc<Self>, deadline: Option<Instant>) {
        let ended = Arc::new((AtomicBool::new(false), Signal::new()));
        let has_time = move || deadline.is_none_or(|deadline| Instant::now() < deadline);
        let save = {
            let (ended, shared) = (Arc::clone(&ended), Arc::clone(self));
            move || {
                // The close leads, and waits for this thread.
                shared.leading().push(thread::current().id());
                // A panic of the store or of the observer ends it; the times are saved again after an open.
                let _ = catch_unwind(AssertUnwindSafe(|| while shared.save_reads() && has_time() {}));
                shared.leads_no_more();
                // Close may be followed by another open, which needs what the store owns.
                drop(shared);
                ended.0.store(true, Ordering::Release);
                ended.1.raise();
            }
        };
        if thread::Builder::new().name("shape-meta-close".into()).spawn(save).is_err() {
            // Without a thread, one part is saved here.
            self.save_reads();
            return;
        }
        let deadline = deadline.map(|deadline| deadline.max(Instant::now() + GRACE));
        loop {
            let waiter = ended.1.listen();
            if ended.0.load(Ordering::Acquire) || !waiter.wait(deadline) {
                return;
            }
        }
    }
}

/// Wakes the waits for shapes when this is dropped: those for the shapes of the batch that was committed, or
/// all, because a transaction that fails, or panics, may be committed all the same.
struct WakeOnDrop<'a> {
    waits: &'a ShapeWaits,
    committed: Option<&'a Batch>,
}

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        match self.committed {
            Some(batch) => batch.changes.iter().for_each(|change| self.waits.changed_by(change)),
            None => self.waits.all_changed(),
        }
    }
}

/// Ends the feeds when it is dropped, also by a panic: it is not known whether a transaction is committed.
struct InDoubt<'a>(&'a Feeds);

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        self.0.list_anew("a transaction failed, and whether it is committed is not known");
    }
}

/// What becomes of a mutation that is not refused.
enum Validated {
    Change(Change),
    /// These shapes are removed, in a transaction of their own.
    Removals(Vec<Arc<Entry>>),
    /// It waits for the next transaction.
    Postponed,
    /// It changes nothing.
    Answer(Answer),
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ReadShapes for Direct<S> {
    forward_reads!(self => self.0.inner);
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> AwaitShapes for Direct<S> {
    fn shape_waits(&self) -> Arc<ShapeWaits> {
        Arc::clone(&self.0.waits)
    }

    /// What reads show is committed.
    fn shown_receipt(&self) -> Option<Receipt> {
        None
    }

    /// Where it is polled: a layer has no other thread for reads.
    fn look_up_elsewhere(&self, _: &Handle) -> Option<LookUp> {
        None
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> MutateShapes for Direct<S> {
    fn get(&self, key: &Key) -> Result<Option<GetOrAdd>> {
        self.0.find(key)
    }

    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.attempt(mutation, AttemptContext::ONLY)
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.attempt_get_or_add(shape, AttemptContext::ONLY)
    }

    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        let answer = self.0.call(Request { mutation: mutation.clone(), or_get: false, attempt })?;
        Ok(self.0.receipt(answer.seq))
    }

    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        if let Some(found) = self.0.find(&shape.key)? {
            return Ok(found);
        }
        let mutation = Mutation::Add(shape.clone());
        let answer = self.0.call(Request { mutation, or_get: true, attempt })?;
        Ok(self.0.added_or_found(shape, answer))
    }

    /// Waits in the queue without blocking. If no thread commits, one is started, and ends with the queue.
    fn submit(&self, mutation: &Mutation, attempt: AttemptContext) -> Submitted<Receipt> {
        let request = Request { mutation: mutation.clone(), or_get: false, attempt };
        self.0.submit(request, |shared, answer| shared.receipt(answer.seq))
    }

    fn submit_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Submitted<GetOrAdd> {
        let request = Request { mutation: Mutation::Add(shape.clone()), or_get: true, attempt };
        let shape = shape.clone();
        self.0.submit(request, move |shared, answer| shared.added_or_found(&shape, answer))
    }

    /// There is always capacity; only a reserved handle is waited for.
    fn capacity_signal(&self) -> Option<&Signal> {
        Some(self.0.reserved.released())
    }
}

/// Nothing is ever pending, so most methods have nothing to do.
#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> StoreControl for Direct<S> {
    fn request_flush(&self) -> Receipt {
        self.0.receipt(self.0.tracker.settled())
    }

    fn flush(&self, _: Duration) -> Result<(), NotDurable> {
        Ok(())
    }

    fn pause(&self) {}

    fn resume(&self) {}

    /// Waits for the transaction in progress. Changes are visible and durable at the same time.
    fn subscribe(&self, options: &FeedOptions) -> Result<Feed, FeedError> {
        self.0.check_not_leading()?;
        let _no_transaction = self.0.writer();
        let last = self.0.inner.last_seq()?;
        let mut feed = self.0.feeds.subscribe(options, last, self.0.opened_at)?;
        feed.catch_up_from(&self.0.inner, options, last.max(self.0.opened_at.next()))?;
        Ok(feed)
    }

    fn pending(&self) -> Pending {
        Pending::default()
    }

    fn drain_rate(&self) -> f64 {
        0.0
    }

    /// The health as of the latest mutation, and of the lease. Nothing is ever pending, so the durability
    /// window is zero.
    fn health(&self) -> Health {
        let mut health = self.0.condition().health();
        if health.is_ready()
            && let Err(error) = self.0.inner.check_lease()
        {
            health.state = HealthState::refusing(error);
        }
        health
    }

    fn usage(&self) -> Usage {
        self.0.inner.resource_usage()
    }

    /// Mutations wait until the repair is complete.
    fn repair(&self) -> Result<Repaired> {
        let _lead = self.0.lead_alone(None)?;
        if self.0.condition().phase != Phase::Open {
            return Err(Error::closed());
        }
        let repaired = self.0.inner.rebuild_from(TrustedState::default())?;
        self.0.feeds.repaired(self.0.tracker.settled());
        self.0.condition().succeeded();
        // Some may be lost.
        self.0.waits.all_changed();
        Ok(repaired)
    }

    /// Waits for the mutations that are queued. Nothing is ever pending.
    fn reserve_handles(&self, handles: &[Handle]) -> Result<Reservation> {
        let lead = self.0.lead_alone(None)?;
        let reservation = self.0.reserved.reserve(handles);
        drop(lead);
        reservation.set_states(|_, handle| {
            let live = self.0.inner.metadata(handle)?;
            Ok(live.map_or(HandleState::Free, |live| HandleState::Live { created: live.created }))
        })
    }

    /// Refuses mutations from now on, waits for those that are queued, and saves the last-read times.
    ///
    /// The timeout holds whatever hangs. A mutation in progress then returns its outcome to its caller, and
    /// the report has the error `Busy`; a save that hangs is left on its thread. Closing again saves what an
    /// earlier close did not come to. Feeds end after the mutation in progress.
    fn close(&self, timeout: Duration) -> CloseReport {
        let begun = Instant::now();
        let deadline = begun.checked_add(timeout);
        let report = |error| CloseReport { error, took: begun.elapsed(), ..CloseReport::default() };
        if let Err(error) = self.0.check_not_leading() {
            return report(Some(error));
        }
        {
            let mut condition = self.0.condition();
            if condition.phase == Phase::Open {
                condition.phase = Phase::Closing;
            }
        }
        let lead = match self.0.lead_alone(deadline) {
            Ok(lead) => lead,
            Err(error) => {
                self.0.condition().phase = Phase::Closed;
                self.0.waits.close();
                // A transaction in progress may have changes for the feeds. Its thread ends them: it sees
                // that the store is closed when it has given up the lock.
                if self.0.has_no_transaction() {
                    self.0.feeds.close();
                }
                return report(Some(error));
            }
        };
        let is_first = !std::mem::replace(&mut self.0.writer().closed, true);
        if is_first {
            let span = self.0.observer.begin(Activity::Close);
            if !self.0.condition().is_stopped() {
                self.0.save_all_reads(deadline);
            }
            if let Some(span) = span {
                span.end(None);
            }
        }
        self.0.condition().phase = Phase::Closed;
        self.0.waits.close();
        self.0.feeds.close();
        drop(lead);
        report(None)
    }
}
