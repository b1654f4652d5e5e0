use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{
    super::{
        Fixture, Naming, View,
        act::PATIENT,
        sample::key,
        view::{Seen, read, reading},
    },
    HANDLES, History, KEYS, Op, RELATIONS,
    spec::{bits, op_handle, relation},
};
use crate::{
    Direct, Handle, HandleSet, LeastRecentlyUsed, Limits, MemoryStore, MutateError, MutateShapesExt,
    Mutation, NewShape, NoopObserver, NotDurable, ReadShapes, ReadShapesExt, Receipt, Refusal, ScanItem, Seq,
    SnapshotState, Timestamp,
};

/// Plays these operations on a fresh store of the fixture and on the reference in step.
///
/// # Panics
///
/// If any outcome or any read differs after any step (C5). What was played until then is printed to
/// standard error.
pub fn lockstep<F: Fixture>(fixture: &F, ops: &[Op]) {
    let mut played = Played(Vec::new());
    let mut lockstep = Lockstep::new(fixture);
    for op in ops {
        played.0.push(*op);
        lockstep.step(*op);
    }
    lockstep.finish();
}

/// The composition and the reference in step; [`lockstep`] for a whole sequence.
pub struct Lockstep<'f, F: Fixture> {
    fixture: &'f F,
    /// `None` only while it is reopened.
    store: Option<F::Store>,
    reference: Direct<MemoryStore>,
    history: History,
    paused: bool,
    /// Whether something below was told to fail, and whether it was told to refuse something for good.
    disturbed: bool,
    refusing: bool,
    /// What is not known to be durable yet.
    waiting: Vec<Waiting>,
    /// The furthest place in the order that a receipt has declared durable.
    durable: Seq,
    /// The moment of the last reopening: touches count from here.
    opened: u64,
}

struct Waiting {
    receipt: Receipt,
    /// The mutation that the receipt is of; none if it found things so already.
    own: Option<Seq>,
}

/// What became of a mutation.
enum Tried<T> {
    Accepted(T),
    Refused(Refusal),
    /// As it may where there is no buffer. It may have been committed.
    Failed,
}

/// Tells what was played, if it ends in a panic.
struct Played(Vec<Op>);

