use std::{fmt, sync::Arc};

use super::{
    super::{
        Fixture, View,
        act::PATIENT,
        sample::key,
        view::{Seen, read, reading},
    },
    HANDLES, KEYS, Op, RELATIONS,
    spec::{bits, op_handle, relation},
};
use crate::{
    Direct, HandleSet, LeastRecentlyUsed, Limits, Listed, MemoryStore, MutateError, MutateShapesExt,
    Mutation, NewShape, ReadShapes, ReadShapesExt, Receipt, Refusal, Silent, SnapshotState, Timestamp,
};

/// Plays these operations on a fresh store of the fixture and on the reference in step.
///
/// # Panics
///
/// If any outcome or any read differs after any step (C5). What was played until then is printed to
/// standard error.
pub fn lockstep<F: Fixture>(fixture: &F, ops: &[Op]) {
    let mut lockstep = Lockstep::new(fixture);
    for op in ops {
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
    played: Played,
    paused: bool,
    /// Of what was accepted since the last flush.
    receipts: Vec<Receipt>,
    /// The moment of the last reopening: touches count from here.
    opened: u64,
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
        let reference = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(Silent));
        Self {
            fixture,
            store: Some(fixture.open()),
            reference: read(reference),
            played: Played(Vec::new()),
            paused: false,
            receipts: Vec::new(),
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

    /// Plays one operation and compares its outcome and every read.
    pub fn step(&mut self, op: Op) {
        self.played.0.push(op);
        self.play(op);
        self.compare();
    }

    /// Makes all durable and compares a last time.
    pub fn finish(mut self) {
        self.step(Op::Resume);
        self.step(Op::Flush);
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
            }
            Op::Stalest { n, excluded } => {
                let excluded = bits(excluded, HANDLES).map(op_handle).collect();
                self.compare_stalest(usize::from(n % (HANDLES + 2)), &excluded);
            }
            Op::ScanAcrossRemove { handle } => self.scan_across_remove(&op_handle(handle)),
            Op::Reset => self.mutate(&Mutation::Reset),
            Op::Flush => self.flush(),
            Op::Pause => self.paused = self.paused || self.fixture.pause(self.store()),
            Op::Resume => self.resume(),
            Op::Disturb { way } => self.fixture.disturb(self.store(), way),
            Op::Reopen => self.reopen(),
        }
    }

    fn scan_across_remove(&mut self, handle: &str) {
        let expected = View::of(&self.reference).shapes;
        // The scan borrows the store, so what happens meanwhile happens here, and not through `self`.
        let (here, there) = (self.store(), &self.reference);
        let scan = read(here.scan());
        let removed = outcome(here.remove(handle, PATIENT)).map(|receipt| receipt.seq());
        assert_eq!(removed, outcome(there.remove(handle, PATIENT)).map(|receipt| receipt.seq()));
        if !self.paused {
            self.fixture.flush(here);
        }
        let shown: Vec<_> = scan.map(|listed| Seen::of(&read(listed))).collect();
        assert_eq!(shown, expected, "C5: a scan shows what was live when it was made");
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
        let here = outcome(self.store().mutate(mutation, PATIENT));
        let expected = outcome(self.reference.mutate(mutation, PATIENT));
        match (here, expected) {
            (Ok(here), Ok(expected)) => {
                // The receipt of what was so already may lie anywhere before.
                let (place, last) = (here.seq(), expected.seq());
                assert!(
                    place == last || last == before && place < last,
                    "C5: place {place} instead of {last}"
                );
                self.receipts.push(here);
            }
            (here, expected) => {
                assert_eq!(here.err(), expected.err(), "C5: outcome of a mutation");
            }
        }
    }

    fn get_or_add(&mut self, shape: &NewShape) {
        let here = outcome(self.store().get_or_add(shape, PATIENT));
        let expected = outcome(self.reference.get_or_add(shape, PATIENT));
        match (here, expected) {
            (Ok(here), Ok(expected)) => {
                assert_eq!((&here.handle, here.added), (&expected.handle, expected.added), "C5: get_or_add");
                let (place, last) = (here.receipt.seq(), expected.receipt.seq());
                assert!(place == last || !here.added && place < last, "C5: place {place} instead of {last}");
                self.receipts.push(here.receipt);
            }
            (here, expected) => {
                let refusals = (here.map(|_| ()), expected.map(|_| ()));
                assert_eq!(refusals.0, refusals.1, "C5: outcome of get_or_add");
            }
        }
    }

    fn flush(&mut self) {
        if !self.paused {
            self.fixture.flush(self.store());
            self.all_durable();
        }
    }

    fn all_durable(&mut self) {
        for receipt in self.receipts.drain(..) {
            assert!(receipt.is_durable(), "C6: not durable after a flush: {receipt:?}");
        }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.paused) {
            self.fixture.resume(self.store());
        }
    }

    fn reopen(&mut self) {
        self.resume();
        let at = Timestamp::from_micros(self.opened + 1_000);
        let Some(store) = self.store.take() else { return };
        match self.fixture.reopen(store, at) {
            Err(unchanged) => self.store = Some(unchanged),
            Ok(reopened) => {
                // A store that asks the clock shows on its shapes what it has been told.
                let first = read(reopened.scan()).next().map(read);
                let moment = first.and_then(|listed| listed.metadata.last_read).unwrap_or(at);
                self.opened = moment.as_micros();
                self.reference.inner().reopen(moment);
                self.store = Some(reopened);
                self.all_durable();
            }
        }
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
        let listed = |list: Vec<Listed>| list.iter().map(Seen::of).collect::<Vec<_>>();
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

/// An accepted mutation or a refusal; a failure of the composition ends the test.
#[track_caller]
fn outcome<T>(outcome: Result<T, MutateError>) -> Result<T, Refusal> {
    match outcome {
        Ok(value) => Ok(value),
        Err(MutateError::Refused(refusal)) => Err(refusal),
        Err(MutateError::Failed(error)) => panic!("C5: a mutation failed: {error:?}"),
    }
}
