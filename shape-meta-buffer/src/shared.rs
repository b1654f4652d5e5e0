use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use shape_meta_core::{
    AttemptContext, Change, DurabilityTracker, Error, Existing, GetOrAdd, Handle, Key, MutateError, Mutation,
    NewShape, Observer, Pending, Receipt, Refusal, Result, Seq, ShapeStore, Signal, SnapshotState, validate,
    validate_add,
};

use crate::{
    BufferOptions,
    flush::Committed,
    flush::DrainRate,
    flush::NextSave,
    flush::{Trouble, Turn},
    flusher_pool::Task,
    lifecycle::Condition,
    memtable::CountDelta,
    memtable::Hashing,
    memtable::{Gate, Overlay, State},
    memtable::{Generation, Hashes, Seen},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What the callers and whoever flushes have in common.
pub(crate) struct Shared<S> {
    pub(crate) inner: S,
    pub(crate) overlay: Overlay,
    pub(crate) hashing: Hashing,
    pub(crate) options: BufferOptions,
    pub(crate) observer: Arc<dyn Observer>,
    /// Whether the observer wants to hear how long mutations took.
    pub(crate) timed: bool,
    pub(crate) progress: Arc<DurabilityTracker>,
    pub(crate) room: Signal,
    pub(crate) drain: DrainRate,
    /// Held by whoever flushes, across disk work. No reader and no mutation wants it.
    pub(crate) turn: Mutex<Turn>,
    /// What is committed and not published yet. Only whoever has the turn puts something here.
    pub(crate) committed: Mutex<Option<Committed>>,
    pub(crate) trouble: Mutex<Option<Trouble>>,
    pub(crate) condition: Mutex<Condition>,
    pub(crate) paused: AtomicBool,
    /// Somebody asked for a flush since the flusher has looked: reason enough not to wait for a back-off.
    pub(crate) requested: AtomicBool,
    /// The place up to which somebody asked: a flush is due until all before it is settled.
    pub(crate) asked: AtomicU64,
    pub(crate) next_save: NextSave,
    /// Wakes a flusher thread; empty in manual mode.
    pub(crate) task: OnceLock<Arc<Task>>,
}

/// What a mutation came to.
enum Accepted {
    At(Seq),
    /// Things are so already. It relies on the add of the shape that was created here, and all of it is settled
    /// when everything is that was accepted by then.
    Already {
        created: Seq,
        last: Seq,
    },
    /// A shape has the key: by its add at this place if it is pending; if not, it is on disk.
    Held(Handle, Option<Seq>),
}

impl<S: ShapeStore> Shared<S> {
    pub(crate) fn mutate(
        &self,
        mutation: &Mutation,
        attempt: AttemptContext,
    ) -> Result<Receipt, MutateError> {
        let came = self.came(attempt);
        let limits = match mutation {
            Mutation::Add(shape) => self.options.limits.check(shape),
            _ => Ok(()),
        };
        let outcome = limits.map_err(MutateError::from).and_then(|()| match self.accept(mutation, came)? {
            Accepted::At(seq) => Ok(self.receipt(seq)),
            Accepted::Already { created, last } => Ok(self.receipt_up_to(last).relying_on(created)),
            Accepted::Held(held_by, _) => {
                let Mutation::Add(shape) = mutation else { unreachable!("only an add has a key") };
                Err(Refusal::DuplicateKey { key: shape.key, held_by }.into())
            }
        });
        self.tell(outcome, attempt)
    }

    pub(crate) fn get_or_add(
        &self,
        shape: &NewShape,
        attempt: AttemptContext,
    ) -> Result<GetOrAdd, MutateError> {
        let came = self.came(attempt);
        let accepted = match self.options.limits.check(shape) {
            Ok(()) => self.accept(&Mutation::Add(shape.clone()), came),
            // A live key is found whatever else is too large.
            Err(refusal) => match self.holder_of(&shape.key) {
                Ok(Some((handle, created))) => Ok(Accepted::Held(handle, created)),
                Ok(None) => Err(refusal.into()),
                Err(error) => Err(error.into()),
            },
        };
        let made = accepted.map(|accepted| {
            let (handle, added, receipt) = match accepted {
                Accepted::At(seq) | Accepted::Already { created: seq, .. } => {
                    (shape.handle.clone(), true, self.receipt(seq))
                }
                Accepted::Held(handle, Some(created)) => (handle, false, self.receipt(created)),
                Accepted::Held(handle, None) => (handle, false, self.receipt_up_to(self.overlay.below())),
            };
            GetOrAdd { handle, added, receipt }
        });
        self.tell(made, attempt)
    }

    /// The live shape with this key, and the place of its add if that is pending: the overlay first, then
    /// what is below (I3).
    pub(crate) fn holder_of(&self, key: &Key) -> Result<Option<(Handle, Option<Seq>)>> {
        let hash = self.hashing.key(key);
        if self.overlay.may_know(hash)
            && let Some(holder) = self.overlay.read().key(hash, key)
        {
            return Ok(holder.map(|record| (record.handle().clone(), Some(record.entry.created()))));
        }
        Ok(self.inner.handle_for(key)?.map(|handle| (handle, None)))
    }

    pub(crate) fn receipt(&self, seq: Seq) -> Receipt {
        Receipt::new(seq, Arc::clone(&self.progress))
    }

    /// For whoever needs everything up to this place to be settled.
    pub(crate) fn receipt_up_to(&self, seq: Seq) -> Receipt {
        Receipt::up_to(seq, Arc::clone(&self.progress))
    }

    /// When the caller came, if anybody wants to know.
    fn came(&self, attempt: AttemptContext) -> Option<Instant> {
        self.timed.then(|| attempt.first_tried.unwrap_or_else(Instant::now))
    }

    /// Tells the observer what was not accepted. No room is no refusal yet for a caller that waits for it.
    fn tell<T>(&self, outcome: Result<T, MutateError>, attempt: AttemptContext) -> Result<T, MutateError> {
        match &outcome {
            Err(MutateError::Refused(Refusal::Overloaded { .. })) if !attempt.is_final => {}
            Err(MutateError::Refused(refusal)) => self.observer.refused(refusal),
            Err(MutateError::Failed(error)) => self.observer.failed(error),
            Ok(_) => {}
        }
        outcome
    }

    /// Validates a mutation and puts its change into the overlay.
    ///
    /// What is below is asked before the lock is taken, so that no disk work happens under it. The answer
    /// holds for what the overlay does not know, unless a generation was dropped in between; the version
    /// says so, and the mutation starts again. That happens at most once for each flush that ends.
    fn accept(&self, mutation: &Mutation, came: Option<Instant>) -> Result<Accepted, MutateError> {
        let hashes = Hashes {
            handle: mutation.handle().map_or(0, |handle| self.hashing.handle(handle.as_bytes())),
            key: match mutation {
                Mutation::Add(shape) => self.hashing.key(&shape.key),
                _ => 0,
            },
        };
        let mut made = None;
        // A mark usually finds its shape pending, and then nothing below needs to be asked.
        let mut ask_below = matches!(mutation, Mutation::Add(_)) || !self.overlay.may_know(hashes.handle);
        loop {
            let version = self.overlay.version();
            let below = if ask_below { Some(Existing::of(mutation, &self.inner)?) } else { None };
            if let (Mutation::Add(shape), Some(Existing { by_key: None, .. })) = (mutation, &below) {
                // Allocated before the lock is taken; it gets its place in the order under it.
                made.get_or_insert_with(|| Arc::new(shape.record(Seq::ZERO)));
            }
            let mut state = self.overlay.write();
            if let Gate::Shut(error) = &state.gate {
                return Err(error.clone().into());
            }
            let Some(found) = self.found(&state, mutation, hashes, below) else {
                ask_below = true;
                continue;
            };
            if ask_below && self.overlay.version() != version {
                continue;
            }
            let seq = state.last.next();
            let change = match (mutation, &found.by_key) {
                (Mutation::Add(shape), Some(held_by)) => {
                    let pending = state.key(hashes.key, &shape.key).flatten();
                    let created = pending.map(|record| record.entry.created());
                    return Ok(Accepted::Held(held_by.clone(), created));
                }
                (Mutation::Add(shape), None) => {
                    validate_add(shape, found)?;
                    self.check_room(&state, shape.definition.len())?;
                    let record = made.take().unwrap_or_else(|| Arc::new(shape.record(seq)));
                    Change::Add { record: record.placed(seq), state: SnapshotState::Pending }
                }
                _ => {
                    let created = found.by_handle.as_ref().map(|(entry, _)| entry.created());
                    match (validate(mutation, found, seq)?, created) {
                        (Some(change), _) => {
                            self.check_room(&state, 0)?;
                            change
                        }
                        (None, created) => {
                            let created = created.unwrap_or(seq);
                            return Ok(Accepted::Already { created, last: state.last });
                        }
                    }
                }
            };
            let wake = self.put(&mut state, change, hashes, seq);
            if let Some(came) = came {
                // Under the lock, which costs those who wait for it a look at the clock, and saves an atomic
                // table that all threads would write.
                state.active.acknowledged(came.elapsed());
            }
            drop(state);
            if wake {
                self.wake();
            }
            return Ok(Accepted::At(seq));
        }
    }

    /// Puts an accepted change into the active generation, and says whether the flusher has to hear of it.
    /// What key a removal frees only the change itself says, so its hash is made here.
    fn put(&self, state: &mut State, change: Change, mut hashes: Hashes, seq: Seq) -> bool {
        let filter = self.overlay.filter(state);
        match change.entry() {
            None => filter.set_all(),
            Some(entry) => {
                filter.set(hashes.handle);
                if !matches!(change, Change::Mark { .. }) {
                    if matches!(change, Change::Remove { .. }) {
                        hashes.key = self.hashing.key(entry.key());
                    }
                    filter.set(hashes.key);
                    for relation in entry.relations().iter() {
                        filter.set(self.hashing.relation(*relation));
                    }
                }
            }
        }
        let (was_empty, was_due) = (state.active.is_empty(), self.is_large(state));
        if let Change::Reset = &change {
            state.counts = CountDelta::default();
            state.active.put(change, hashes, seq);
        } else {
            let before = state.active.count_delta();
            state.active.put(change, hashes, seq);
            state.counts += state.active.count_delta() - before;
        }
        state.last = seq;
        self.overlay.acknowledge(state);
        was_empty || (!was_due && self.is_large(state))
    }

    /// What is live, with the overlay above `below`; `None` if that has to be known and is not.
    fn found(
        &self,
        state: &State,
        mutation: &Mutation,
        hashes: Hashes,
        below: Option<Existing>,
    ) -> Option<Existing> {
        let Some(handle) = mutation.handle() else { return Some(Existing::default()) };
        let seen = state.handle(hashes.handle, handle.as_bytes()).map(|seen| match seen {
            Seen::Here(record, snapshot) => Some((Arc::clone(&record.entry), snapshot)),
            Seen::Marked(entry, snapshot) => Some((Arc::clone(entry), snapshot)),
            Seen::Gone => None,
        });
        let (below_handle, below_key) = match below {
            Some(found) => (Some(found.by_handle), Some(found.by_key)),
            None => (None, None),
        };
        let by_handle = seen.or(below_handle)?;
        let by_key = match mutation {
            Mutation::Add(shape) => match state.key(hashes.key, &shape.key) {
                Some(holder) => holder.map(|record| record.handle().clone()),
                None => below_key?,
            },
            _ => None,
        };
        Some(Existing { by_handle, by_key })
    }

    /// The bound (C7). A change that is larger than the whole bound is let in when nothing is pending.
    fn check_room(&self, state: &State, bytes: usize) -> Result<(), Refusal> {
        let (pending, pending_bytes) = (state.pending_shapes(), state.pending_bytes());
        let full = pending >= self.options.max_pending_shapes
            || (pending_bytes > 0 && pending_bytes + bytes > self.options.max_pending_bytes);
        if !full {
            return Ok(());
        }
        self.wake();
        Err(Refusal::Overloaded { retry_after: self.drain.time_for(pending) })
    }

    /// Whether the active generation is large enough to be flushed for its size.
    pub(crate) fn is_large(&self, state: &State) -> bool {
        state.active.len() >= self.options.flush_shapes.min(self.options.max_pending_shapes)
            || state.active.bytes() >= self.options.flush_bytes.min(self.options.max_pending_bytes)
    }

    /// Makes a flusher thread look at what there is to do. Costs next to nothing if it is about to look
    /// anyway.
    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake();
        }
    }

    /// Asks for a flush of all that is accepted so far, and returns what becomes durable with it.
    pub(crate) fn request_flush(&self) -> Receipt {
        let receipt = self.receipt_up_to(self.overlay.last());
        self.asked.fetch_max(receipt.seq().get(), Ordering::Release);
        self.requested.store(true, Ordering::Release);
        self.wake();
        receipt
    }

    pub(crate) fn pending(&self) -> Pending {
        let state = self.overlay.read();
        Pending {
            shapes: state.pending_shapes(),
            mutations: state.pending().map(Generation::mutations).sum(),
            bytes: state.pending_bytes(),
            oldest: state.since().map(|since| since.elapsed()),
            net: state.net(),
        }
    }

    /// The age of the oldest pending change.
    pub(crate) fn oldest_pending(&self) -> Option<Duration> {
        let since = self.overlay.read().since();
        since.map(|since| since.elapsed())
    }

    /// Accepts no more mutations, for this reason. The first reason stays.
    pub(crate) fn shut(&self, error: Error) {
        let mut state = self.overlay.write();
        if matches!(state.gate, Gate::Open) {
            state.gate = Gate::Shut(error);
        }
    }
}
