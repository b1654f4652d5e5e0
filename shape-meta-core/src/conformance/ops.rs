//! Model tests: sequences of operations, for a composition and the reference in step.

use std::{fmt, sync::Arc};

use super::{
    Fixture, View,
    act::PATIENT,
    sample::{handle, key},
    view::{Seen, read, reading},
};
use crate::{
    Direct, HandleSet, Limits, MemoryStore, MutateError, MutateShapesExt, NewShape, ReadShapes,
    ReadShapesExt, Refusal, Relation, Silent, SnapshotState, Timestamp,
};

/// How many handles there are in the small world of the operations, so that they meet often.
pub const HANDLES: u8 = 6;
/// How many keys there are.
pub const KEYS: u8 = 5;
/// How many relations there are.
pub const RELATIONS: u8 = 4;

/// One operation on a small world of handles, keys and relations. Every number is taken modulo the size of
/// its world, so any numbers make an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds a shape.
    Add(Spec),
    /// Finds the shape with that key or adds it.
    GetOrAdd(Spec),
    /// Removes a shape.
    Remove {
        /// Its handle.
        handle: u8,
    },
    /// Removes a shape and adds it again at once, same handle and same key, with other relations.
    AddAgain {
        /// Its handle.
        handle: u8,
        /// The new relations, a bit each.
        relations: u8,
    },
    /// The snapshot has begun.
    MarkStarted {
        /// Whose.
        handle: u8,
    },
    /// The snapshot is whole.
    MarkComplete {
        /// Whose.
        handle: u8,
    },
    /// Notes a read.
    Touch {
        /// Of which handle.
        handle: u8,
        /// Microseconds after the last reopening.
        at: u8,
    },
    /// Asks who was not read for longest.
    Stalest {
        /// At most so many.
        n: u8,
        /// Handles to be passed over, a bit each.
        excluded: u8,
    },
    /// Makes a scan, removes this shape, flushes, and reads the scan to its end.
    ScanAcrossRemove {
        /// The handle to be removed.
        handle: u8,
    },
    /// Removes every shape.
    Reset,
    /// Makes all durable, unless paused.
    Flush,
    /// Holds flushing back.
    Pause,
    /// Ends the pause.
    Resume,
    /// Lets the store below fail for a while; see [`Fixture::disturb`].
    Disturb {
        /// In which way.
        way: u8,
    },
    /// Closes and opens again, with recovery.
    Reopen,
}

/// A shape of the small world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its handle.
    pub handle: u8,
    /// Its key.
    pub key: u8,
    /// Its relations, a bit each.
    pub relations: u8,
    /// What it builds on: keys, a bit each.
    pub dependencies: u8,
    /// The size of its definition, in steps of a hundred bytes, and whether it is indexed (if odd).
    pub size: u8,
}

impl Spec {
    /// The shape.
    pub fn shape(self) -> NewShape {
        let identity = key(u64::from(self.key % KEYS));
        NewShape {
            handle: op_handle(self.handle),
            key: identity,
            hash: identity.definition_hash(),
            relations: bits(self.relations, RELATIONS).map(relation).collect(),
            dependencies: bits(self.dependencies, KEYS).map(|number| key(number.into())).collect(),
            indexed: self.size % 2 == 1,
            definition: vec![self.size; usize::from(self.size) * 100].into(),
        }
    }
}

impl From<[u8; 6]> for Op {
    /// Any six bytes are an operation; smaller bytes are simpler ones. Adds, removals and marks are more
    /// frequent than what clears the table.
    fn from([kind, a, b, c, d, e]: [u8; 6]) -> Self {
        let spec = Spec { handle: a, key: b, relations: c, dependencies: d, size: e };
        match kind {
            0..48 => Self::Add(spec),
            48..80 => Self::GetOrAdd(spec),
            80..116 => Self::Remove { handle: a },
            116..140 => Self::AddAgain { handle: a, relations: b },
            140..156 => Self::MarkStarted { handle: a },
            156..180 => Self::MarkComplete { handle: a },
            180..196 => Self::Touch { handle: a, at: b },
            196..204 => Self::Stalest { n: a, excluded: b },
            204..210 => Self::ScanAcrossRemove { handle: a },
            210..213 => Self::Reset,
            213..230 => Self::Flush,
            230..236 => Self::Pause,
            236..242 => Self::Resume,
            242..250 => Self::Disturb { way: a },
            250..=255 => Self::Reopen,
        }
    }
}

impl Op {
    /// As many operations as asked for, the same ones for the same seed.
    pub fn random(seed: u64, count: usize) -> Vec<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let one = || {
            let mut bytes = [0; 6];
            random.fill(&mut bytes);
            Self::from(bytes)
        };
        std::iter::repeat_with(one).take(count).collect()
    }
}

