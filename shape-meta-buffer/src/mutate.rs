//! Mutations: validated against the overlay and the store below, and inserted into the active generation.

use std::{sync::Arc, time::Instant};

use shape_meta_core::{
    AttemptContext, Change, Error, ErrorKind, Existing, GetOrAdd, Handle, HandleState, Key, MutateError,
    Mutation, NewShape, Receipt, Record, Refusal, Reservation, Result, Seq, ShapeStore, ShapeStoreExt,
    SnapshotState,
    feed::{FeedChange, FeedStage, Watched},
    validate, validate_add,
};

use crate::{
    backpressure::Needs,
    memtable::{CountDelta, DroppedSince, Hashes, Lookup, State},
    shared::Shared,
};

/// The number of handles that are reserved under the overlay's lock at once.
const RESERVED_AT_ONCE: usize = 64;

/// The outcome of a mutation that was not refused.
pub(crate) enum Accepted {
    /// The change has this sequence number.
    New(Seq),
    /// The removals in bulk have the sequence numbers from the first to the last of these.
    All(Seq, Seq),
    /// The removal in bulk concerns no live shape. Everything accepted so far has this sequence number.
    Nothing(Seq),
    /// The change would have no effect. The outcome rests on the add of the shape (`created`), and is durable
    /// once everything accepted so far (`last`) is settled.
    NoOp { created: Seq, last: Seq },
    /// A live shape has the key. Its add has this sequence number if it is pending; otherwise it is on disk.
    Held(Handle, Option<Seq>),
}

/// The live shape that has a key.
pub(crate) struct Holder {
    pub(crate) handle: Handle,
    /// The sequence number of its add, if that is pending. Otherwise the shape is on disk.
    pending: Option<Seq>,
}

impl<S: ShapeStore> Shared<S> {
    pub(crate) fn mutate(
        &self,
        mutation: &Mutation,
        attempt: AttemptContext,
    ) -> Result<Receipt, MutateError> {
        let started_at = self.started_at(attempt);
        let limits = match mutation {
            Mutation::Add(shape) => self.options.limits.check(shape),
            _ => Ok(()),
        };
        let accepted = limits.map_err(MutateError::from).and_then(|()| match mutation {
            Mutation::RemoveAll(removal) => self.accept_all(removal, started_at),
            _ => self.accept(mutation, Ok(()), started_at),
        });
        let outcome = accepted.and_then(|accepted| match accepted {
            Accepted::New(seq) => Ok(self.receipt(seq)),
            Accepted::All(first, last) => Ok(self.receipt_up_to(last).relying_on_all(first, last)),
            Accepted::Nothing(last) => Ok(self.receipt_up_to(last)),
            Accepted::NoOp { created, last } => Ok(self.receipt_up_to(last).relying_on(created)),
            Accepted::Held(held_by, _) => {
                let Mutation::Add(shape) = mutation else { unreachable!("only an add has a key") };
                Err(Refusal::DuplicateKey { key: shape.key, held_by }.into())
            }
        });
        self.report(outcome, attempt)
    }