impl Drop for Played {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operations that led to this:\n{self:?}");
        }
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl<'f, F: Fixture> Lockstep<'f, F> {
    /// A fresh store and a fresh reference.
    ///
    /// # Panics
    ///
    /// As [`lockstep`] does, and so with all methods.
    pub fn new(fixture: &'f F) -> Self {
        Self {
            fixture,
            store: Some(fixture.open()),
            reference: reference(&History::default()),
            history: History::default(),
            paused: false,
            disturbed: false,
            refusing: false,
            waiting: Vec::new(),
            durable: Seq::ZERO,
            opened: 0,
        }
    }

    /// The composition, for looking at more than the reads.
    pub fn store(&self) -> &F::Store {
        self.store.as_ref().expect("it is only away while it is reopened")
    }

    /// The reference.
    pub fn reference(&self) -> &Direct<MemoryStore> {
        &self.reference
    }

    /// What has happened: with which another store can be brought to the same state.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether all that was accepted is known to be durable, or was taken out.
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Plays one operation and compares its outcome and every read.
    pub fn step(&mut self, op: Op) {
        self.play(op);
        self.settle();
        if matches!(op, Op::Flush) && !self.paused {
            self.all_durable();
        }
        self.compare();
    }

    /// Makes all durable and compares a last time.
    pub fn finish(&mut self) {
        for op in [Op::Resume, Op::Heal, Op::Flush] {
            self.step(op);
        }
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Add(spec) => self.add(spec.shape()),
            Op::GetOrAdd(spec) => self.get_or_add(&spec.shape()),
            Op::Remove { handle } => self.remove(&op_handle(handle)),
            Op::AddAgain { handle, relations } => {
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
                });
            }
            Op::MarkStarted { handle } => self.mark(&op_handle(handle), SnapshotState::Started),
            Op::MarkComplete { handle } => self.mark(&op_handle(handle), SnapshotState::Complete),
            Op::Touch { handle, at } => {
                let (handle, at) = (op_handle(handle), Timestamp::from_micros(self.opened + u64::from(at)));
                let touched = read(self.store().touch(&handle, at));
                assert_eq!(touched, read(self.reference.touch(&handle, at)), "C5: outcome of a touch");
                if let Some(live) = read(self.reference.metadata(&handle)) {
                    self.history.touched(handle, live.created, at);
                }
            }
            Op::Stalest { n, excluded } => {
                let excluded = bits(excluded, HANDLES).map(op_handle).collect();
                self.compare_stalest(usize::from(n % (HANDLES + 2)), &excluded);
            }
            Op::ScanAcrossRemove { handle } => self.scan_across_remove(&op_handle(handle)),
            Op::Reset => self.mutate(&Mutation::Reset),
            Op::Flush if self.paused => {}
            Op::Flush => self.fixture.flush(self.store()),
            Op::FlushInPart { .. } if self.paused => {}
            Op::FlushInPart { way } => self.fixture.flush_in_part(self.store(), way),
            Op::Pause => self.paused = self.paused || self.fixture.pause(self.store()),
            Op::Resume => self.resume(),
            Op::Disturb { way } => {
                self.disturbed = true;
                self.fixture.disturb(self.store(), way);
            }
            Op::Refuse { handle, way } => self.refuse(&op_handle(handle), way),
            Op::Heal => {
                self.refusing = false;
                self.fixture.heal(self.store());
            }
            Op::Repair => self.fixture.repair(self.store()),
            Op::Refresh => self.look_beside(),
            Op::Promote => self.reopen(F::promote),
            Op::Reopen => self.reopen(F::reopen),
            // What was isolated and not settled yet is in no order.
            Op::Crash if self.refusing => self.reopen(F::reopen),
            Op::Crash => self.crash(),
        }
    }

    fn refuse(&mut self, handle: &Handle, way: u8) {
        let naming = if way.is_multiple_of(2) { Naming::Culprit } else { Naming::Nobody };
        if self.fixture.refuse(self.store(), handle, naming) {
            self.history.refuses(handle.clone());
            (self.disturbed, self.refusing) = (true, true);
        }
    }

    fn scan_across_remove(&mut self, handle: &str) {
        let expected = View::of(&self.reference).shapes;
        // The scan borrows the store, so what happens meanwhile happens here, and not through `self`.
        let (here, mutation) = (self.store(), Mutation::remove(handle));
        let scan = read(here.scan());
        let before = read(self.reference.last_seq());
        let removed = self.attempted(here.mutate(&mutation, PATIENT));
        if !self.paused {
            self.fixture.flush(here);
        }
        let shown: Vec<_> = scan.map(|listed| Seen::of(&read(listed))).collect();
        assert_eq!(shown, expected, "C5: a scan shows what was live when it was made");
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
        let here = self.attempted(self.store().mutate(mutation, PATIENT));
        self.follow(before, mutation, here);
    }

    /// What a mutation came to. A failure ends the test, unless nobody was there to hide it.
    #[track_caller]
    fn attempted<T>(&self, outcome: Result<T, MutateError>) -> Tried<T> {
        match outcome {
            Ok(value) => Tried::Accepted(value),
            Err(MutateError::Refused(refusal)) => Tried::Refused(refusal),
            Err(MutateError::Failed(_)) if self.disturbed && self.fixture.shows_failures() => Tried::Failed,
            Err(MutateError::Failed(error)) => panic!("C5: a mutation failed: {error:?}"),
        }
    }

    /// Lets the reference do what was done here, and compares the outcomes.
    fn follow(&mut self, before: Seq, mutation: &Mutation, here: Tried<Receipt>) {
        if matches!(here, Tried::Failed) && read(self.store().last_seq()) == before {
            return;
        }
        match (here, self.reference.mutate(mutation, PATIENT)) {
            (Tried::Accepted(receipt), Ok(expected)) => {
                // The receipt of what was so already may lie anywhere before.
                let (place, last) = (receipt.seq(), expected.seq());
                assert!(
                    place == last || last == before && place < last,
                    "C5: place {place} instead of {last}"
                );
                self.accepted(before, mutation, receipt);
            }
            // Its answer was lost; it is on disk.
            (Tried::Failed, Ok(expected)) => self.accepted(before, mutation, expected),
            (Tried::Refused(here), Err(MutateError::Refused(expected))) => {
                assert_eq!(here, expected, "C5: outcome of a mutation");
            }
            (Tried::Accepted(_), other) => {
                panic!("C5: {mutation:?} is accepted, and expected is {other:?}")
            }
            (Tried::Refused(here), other) => panic!("C5: refused ({here}), and expected is {other:?}"),
            (Tried::Failed, Err(other)) => {
                panic!("C5: {mutation:?} was committed, and expected is {other:?}")
            }
        }
    }

    fn accepted(&mut self, before: Seq, mutation: &Mutation, receipt: Receipt) {
        let last = read(self.reference.last_seq());
        let own = (last > before).then_some(last);
        if let Some(seq) = own {
            self.history.mutated(seq, mutation.clone());
        }
        self.waiting.push(Waiting { receipt, own });
    }

    fn get_or_add(&mut self, shape: &NewShape) {
        let before = read(self.reference.last_seq());
        let here = self.attempted(self.store().get_or_add(shape, PATIENT));
        if matches!(here, Tried::Failed) && read(self.store().last_seq()) == before {
            return;
        }
        let expected = self.reference.get_or_add(shape, PATIENT);
        let receipt = match (here, expected) {
            (Tried::Accepted(here), Ok(expected)) => {
                assert_eq!((&here.handle, here.added), (&expected.handle, expected.added), "C5: get_or_add");
                let (place, last) = (here.receipt.seq(), expected.receipt.seq());
                assert!(place == last || !here.added && place < last, "C5: place {place} instead of {last}");
                here.receipt
            }
            (Tried::Failed, Ok(expected)) => expected.receipt,
            (Tried::Refused(here), Err(MutateError::Refused(expected))) => {
                assert_eq!(here, expected, "C5: outcome of get_or_add");
                return;
            }
            (Tried::Accepted(here), other) => panic!("C5: {here:?}, and expected is {other:?}"),
            (Tried::Refused(here), other) => panic!("C5: refused ({here}), and expected is {other:?}"),
            (Tried::Failed, Err(other)) => panic!("C5: added, and expected is {other:?}"),
        };
        self.accepted(before, &Mutation::Add(shape.clone()), receipt);
    }

    /// Hears what the receipts say. Where mutations were taken out (C8), the reference goes on as if they had
    /// never been.
    fn settle(&mut self) {
        let (history, durable) = (&mut self.history, &mut self.durable);
        let mut taken_out = false;
        self.waiting.retain(|Waiting { receipt, own }| match receipt.wait_durable(Duration::ZERO) {
            Ok(()) => {
                *durable = receipt.seq().max(*durable);
                false
            }
            Err(NotDurable::TimedOut) => true,
            Err(NotDurable::Rejected(_)) => {
                if let Some(seq) = own {
                    history.take_out(*seq);
                    taken_out = true;
                }
                false
            }
            Err(other) => panic!("C9: {receipt:?}: {other}"),
        });
        if taken_out {
            self.reference = reference(&self.history);
        }
    }

    fn all_durable(&self) {
        if let Some(Waiting { receipt, .. }) = self.waiting.first() {
            panic!("C6: not durable after a flush: {receipt:?}");
        }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.paused) {
            self.fixture.resume(self.store());
        }
    }

    /// Who reads beside sees all that is on disk, and when each shape was last read only as far as that is.
    fn look_beside(&self) {
        let Some(mut view) = self.fixture.beside(self.store()) else { return };
        if self.is_settled() {
            let mut expected = View::of(&self.reference);
            for shape in view.shapes.iter_mut().chain(&mut expected.shapes) {
                shape.last_read = None;
            }
            assert_eq!(view, expected, "C5: what is shown beside the composition");
        }
    }

    fn reopen(&mut self, reopen: impl Fn(&F, F::Store, Timestamp) -> Result<F::Store, F::Store>) {
        self.resume();
        let at = Timestamp::from_micros(self.opened + 1_000);
        let Some(store) = self.store.take() else { return };
        match reopen(self.fixture, store, at) {
            Err(unchanged) => {
                // Closing would have flushed it.
                self.store = Some(unchanged);
                self.fixture.flush(self.store());
            }
            Ok(reopened) => {
                // What was taken out as it was closed.
                self.settle();
                self.all_durable();
                self.opened_again(reopened, at);
            }
        }
    }

    /// What is left must be all up to some place in the order, and no less than was declared durable (C6).
    fn crash(&mut self) {
        let at = Timestamp::from_micros(self.opened + 1_000);
        let Some(store) = self.store.take() else { return };
        match self.fixture.crash(store, at) {
            Err(unchanged) => self.store = Some(unchanged),
            Ok(left) => {
                let (last, all) = (read(left.last_seq()), read(self.reference.last_seq()));
                assert!(last >= self.durable, "C6: {last} is left, and {} was durable", self.durable);
                assert!(last <= all, "C6: {last} is left of {all}");
                self.history.forget_after(last);
                self.waiting.clear();
                self.paused = false;
                self.opened_again(left, at);
            }
        }
    }

    fn opened_again(&mut self, store: F::Store, at: Timestamp) {
        let known: HashMap<_, _> = View::of(&self.reference)
            .shapes
            .into_iter()
            .map(|shape| (shape.created, shape.last_read))
            .collect();
        let mut found = View::of(&store).shapes;
        found.retain(|shape| known.get(&shape.created) != Some(&shape.last_read));
        // A store that asks the clock shows on shapes that were never read what it has been told; and that is
        // later than everything before.
        let moment = found.iter().filter_map(|shape| shape.last_read).max().unwrap_or(at);
        for shape in found {
            self.history.reads_are_lost(shape.created, shape.last_read);
        }
        self.opened = moment.as_micros();
        self.history.reopened(moment);
        self.reference = reference(&self.history);
        self.store = Some(store);
    }

    /// Every read, on all that there is and on what there is not.
    fn compare(&self) {
        let (store, reference) = (self.store(), &self.reference);
        let (view, expected) = (View::of(store), View::of(reference));
        assert_eq!(view, expected, "C5: the view of the composition and that of the reference");

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
        for asked in 0..1 << RELATIONS {
            let asked: Vec<_> = bits(asked, RELATIONS).map(relation).collect();
            assert_eq!(reading(store, &asked), reading(reference, &asked), "readers of {asked:?}");
        }
        let listed = |list: Vec<ScanItem>| list.iter().map(Seen::of).collect::<Vec<_>>();
        assert_eq!(listed(read(store.list())), listed(read(reference.list())), "lists");
        let all = usize::from(HANDLES);
        for n in [1, all] {
            self.compare_stalest(n, &HandleSet::new());
        }
    }

    /// Shapes that were read at the same moment may come in any order, and any of them where not all fit.
    fn compare_stalest(&self, n: usize, excluded: &HandleSet) {
        let found = read(self.store().least_recently_used(n, excluded));
        let expected = read(self.reference.least_recently_used(n, excluded));
        let times = |found: &LeastRecentlyUsed| found.shapes.iter().map(|(_, at)| *at).collect::<Vec<_>>();
        assert_eq!(times(&found), times(&expected), "the {n} stalest except {excluded:?}");
        let mut seen = HandleSet::new();
        for (handle, at) in found.shapes {
            let metadata = read(self.reference.metadata(&handle));
            assert_eq!(metadata.and_then(|metadata| metadata.last_read), Some(at), "{handle:?}");
            assert!(!excluded.contains(&handle) && seen.insert(handle));
        }
    }
}

/// The reference, as it must be after this.
fn reference(history: &History) -> Direct<MemoryStore> {
    let fresh = read(Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)));
    history.play(fresh, |store, at| {
        store.inner().reopen(at);
        store
    })
}