fn op_handle(number: u8) -> crate::Handle {
    handle((number % HANDLES).into())
}

fn relation(number: u8) -> Relation {
    Relation::new(16_500 + u32::from(number))
}

/// The numbers below `world` whose bit is set.
fn bits(bits: u8, world: u8) -> impl Iterator<Item = u8> {
    (0..world).filter(move |number| bits & (1 << number) != 0)
}

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
            Op::ScanAcrossRemove { handle } => {
                let handle = op_handle(handle);
                let shown = self.scan_across(self.store(), || {
                    self.remove(&handle);
                    self.flush();
                });
                let expected = View::of(&self.reference).shapes;
                let without: Vec<_> = shown.into_iter().filter(|shape| shape.handle != handle).collect();
                assert_eq!(without, expected, "C5: a scan shows what was live when it was made");
            }
            Op::Reset => self.same(self.store().reset(PATIENT), self.reference.reset(PATIENT)),
            Op::Flush => self.flush(),
            Op::Pause => self.paused = self.paused || self.fixture.pause(self.store()),
            Op::Resume => self.resume(),
            Op::Disturb { way } => self.fixture.disturb(self.store(), way),
            Op::Reopen => self.reopen(),
        }
    }

    /// What a scan shows that is made before, and read after this happens.
    fn scan_across(&self, store: &F::Store, happens: impl FnOnce()) -> Vec<Seen> {
        let before = View::of(&self.reference).shapes;
        let scan = read(store.scan());
        happens();
        let shown: Vec<_> = scan.map(|listed| Seen::of(&read(listed))).collect();
        assert_eq!(shown, before, "C5: a scan shows what was live when it was made");
        shown
    }

    fn add(&self, shape: NewShape) {
        self.same(self.store().add(shape.clone(), PATIENT), self.reference.add(shape, PATIENT));
    }

    fn remove(&self, handle: &str) {
        self.same(self.store().remove(handle, PATIENT), self.reference.remove(handle, PATIENT));
    }

    fn mark(&self, handle: &str, state: SnapshotState) {
        let mark = crate::Mutation::Mark(handle.to_owned(), state);
        self.same(self.store().mutate(&mark, PATIENT), self.reference.mutate(&mark, PATIENT));
    }

    fn get_or_add(&self, shape: &NewShape) {
        let outcome = outcome(self.store().get_or_add(shape, PATIENT));
        let expected = outcome_of_reference(self.reference.get_or_add(shape, PATIENT));
        let comparable = |made: &crate::GetOrAdd| (made.handle.clone(), made.added);
        assert_eq!(
            outcome.as_ref().map(comparable),
            expected.as_ref().map(comparable),
            "C5: outcome of get_or_add"
        );
        if let (Ok(made), Ok(expected)) = (&outcome, &expected) {
            let last = read(self.reference.last_seq());
            assert!(made.receipt.seq() <= last, "{:?} is later than the last mutation {last}", made.receipt);
            assert!(!made.added || made.receipt.seq() == expected.receipt.seq());
        }
    }

    fn same(
        &self,
        outcome_here: Result<crate::Receipt, MutateError>,
        expected: Result<crate::Receipt, MutateError>,
    ) {
        // The receipt of what was so already may lie anywhere before; that of a mutation is its place,
        // which the comparison of the last places checks.
        let place = |receipt: crate::Receipt| receipt.seq();
        let (here, expected) = (outcome(outcome_here).map(place), outcome_of_reference(expected).map(place));
        match (here, expected) {
            (Ok(here), Ok(expected)) => assert!(here <= expected, "C5: place {here} instead of {expected}"),
            (here, expected) => assert_eq!(here, expected, "C5: outcome of a mutation"),
        }
    }

    fn flush(&self) {
        if !self.paused {
            self.fixture.flush(self.store());
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
        let listed = |list: Vec<crate::Listed>| list.iter().map(Seen::of).collect::<Vec<_>>();
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
        let times =
            |found: &crate::LeastRecentlyUsed| found.shapes.iter().map(|(_, at)| *at).collect::<Vec<_>>();
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

/// The same for the reference, which cannot fail.
fn outcome_of_reference<T>(reference: Result<T, MutateError>) -> Result<T, Refusal> {
    outcome(reference)
}

/// Random sequences of all operations, on the composition and on the reference: C5.
pub fn c5_equals_the_reference<F: Fixture>(fixture: &F) {
    for seed in 0..8 {
        lockstep(fixture, &Op::random(seed, 150));
    }
}