    pub(crate) fn get_or_add(
        &self,
        shape: &NewShape,
        attempt: AttemptContext,
    ) -> Result<GetOrAdd, MutateError> {
        match self.find(&shape.key) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => return self.report(Err(error.into()), attempt),
        }
        let started_at = self.started_at(attempt);
        // A live key is found, however large the rest of the new shape is.
        let limits = self.options.limits.check(shape);
        let outcome = self.accept(&Mutation::Add(shape.clone()), limits, started_at).map(|accepted| {
            let (handle, added, receipt) = match accepted {
                Accepted::New(seq)
                | Accepted::All(_, seq)
                | Accepted::Nothing(seq)
                | Accepted::NoOp { created: seq, .. } => (shape.handle.clone(), true, self.receipt(seq)),
                Accepted::Held(handle, Some(created)) => (handle, false, self.receipt(created)),
                Accepted::Held(handle, None) => {
                    (handle, false, self.receipt_up_to(self.durability.settled()))
                }
            };
            GetOrAdd { handle, added, receipt }
        });
        self.report(outcome, attempt)
    }

    /// Returns the live shape with this key: from the overlay, then from the store below (I3).
    pub(crate) fn holder_of(&self, key: &Key) -> Result<Option<Holder>> {
        if !self.overlay.is_empty() {
            let hash = self.overlay.hashing.key(key);
            if self.overlay.may_contain(hash)
                && let Some(holder) = self.overlay.read().key(hash, key)
            {
                let pending = |record: &Arc<Record>| Holder {
                    handle: record.handle().clone(),
                    pending: Some(record.entry.created()),
                };
                return Ok(holder.map(pending));
            }
        }
        Ok(self.store.handle_for(key)?.map(|handle| Holder { handle, pending: None }))
    }

    /// Returns the live shape with this key, with a receipt for its add.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<GetOrAdd>> {
        let found = |Holder { handle, pending }| {
            let on_disk = || self.receipt_up_to(self.durability.settled());
            let receipt = pending.map_or_else(on_disk, |created| self.receipt(created));
            GetOrAdd { handle, added: false, receipt }
        };
        Ok(self.holder_of(key)?.map(found))
    }

    /// Reserves handles under the lock under which adds are inserted, a few at a time, so that readers and
    /// mutations wait for a few look-ups at most.
    ///
    /// A handle of which no generation knows anything is looked up below after that. No add can come in
    /// between, and a removal in between shows as live until it is published. So a handle that is not live
    /// below is free: its removal, if there was one, is durable.
    pub(crate) fn reserve_handles(&self, handles: &[Handle]) -> Result<Reservation> {
        let hashing = &self.overlay.hashing;
        let hashes: Vec<_> = handles.iter().map(|handle| hashing.handle(handle.as_bytes())).collect();
        let mut is_pending = Vec::with_capacity(handles.len());
        let mut reservation = self.reserved.reserve(&[]);
        for (handles, hashes) in handles.chunks(RESERVED_AT_ONCE).zip(hashes.chunks(RESERVED_AT_ONCE)) {
            let state = self.overlay.write();
            reservation.extend(handles);
            let pending = |(handle, hash): (&Handle, &u64)| state.handle(*hash, handle.as_bytes()).is_some();
            is_pending.extend(handles.iter().zip(hashes).map(pending));
        }
        reservation.set_states(|at, handle| {
            if is_pending[at] {
                return Ok(HandleState::Pending);
            }
            let live = self.store.metadata(handle)?;
            Ok(live.map_or(HandleState::Free, |live| HandleState::Live { created: live.created }))
        })
    }

    /// Returns when the caller started, if the observer wants latencies.
    fn started_at(&self, attempt: AttemptContext) -> Option<Instant> {
        self.measures_latency.then(|| attempt.first_tried.unwrap_or_else(Instant::now))
    }

    /// Reports a refusal or a failure to the observer. An overload is reported on the last attempt only,
    /// since the caller waits and retries before.
    fn report<T>(&self, outcome: Result<T, MutateError>, attempt: AttemptContext) -> Result<T, MutateError> {
        match &outcome {
            Err(MutateError::Refused(refusal)) if refusal.is_retryable() && !attempt.is_final => {}
            Err(MutateError::Refused(refusal)) => self.observer.refused(refusal),
            Err(MutateError::Failed(error)) => self.observer.failed(error),
            Ok(_) => {}
        }
        outcome
    }

    /// Validates a mutation and inserts its change into the active generation. `limits` is the outcome of the
    /// size check, which counts only if the shape would be added.
    ///
    /// The store below is read before the lock is taken, so that no disk work runs under it (I5). The answer
    /// holds for what the overlay has nothing about, unless a generation was dropped in between. If one was,
    /// the overlay is pinned, and the store below is read once more. Then the overlay has an answer for all
    /// that was dropped since, and the second attempt decides, whatever is flushed meanwhile (I9). Only a
    /// whole repair of the store below during the second one makes it fail: `Busy`.
    fn accept(
        &self,
        mutation: &Mutation,
        limits: Result<(), Refusal>,
        started_at: Option<Instant>,
    ) -> Result<Accepted, MutateError> {
        let hashing = &self.overlay.hashing;
        let hashes = Hashes {
            handle: mutation.handle().map_or(0, |handle| hashing.handle(handle.as_bytes())),
            key: match mutation {
                Mutation::Add(shape) => hashing.key(&shape.key),
                _ => 0,
            },
        };
        let mut allocated = None;
        // The shape of a mark is usually pending, and then the store below need not be read.
        let mut reads_below =
            matches!(mutation, Mutation::Add(_)) || !self.overlay.may_contain(hashes.handle);
        let mut pin: Option<(DroppedSince, u64)> = None;
        loop {
            let drops = self.overlay.drops();
            let below = if reads_below { Some(Existing::of(mutation, &self.store)?) } else { None };
            if let (Mutation::Add(shape), Some(Existing { by_key: None, .. })) = (mutation, &below) {
                // Allocated before the lock is taken, and given its sequence number under it.
                allocated.get_or_insert_with(|| Arc::new(shape.record(Seq::ZERO)));
            }
            let mut state = self.overlay.write_queued();
            if let Some(error) = state.writing.refusal().or_else(|| self.store.check_lease().err()) {
                return Err(error.into());
            }
            if pin.as_ref().is_some_and(|(_, rebuilds)| *rebuilds != state.rebuilds) {
                return Err(rebuilt_meanwhile().into());
            }
            let is_outdated = pin.is_none() && reads_below && self.overlay.drops() != drops;
            let dropped = pin.as_ref().map(|(dropped, _)| dropped);
            let found = if is_outdated { None } else { existing(&state, dropped, mutation, hashes, below) };
            let Some(existing) = found else {
                // Happens once: with a pin, the store below was read and its answer is not outdated.
                pin = Some((state.pin(), state.rebuilds));
                reads_below = true;
                continue;
            };
            let seq = state.last.next();
            let (change, definition_bytes) = match (mutation, &existing.by_key) {
                (Mutation::Add(shape), Some(held_by)) => {
                    let pending = key_in(&state, dropped, hashes.key, &shape.key).flatten();
                    let created = pending.map(|record| record.entry.created());
                    return Ok(Accepted::Held(held_by.clone(), created));
                }
                (Mutation::Add(shape), None) => {
                    if let Err(refusal) = limits {
                        return Err(refusal.into());
                    }
                    validate_add(shape, existing)?;
                    self.reserved.check(&shape.handle)?;
                    let record = allocated.take().unwrap_or_else(|| Arc::new(shape.record(seq)));
                    let record = record.with_seq(seq);
                    if self.options.creation_counts_as_read {
                        record.entry.touch_at_creation();
                    }
                    let change = Change::Add { record, state: SnapshotState::Pending };
                    (change, shape.definition.len())
                }
                _ => {
                    let created = existing.by_handle.as_ref().map(|(entry, _)| entry.created());
                    match validate(mutation, existing, seq)? {
                        Some(change) => (change, 0),
                        None => {
                            let created = created.unwrap_or(seq);
                            return Ok(Accepted::NoOp { created, last: state.last });
                        }
                    }
                }
            };
            if let Err(refusal) =
                self.backpressure.check(&state, needs(&state, &change, hashes, definition_bytes))
            {
                let last = state.last;
                drop(state);
                // Due at once, whatever size and age say.
                self.requests.need(last);
                return Err(refusal.into());
            }
            let hashes = self.announce(&state, &change, hashes);
            if let (Mutation::RemoveUnread { since, .. }, Change::Remove { entry }) = (mutation, &change)
                && !self.store.claim(entry, *since)
            {
                self.overlay.withdraw(&state);
                return Err(Refusal::ReadSince { handle: entry.handle().clone() }.into());
            }
            // An add ends no wait, and a copy of it would be one more reference to free.
            let ends_waits = (!matches!(change, Change::Add { .. })).then(|| change.clone());
            let mut inserted = Inserted::default();
            self.insert_and_emit(&mut state, change, hashes, seq, &mut inserted);
            if let Some(started_at) = started_at {
                // Under the lock, where a look at the clock costs those that wait for it. Outside, all
                // threads would write one table of atomics.
                state.active.record_latency(started_at.elapsed());
            }
            drop(state);
            if let Some(change) = &ends_waits {
                self.waits.changed_by(change);
            }
            self.finish(inserted);
            return Ok(Accepted::New(seq));
        }
    }

    /// Inserts an accepted change, and emits it. [`finish`](Self::finish) does the rest.
    pub(crate) fn insert_and_emit(
        &self,
        state: &mut State,
        change: Change,
        hashes: Hashes,
        seq: Seq,
        inserted: &mut Inserted,
    ) {
        let watched = self.feeds.watched();
        let fed = if watched.by_none() { None } else { FeedChange::of(seq, &change) };
        inserted.wakes_flusher |= self.insert(state, change, hashes, seq);
        inserted.is_emitted |= fed.is_some_and(|fed| self.emit(state, fed, watched));
    }

    /// Does what insertions have left for the time without the overlay's lock.
    pub(crate) fn finish(&self, inserted: Inserted) {
        if inserted.is_emitted {
            self.feeds.deliver();
        }
        if inserted.wakes_flusher {
            self.requests.wake();
        }
    }

    /// Emits a change that was just inserted: to the feeds of visible changes now, and to those of durable
    /// changes with its generation. Returns whether there is something to deliver.
    fn emit(&self, state: &mut State, fed: FeedChange, watched: Watched) -> bool {
        if watched.at(FeedStage::Durable) {
            state.active.feed(fed.clone());
        }
        let is_visible = watched.at(FeedStage::Visible);
        if is_visible {
            self.feeds.accept(fed);
        }
        is_visible
    }

    /// Makes readers of what a change concerns take the lock from now on, so that they see the change once it
    /// is inserted, or wait until that is decided. Returns the hashes of the change.
    ///
    /// Only the change of a removal says which key it frees, so that hash is computed here.
    pub(crate) fn announce(&self, state: &State, change: &Change, mut hashes: Hashes) -> Hashes {
        let (filter, hashing) = (self.overlay.active_filter(state), &self.overlay.hashing);
        match change.entry() {
            None => filter.set_all(),
            Some(entry) => {
                filter.set(hashes.handle);
                if !matches!(change, Change::Mark { .. }) {
                    if matches!(change, Change::Remove { .. }) {
                        hashes.key = hashing.key(entry.key());
                    }
                    filter.set(hashes.key);
                    for relation in entry.relations().iter() {
                        filter.set(hashing.relation(*relation));
                    }
                }
            }
        }
        self.overlay.announce();
        hashes
    }

    /// Inserts an accepted change into the active generation. Returns whether the flusher has to be woken.
    fn insert(&self, state: &mut State, change: Change, hashes: Hashes, seq: Seq) -> bool {
        let (was_empty, was_due) = (state.active.is_empty(), self.options.is_large(&state.active));
        if let Change::Reset = &change {
            (state.counts, state.shared_handles) = (CountDelta::default(), 0);
            state.active.insert(change, hashes, seq);
        } else {
            let before = state.active.count_delta();
            if let Some(entry) = change.entry()
                && !state.active.knows(hashes.handle, entry.handle().as_bytes())
                && state.is_sealed(hashes.handle, entry.handle().as_bytes())
            {
                state.shared_handles += 1;
            }
            state.active.insert(change, hashes, seq);
            state.counts += state.active.count_delta() - before;
        }
        state.last = seq;
        self.overlay.acknowledge(state);
        state.active.has_whole_replaced() || was_empty || (!was_due && self.options.is_large(&state.active))
    }
}

