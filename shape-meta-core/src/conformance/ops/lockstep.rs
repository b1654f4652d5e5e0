use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{
    super::{
        CompositionFixture, RejectedSeq, View,
        assertions::WAIT,
        sample::key,
        view::{ShapeView, distinct_handles_for_relations, read},
    },
    HANDLES, History, KEYS, Op, RELATIONS,
    follower::Follower,
    spec::{bits, op_handle, relation},
};
use crate::{
    Direct, Handle, HandleSet, LeastRecentlyUsed, Limits, MemoryStore, MutateError, MutateShapesExt,
    Mutation, NewShape, NoopObserver, NotDurable, ReadShapes, ReadShapesExt, Receipt, Refusal, Removal,
    ScanItem, Seq, SnapshotState, Timestamp,
    feed::{FeedOptions, ShapeList},
};

/// Plays operations on a fresh store of the fixture and on the reference model in step.
///
/// # Panics
///
/// If an outcome or a read differs after any step (C5). The operations up to that step are printed to
/// standard error.
pub fn lockstep<F: CompositionFixture>(fixture: &F, ops: &[Op]) {
    let mut played = Played(Vec::new());
    let mut lockstep = Lockstep::new(fixture);
    for op in ops {
        played.0.push(*op);
        lockstep.step(*op);
    }
    lockstep.finish();
}

/// A composition and the reference model, which play operations in step. [`lockstep`] plays a whole sequence.
pub struct Lockstep<'f, F: CompositionFixture> {
    fixture: &'f F,
    /// `None` only during a reopen.
    store: Option<F::Store>,
    reference: Direct<MemoryStore>,
    history: History,
    paused: bool,
    /// Whether faults were injected below.
    faulty: bool,
    /// Whether a handle is rejected below.
    rejecting: bool,
    /// The receipts that are not durable yet.
    unsettled: Vec<Unsettled>,
    /// The receipts of former owners that were not durable when another one took over.
    outlived: Vec<Outlived>,
    /// The highest sequence number that a receipt has declared durable.
    durable: Seq,
    /// The latest copy of the database.
    copy: Option<Copied>,
    /// The time of the last reopen, in microseconds. Touches are relative to it.
    opened: u64,
    /// Subscribers to visible changes: one that keeps up, and one that lags.
    visible: [Follower; 2],
    /// The same for durable changes.
    durable_followers: [Follower; 2],
    steps: u64,
}

/// The steps after which the subscribers that lag read their feeds.
const LAG: u64 = 5;

struct Unsettled {
    receipt: Receipt,
    /// The sequence number of the mutation, or `None` if it changed nothing.
    own: Option<Seq>,
}

/// A receipt of a former owner.
struct Outlived {
    receipt: Receipt,
    /// The last sequence number that the next owner found. A later one must never be declared durable.
    last: Seq,
}

/// What a copy of the database may hold: a prefix of this history with everything that was durable.
struct Copied {
    history: History,
    durable: Seq,
}

/// The outcome of a mutation on the composition.
enum Outcome<T> {
    Accepted(T),
    Refused(Refusal),
    /// Failed, which is allowed without a buffer. The mutation may have been committed.
    Failed,
}

/// The operations so far. Prints them if the test panics.
struct Played(Vec<Op>);