/// What changes that were inserted leave to do without the overlay's lock.
#[derive(Debug, Default)]
pub(crate) struct Inserted {
    wakes_flusher: bool,
    /// Whether feeds have something to deliver.
    is_emitted: bool,
}

/// Returns the error of a mutation during whose two looks below that store was rebuilt.
pub(crate) fn rebuilt_meanwhile() -> Error {
    Error::new(
        ErrorKind::Busy,
        "the database was repaired while this change was validated; nothing has changed; try the change again",
    )
}

/// Returns the capacity that a change needs.
fn needs(state: &State, change: &Change, hashes: Hashes, definition_bytes: usize) -> Needs {
    let Some(entry) = change.entry() else {
        // A reset replaces what the active generation has.
        return if state.active.is_empty() { Needs::Shape(0) } else { Needs::Nothing };
    };
    match (state.is_pending(hashes.handle, entry.handle().as_bytes()), change) {
        (true, Change::Add { .. }) => Needs::Bytes(definition_bytes),
        (true, _) => Needs::Nothing,
        (false, _) => Needs::Shape(definition_bytes),
    }
}

/// Returns the live shapes with the handle and the key of a mutation: from the overlay, with what was dropped
/// from it since the pin, then from `below`. Returns `None` if the store below decides and was not read.
fn existing(
    state: &State,
    pin: Option<&DroppedSince>,
    mutation: &Mutation,
    hashes: Hashes,
    below: Option<Existing>,
) -> Option<Existing> {
    let Some(handle) = mutation.handle() else { return Some(Existing::default()) };
    let found = match pin {
        Some(dropped) => state.handle_since(dropped, hashes.handle, handle.as_bytes()),
        None => state.handle(hashes.handle, handle.as_bytes()),
    };
    let pending = found.map(|found| match found {
        Lookup::Added(record, snapshot) => Some((Arc::clone(&record.entry), snapshot)),
        Lookup::Marked(entry, snapshot) => Some((Arc::clone(entry), snapshot)),
        Lookup::Tombstone => None,
    });
    let (below_handle, below_key) = match below {
        Some(found) => (Some(found.by_handle), Some(found.by_key)),
        None => (None, None),
    };
    let by_handle = pending.or(below_handle)?;
    let by_key = match mutation {
        Mutation::Add(shape) => match key_in(state, pin, hashes.key, &shape.key) {
            Some(holder) => holder.map(|record| record.handle().clone()),
            None => below_key?,
        },
        _ => None,
    };
    Some(Existing { by_handle, by_key })
}

fn key_in<'a>(
    state: &'a State,
    pin: Option<&'a DroppedSince>,
    hash: u64,
    key: &Key,
) -> Option<Option<&'a Arc<Record>>> {
    match pin {
        Some(dropped) => state.key_since(dropped, hash, key),
        None => state.key(hash, key),
    }
}