impl Drop for Played {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operations up to the failure:\n{self:?}");
        }
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl<'f, F: CompositionFixture> Lockstep<'f, F> {
    /// Opens a fresh store and a fresh reference model.
    ///
    /// # Panics
    ///
    /// As [`lockstep`] does. So do all methods.
    pub fn new(fixture: &'f F) -> Self {
        Self {
            fixture,
            store: Some(fixture.open()),
            reference: reference(&History::default()),
            history: History::default(),
            paused: false,
            faulty: false,
            rejecting: false,
            unsettled: Vec::new(),
            outlived: Vec::new(),
            durable: Seq::ZERO,
            copy: None,
            opened: 0,
            visible: [FeedOptions::visible(), FeedOptions::visible().capacity(2)].map(Follower::new),
            durable_followers: [FeedOptions::durable(), FeedOptions::durable().capacity(2)]
                .map(Follower::new),
            steps: 0,
        }
    }

    /// Returns the composition, for further checks.
    pub fn store(&self) -> &F::Store {
        self.store.as_ref().expect("the store is open, except during a reopen")
    }

    /// Returns the reference model.
    pub fn reference(&self) -> &Direct<MemoryStore> {
        &self.reference
    }

    /// Returns the events so far. Replayed on another store, they give the same state.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether every accepted mutation is known to be durable or rejected.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Plays one operation and compares its outcome and every read.
    pub fn step(&mut self, op: Op) {
        self.play(op);
        self.steps += 1;
        self.read_feeds();
        self.settle();
        if self.is_settled() {
            // A thread may have flushed in between.
            self.read_feeds();
        }
        self.assert_former_owners_confirm_nothing();
        if matches!(op, Op::Flush) && !self.paused {
            self.assert_all_durable();
        }
        self.compare();
    }

    /// Makes every accepted mutation durable and compares a last time.
    pub fn finish(&mut self) {
        for op in [Op::WriteAsFormerOwner, Op::Resume, Op::ClearFaults, Op::Flush] {
            self.step(op);
        }
    }

    /// Lets the subscribers read their feeds. One that resumes flushes, which gives the others more to read.
    fn read_feeds(&mut self) {
        let store = self.store.as_ref().expect("the store is open, except during a reopen");
        let followers = self.visible.iter_mut().chain(&mut self.durable_followers);
        let mut followers: Vec<_> =
            followers.enumerate().filter(|(at, _)| at % 2 == 0 || self.steps.is_multiple_of(LAG)).collect();
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for (_, follower) in &mut followers {
                is_done &= !follower.follow(self.fixture, store);
            }
        }
    }

    /// Replaying a feed gives the list (C15): of what is visible at any time, and of what is durable once
    /// everything is.
    fn compare_followers(&self) {
        let expected = read(ShapeList::of(&self.reference));
        let is_due = |at: usize| at == 0 || self.steps.is_multiple_of(LAG);
        for (at, follower) in self.visible.iter().enumerate().filter(|(at, _)| is_due(*at)) {
            follower.assert_has(&expected, ["a subscriber", "a subscriber that lags"][at]);
        }
        let durable = self.durable_followers.iter().enumerate().filter(|_| self.is_settled());
        for (at, follower) in durable.filter(|(at, _)| is_due(*at)) {
            let who = ["a subscriber to durable changes", "one to durable changes that lags"][at];
            follower.assert_has(&expected, who);
        }
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Add(spec) => self.add(spec.shape()),
            Op::GetOrAdd(spec) => self.get_or_add(&spec.shape()),
            Op::Remove { handle } => self.remove(&op_handle(handle)),
            Op::RemoveUnread { handle, since } => {
                let since = Timestamp::from_micros(self.opened + u64::from(since));
                wait_for(since);
                self.mutate(&Mutation::remove_unread(op_handle(handle).as_str(), since));
            }
            Op::Replace { handle, relations } => {
                let handle = op_handle(handle);
                let Some(old) = read(self.reference.record(&handle)) else { return };
                self.remove(&handle);
                self.add(NewShape {
                    handle,
                    key: *old.key(),
                    hash: old.entry.hash(),
                    relations: bits(relations, RELATIONS).map(relation).collect(),
                    dependencies: old.dependencies.clone(),
                    indexed: !old.entry.is_indexed(),
                    definition: Arc::clone(&old.definition),
                    created_at: old.entry.created_at(),
                });
            }
            Op::RemoveAll { selected, kind } => {
                let removal = match kind & 1 {
                    0 => Removal::of_handles(
                        bits(selected, HANDLES).map(|handle| op_handle(handle).to_string()),
                    ),
                    _ => Removal::of_relations(bits(selected, RELATIONS).map(relation)),
                };
                let removal = if kind & 2 == 0 { removal } else { removal.with_dependants() };
                self.mutate(&Mutation::RemoveAll(removal));
            }
            Op::MarkStarted { handle } => self.mark(&op_handle(handle), SnapshotState::Started),
            Op::MarkComplete { handle } => self.mark(&op_handle(handle), SnapshotState::Complete),
            Op::Touch { handle, at } => {
                let (handle, at) = (op_handle(handle), Timestamp::from_micros(self.opened + u64::from(at)));
                wait_for(at);
                let touched = read(self.store().touch(&handle, at));
                assert_eq!(touched, read(self.reference.touch(&handle, at)), "C5: outcome of a touch");
                if let Some(live) = read(self.reference.metadata(&handle)) {
                    self.history.touched(handle, live.created, at);
                }
            }
            Op::LeastRecentlyUsed { n, excluded } => {
                let excluded = bits(excluded, HANDLES).map(op_handle).collect();
                self.compare_least_recently_used(usize::from(n % (HANDLES + 2)), &excluded);
            }
            Op::ScanDuringRemove { handle } => self.scan_during_remove(&op_handle(handle)),
            Op::Reset => self.mutate(&Mutation::Reset),
            Op::Flush if self.paused => {}
            Op::Flush => self.fixture.flush(self.store()),
            Op::PartialFlush { .. } if self.paused => {}
            Op::PartialFlush { kind } => self.fixture.partial_flush(self.store(), kind),
            Op::Pause => self.paused = self.paused || self.fixture.pause(self.store()),
            Op::Resume => self.resume(),
            Op::InjectFault { kind } => {
                self.faulty = true;
                self.fixture.inject_fault(self.store(), kind);
            }
            Op::RejectHandle { handle, kind } => self.reject_handle(&op_handle(handle), kind),
            Op::ClearFaults => {
                self.rejecting = false;
                self.fixture.clear_faults(self.store());
            }
            Op::Repair => self.fixture.repair(self.store()),
            Op::Refresh => self.compare_standby(),
            Op::Promote => self.reopen(F::promote),
            Op::Reopen => self.reopen(F::reopen),
            // A rejection that is isolated and not settled yet leaves no prefix of the accepted mutations.
            Op::Crash if self.rejecting => self.reopen(F::reopen),
            Op::Crash => self.crash(),
            // The same holds for the prefix in a copy, and for the one that the next owner finds.
            Op::SaveCopy { .. } | Op::Fence if self.rejecting => {}
            Op::SaveCopy { kind } => self.save_copy(kind),
            Op::Restore { kind } => self.restore(kind),
            Op::Fence => self.fence(),
            Op::Recreate { kind } => self.recreate(kind),
            Op::Empty { kind } => self.empty(kind),
            Op::WriteAsFormerOwner => self.fixture.write_as_former_owner(),
        }
    }

    fn reject_handle(&mut self, handle: &Handle, kind: u8) {
        let rejected_seq = if kind.is_multiple_of(2) { RejectedSeq::Reported } else { RejectedSeq::Omitted };
        if self.fixture.reject_handle(self.store(), handle, rejected_seq) {
            self.history.may_reject(handle.clone());
            (self.faulty, self.rejecting) = (true, true);
        }
    }

    fn scan_during_remove(&mut self, handle: &str) {
        let expected = View::of(&self.reference).shapes;
        // The scan borrows the store, so the removal cannot go through `&mut self`.
        let (store, mutation) = (self.store(), Mutation::remove(handle));
        let scan = read(store.scan());
        let before = read(self.reference.last_seq());
        let removed = self.outcome(store.mutate(&mutation, WAIT));
        if !self.paused {
            self.fixture.flush(store);
        }
        let scanned: Vec<_> = scan.map(|item| ShapeView::of(&read(item))).collect();
        assert_eq!(scanned, expected, "C5: a scan returns the shapes that were live when it started");
        self.follow(before, &mutation, removed);
    }

    fn add(&mut self, shape: NewShape) {
        self.mutate(&Mutation::Add(shape));
    }

    fn remove(&mut self, handle: &str) {
        self.mutate(&Mutation::remove(handle));
    }

    fn mark(&mut self, handle: &str, state: SnapshotState) {
        self.mutate(&Mutation::Mark(handle.to_owned(), state));
    }

    fn mutate(&mut self, mutation: &Mutation) {
        let before = read(self.reference.last_seq());
        let here = self.outcome(self.store().mutate(mutation, WAIT));
        self.follow(before, mutation, here);
    }

    /// Returns the outcome of a mutation. A failure ends the test, unless faults reach callers.
    #[track_caller]
    fn outcome<T>(&self, result: Result<T, MutateError>) -> Outcome<T> {
        match result {
            Ok(value) => Outcome::Accepted(value),
            Err(MutateError::Refused(refusal)) => Outcome::Refused(refusal),
            Err(MutateError::Failed(_)) if self.faulty && self.fixture.faults_reach_callers() => {
                Outcome::Failed
            }
            Err(MutateError::Failed(error)) => panic!("C5: a mutation failed: {error:?}"),
        }
    }

    /// Plays a mutation on the reference model, and compares the outcomes.
    fn follow(&mut self, before: Seq, mutation: &Mutation, here: Outcome<Receipt>) {
        if matches!(here, Outcome::Failed) && read(self.store().last_seq()) == before {
            return;
        }
        let all = View::of(&self.reference).shapes;
        let expected = self.reference.mutate(mutation, WAIT);
        if let (Mutation::RemoveAll(_), Ok(expected)) = (mutation, &expected) {
            let is_gone = |shape: &ShapeView| !read(self.reference.has_handle(&shape.handle));
            let gone: Vec<_> = all.into_iter().filter(is_gone).map(|shape| shape.handle).collect();
            let receipt = match here {
                Outcome::Accepted(receipt) => receipt,
                Outcome::Failed => expected.clone(),
                Outcome::Refused(refusal) => panic!("C5: {mutation:?} was refused ({refusal})"),
            };
            return self.removed_all(before, gone, receipt);
        }
        match (here, expected) {
            (Outcome::Accepted(receipt), Ok(expected)) => {
                // The receipt of a mutation that changes nothing may have any earlier sequence number.
                let (seq, last) = (receipt.seq(), expected.seq());
                assert!(
                    seq == last || last == before && seq < last,
                    "C5: sequence number {seq} instead of {last}"
                );
                self.accepted(before, mutation, receipt);
            }
            // The mutation is committed, and only its answer was lost.
            (Outcome::Failed, Ok(expected)) => self.accepted(before, mutation, expected),
            (Outcome::Refused(here), Err(MutateError::Refused(expected))) => {
                assert_eq!(here, expected, "C5: outcome of a mutation");
            }
            (Outcome::Accepted(_), other) => {
                panic!("C5: {mutation:?} was accepted, expected {other:?}")
            }
            (Outcome::Refused(here), other) => panic!("C5: refused ({here}), expected {other:?}"),
            (Outcome::Failed, Err(other)) => {
                panic!("C5: {mutation:?} was committed, expected {other:?}")
            }
        }
    }

    /// Records a removal in bulk as what it stands for: a removal of each shape, in the order of creation.
    fn removed_all(&mut self, before: Seq, gone: Vec<Handle>, receipt: Receipt) {
        let last = Seq::new(before.get() + gone.len() as u64);
        assert_eq!((receipt.seq(), read(self.reference.last_seq())), (last, last), "C5: a number for each");
        if gone.is_empty() {
            self.unsettled.push(Unsettled { receipt, own: None });
            return;
        }
        for (seq, handle) in (before.get() + 1..).map(Seq::new).zip(gone) {
            self.history.mutated(seq, Mutation::remove(&*handle));
            let receipt = receipt.clone().relying_on(seq);
            self.unsettled.push(Unsettled { receipt, own: Some(seq) });
        }
    }

    fn accepted(&mut self, before: Seq, mutation: &Mutation, receipt: Receipt) {
        let last = read(self.reference.last_seq());
        let own = (last > before).then_some(last);
        if let Some(seq) = own {
            let mutation = match mutation {
                // A crash may lose reads that decided otherwise before.
                Mutation::RemoveUnread { handle, .. } => Mutation::remove(handle),
                other => other.clone(),
            };
            self.history.mutated(seq, mutation);
        }
        self.unsettled.push(Unsettled { receipt, own });
    }

    fn get_or_add(&mut self, shape: &NewShape) {
        let before = read(self.reference.last_seq());
        let here = self.outcome(self.store().get_or_add(shape, WAIT));
        if matches!(here, Outcome::Failed) && read(self.store().last_seq()) == before {
            return;
        }
        let expected = self.reference.get_or_add(shape, WAIT);
        let receipt = match (here, expected) {
            (Outcome::Accepted(here), Ok(expected)) => {
                assert_eq!((&here.handle, here.added), (&expected.handle, expected.added), "C5: get_or_add");
                // The receipt of a shape that was there may have any earlier sequence number.
                let (seq, last) = (here.receipt.seq(), read(self.reference.last_seq()));
                assert!(
                    seq == last || !here.added && seq < last,
                    "C5: sequence number {seq} instead of {last}"
                );
                here.receipt
            }
            (Outcome::Failed, Ok(expected)) => expected.receipt,
            (Outcome::Refused(here), Err(MutateError::Refused(expected))) => {
                assert_eq!(here, expected, "C5: outcome of get_or_add");
                return;
            }
            (Outcome::Accepted(here), other) => panic!("C5: {here:?}, expected {other:?}"),
            (Outcome::Refused(here), other) => panic!("C5: refused ({here}), expected {other:?}"),
            (Outcome::Failed, Err(other)) => panic!("C5: added, expected {other:?}"),
        };
        self.accepted(before, &Mutation::Add(shape.clone()), receipt);
    }

    /// Checks the unsettled receipts. If mutations were rejected (C8), the reference model continues as if
    /// they had never been accepted.
    fn settle(&mut self) {
        let (history, durable) = (&mut self.history, &mut self.durable);
        let mut any_rejected = false;
        self.unsettled.retain(|Unsettled { receipt, own }| match receipt.wait_durable(Duration::ZERO) {
            Ok(()) => {
                *durable = receipt.seq().max(*durable);
                false
            }
            Err(NotDurable::TimedOut) => true,
            Err(NotDurable::Rejected(_)) => {
                if let Some(seq) = own {
                    history.reject(*seq);
                    any_rejected = true;
                }
                false
            }
            Err(other) => panic!("C9: {receipt:?}: {other}"),
        });
        if any_rejected {
            self.reference = reference(&self.history);
        }
    }

    fn assert_all_durable(&self) {
        if let Some(Unsettled { receipt, .. }) = self.unsettled.first() {
            panic!("C6: not durable after a flush: {receipt:?}");
        }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.paused) {
            self.fixture.resume(self.store());
        }
    }

    /// Compares what the standby serves. Last-read times may not be saved yet, so they are left out.
    fn compare_standby(&self) {
        let Some(mut view) = self.fixture.standby_view(self.store()) else { return };
        if self.is_settled() {
            let mut expected = View::of(&self.reference);
            for shape in view.shapes.iter_mut().chain(&mut expected.shapes) {
                shape.last_read = None;
            }
            assert_eq!(view, expected, "C5: the standby serves what is committed");
        }
    }

    fn reopen(&mut self, reopen: impl Fn(&F, F::Store, Timestamp) -> Result<F::Store, F::Store>) {
        self.resume();
        let at = Timestamp::from_micros(self.opened + 1_000);
        let Some(store) = self.take_store() else { return };
        match reopen(self.fixture, store, at) {
            Err(unchanged) => {
                // The fixture cannot reopen it. A close would have flushed it.
                self.store = Some(unchanged);
                self.fixture.flush(self.store());
            }
            Ok(reopened) => {
                // The close may have rejected mutations.
                self.settle();
                self.assert_all_durable();
                self.reopened(reopened, at);
            }
        }
    }

    /// Takes the store to replace it. Its feeds end with it.
    fn take_store(&mut self) -> Option<F::Store> {
        self.visible.iter_mut().chain(&mut self.durable_followers).for_each(Follower::forget);
        self.store.take()
    }

    /// After a crash, the store must hold a prefix of the accepted mutations, with all that were durable
    /// (C6).
    fn crash(&mut self) {
        let at = Timestamp::from_micros(self.opened + 1_000);
        let Some(store) = self.take_store() else { return };
        match self.fixture.crash(store, at) {
            Err(unchanged) => self.store = Some(unchanged),
            Ok(recovered) => self.recovered(recovered),
        }
    }

    fn save_copy(&mut self, kind: u8) {
        let pauses = !self.paused && self.fixture.pause(self.store());
        if self.fixture.save_copy(self.store(), kind) {
            self.copy = Some(Copied { history: self.history.clone(), durable: self.durable });
        }
        if pauses {
            self.fixture.resume(self.store());
        }
    }

    /// After a restore, the store must hold what the copy held: a prefix of what was accepted before it was
    /// made, with all that was durable then. Nothing of what came later may show up.
    fn restore(&mut self, kind: u8) {
        self.resume();
        let Some(store) = self.take_store() else { return };
        match self.fixture.restore(store, kind) {
            Err(unchanged) => self.store = Some(unchanged),
            Ok(restored) => {
                let Some(copy) = &self.copy else { panic!("C13: a database was restored without a copy") };
                (self.history, self.durable) = (copy.history.clone(), copy.durable);
                self.reference = reference(&self.history);
                self.rejecting = false;
                self.recovered(restored);
            }
        }
    }

    /// A second owner finds a prefix of the accepted mutations, with all that were durable.
    fn fence(&mut self) {
        let Some(store) = self.take_store() else { return };
        match self.fixture.fence(store) {
            Err(unchanged) => self.store = Some(unchanged),
            Ok(second) => {
                self.outlive(read(second.last_seq()));
                self.recovered(second);
            }
        }
    }

    /// A new database has nothing of the one whose place it takes.
    fn recreate(&mut self, kind: u8) {
        self.resume();
        let is_paused = self.fixture.pause(self.store());
        // What becomes durable from here on would be in the wrong database.
        self.settle();
        let Some(store) = self.take_store() else { return };
        match self.fixture.recreate(store, kind) {
            Err(unchanged) => {
                self.store = Some(unchanged);
                if is_paused {
                    self.fixture.resume(self.store());
                }
            }
            Ok(fresh) => {
                self.outlive(Seq::ZERO);
                self.begin_anew(fresh);
            }
        }
    }

    /// An empty database has nothing of what was in its file before.
    fn empty(&mut self, kind: u8) {
        self.resume();
        let Some(store) = self.take_store() else { return };
        match self.fixture.empty(store, kind) {
            Err(unchanged) => self.store = Some(unchanged),
            Ok(fresh) => self.begin_anew(fresh),
        }
    }

    fn begin_anew(&mut self, fresh: F::Store) {
        (self.history, self.durable) = (History::default(), Seq::ZERO);
        self.reference = reference(&self.history);
        self.rejecting = false;
        self.recovered(fresh);
    }

    /// Keeps the unsettled receipts of an owner whose place another one has taken, with the last sequence
    /// number that it has left.
    fn outlive(&mut self, last: Seq) {
        let receipts = self.unsettled.drain(..).map(|Unsettled { receipt, .. }| Outlived { receipt, last });
        self.outlived.extend(receipts);
    }

    fn assert_former_owners_confirm_nothing(&self) {
        for Outlived { receipt, last } in &self.outlived {
            let is_durable = receipt.wait_durable(Duration::ZERO).is_ok();
            assert!(
                !is_durable || receipt.seq() <= *last,
                "C13: a former owner declares {receipt:?} durable, but the next owner found {last}"
            );
        }
    }

    /// Continues with a store that may have lost the end of the history.
    fn recovered(&mut self, store: F::Store) {
        let (last, all) = (read(store.last_seq()), read(self.reference.last_seq()));
        assert!(last >= self.durable, "C6: recovered to {last}, but {} was durable", self.durable);
        assert!(last <= all, "C6: recovered to {last}, but only {all} were accepted");
        self.history.truncate_after(last);
        self.unsettled.clear();
        self.paused = false;
        self.reopened(store, Timestamp::from_micros(self.opened + 1_000));
    }

    /// Continues with the reopened store, after adjusting the history to the last-read times that it returns.
    fn reopened(&mut self, store: F::Store, at: Timestamp) {
        let expected: HashMap<_, _> = View::of(&self.reference)
            .shapes
            .into_iter()
            .map(|shape| (shape.created, shape.last_read))
            .collect();
        let mut differing = View::of(&store).shapes;
        differing.retain(|shape| expected.get(&shape.created) != Some(&shape.last_read));
        // A store that uses the clock gives shapes that were never read its own time, which is later than all
        // earlier times.
        let moment = differing.iter().filter_map(|shape| shape.last_read).max().unwrap_or(at);
        for shape in differing {
            self.history.lose_touches(shape.created, shape.last_read);
        }
        self.opened = moment.as_micros();
        self.history.reopened(moment);
        self.reference = reference(&self.history);
        self.store = Some(store);
    }

    /// Compares every read, for live and for missing shapes.
    fn compare(&self) {
        self.compare_followers();
        let (store, reference) = (self.store(), &self.reference);
        let (view, expected) = (View::of(store), View::of(reference));
        assert_eq!(view, expected, "C5: the composition equals the reference model");

        for number in 0..HANDLES {
            let handle = op_handle(number);
            assert_eq!(read(store.metadata(&handle)), read(reference.metadata(&handle)), "{handle:?}");
            assert_eq!(read(store.entry(&handle)).is_some(), read(reference.entry(&handle)).is_some());
            assert_eq!(read(store.record(&handle)).is_some(), read(reference.record(&handle)).is_some());
        }
        for number in 0..KEYS {
            let key = key(number.into());
            assert_eq!(read(store.handle_for(&key)), read(reference.handle_for(&key)), "key {number}");
        }
        for subset in 0..1 << RELATIONS {
            let relations: Vec<_> = bits(subset, RELATIONS).map(relation).collect();
            assert_eq!(
                distinct_handles_for_relations(store, &relations),
                distinct_handles_for_relations(reference, &relations),
                "shapes that read {relations:?}"
            );
        }
        let views = |list: Vec<ScanItem>| list.iter().map(ShapeView::of).collect::<Vec<_>>();
        assert_eq!(views(read(store.list())), views(read(reference.list())), "lists");
        let all = usize::from(HANDLES);
        for n in [1, all] {
            self.compare_least_recently_used(n, &HandleSet::new());
        }
    }

    /// Compares the least recently used shapes. Those with equal times may come in any order, and any of them
    /// may be left out at the end.
    fn compare_least_recently_used(&self, n: usize, excluded: &HandleSet) {
        let found = read(self.store().least_recently_used(n, excluded));
        let expected = read(self.reference.least_recently_used(n, excluded));
        let times = |found: &LeastRecentlyUsed| found.shapes.iter().map(|(_, at)| *at).collect::<Vec<_>>();
        assert_eq!(times(&found), times(&expected), "the {n} least recently used except {excluded:?}");
        let mut seen = HandleSet::new();
        for (handle, at) in found.shapes {
            let metadata = read(self.reference.metadata(&handle));
            assert_eq!(metadata.and_then(|metadata| metadata.last_read), Some(at), "{handle:?}");
            assert!(!excluded.contains(&handle) && seen.insert(handle));
        }
    }
}

/// Waits for a time that is a quarter of a millisecond ahead at most, just after a reopen: a time in the
/// future counts as now, which would differ.
fn wait_for(at: Timestamp) {
    while at > Timestamp::now() {
        std::hint::spin_loop();
    }
}

/// Returns the reference model in the state after this history.
fn reference(history: &History) -> Direct<MemoryStore> {
    let fresh = read(Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)));
    history.play(fresh, |store, at| {
        store.inner().reopen(at);
        store
    })
}
