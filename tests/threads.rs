//! C1 to C3 with threads that use the same few shapes, on every composition over a file.
//!
//! Every accepted mutation has a sequence number. When the threads have ended, their mutations are played in
//! that order on the reference model. It must accept each one with the same sequence number and end in the
//! same state. Meanwhile, readers look at all indexes, and none of them may ever see an older state after a
//! newer one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use fastrand::Rng;
use shape_meta::{
    DefinitionHash, Limits, MutateError, MutateShapesExt, Mutation, NewShape, NoopObserver, ReadShapes,
    ReadShapesExt, Relation, Seq, ShapeMeta, SnapshotState, StoreControl, Timestamp,
};
use shape_meta_core::{
    Direct, MemoryStore,
    conformance::{ShapeView, View, key, relations},
};

use shape_meta_harness::compositions::{
    ALL, BUFFERED, Composition, DIRECT, DIRECT_CACHED, FlushSchedule, PRODUCT, PRODUCT_DISK_LOOKUPS, TIMEOUT,
    WAIT, directory,
};

const KEYS: u64 = 4;
const WRITERS: u64 = 4;
const READERS: u64 = 2;

/// One of the two shapes that share this key. The handle names the key and the twin; the hash is the twin.
fn shape(number: u64, twin: u64) -> NewShape {
    NewShape {
        handle: format!("{number}-{twin}").parse().expect("printable"),
        hash: DefinitionHash::new(twin),
        relations: relations(&[number as u32, 100 + twin as u32]),
        definition: format!("{number}-{twin}").into_bytes().into(),
        ..shape_meta_core::conformance::shape(number)
    }
}

/// An accepted mutation and its sequence number.
struct Done {
    seq: Seq,
    mutation: Mutation,
}

fn mutate(store: &ShapeMeta, random: &mut Rng, done: &mut Vec<Done>) -> Result<(), MutateError> {
    let shape = shape(random.u64(..KEYS), random.u64(..2));
    let handle = shape.handle.to_string();
    let mutation = match random.u8(..20) {
        0..6 => {
            let got = store.get_or_add(&shape, WAIT)?;
            let number = handle.split('-').next();
            assert_eq!(got.handle.split('-').next(), number, "C2: the handle of another key");
            if !got.added {
                return Ok(());
            }
            done.push(Done { seq: got.receipt.seq(), mutation: Mutation::Add(shape) });
            return Ok(());
        }
        6..9 => Mutation::Add(shape),
        9..15 => Mutation::Remove(handle),
        15..17 => Mutation::snapshot_started(handle),
        _ => Mutation::snapshot_complete(handle),
    };
    let receipt = store.mutate(&mutation, WAIT)?;
    done.push(Done { seq: receipt.seq(), mutation });
    Ok(())
}

/// Applies mutations, most of which are refused because another thread was faster. Some iterations wait for a
/// flush, request one, record a read, or pause and resume.
fn write(store: &ShapeMeta, seed: u64, rounds: u64) -> Vec<Done> {
    let mut random = Rng::with_seed(seed);
    let mut done = Vec::new();
    for _ in 0..rounds {
        match mutate(store, &mut random, &mut done) {
            Ok(()) | Err(MutateError::Refused(_)) => {}
            Err(MutateError::Failed(error)) => panic!("nothing fails here: {error:?}"),
        }
        match random.u8(..40) {
            0 => drop(store.request_flush()),
            1 => store.flush(TIMEOUT).expect("nothing fails"),
            2 => {
                let touched = store.touch_now(&format!("{}-0", random.u64(..KEYS)));
                touched.expect("it can be read");
            }
            3 => {
                store.pause();
                store.resume();
            }
            _ => {}
        }
    }
    done
}

/// The newest state that one reader has seen. No later read may be older.
#[derive(Default)]
struct Observed {
    last_seq: Seq,
    /// For each key: the latest shape with it, and the snapshot state of that shape.
    latest: BTreeMap<u64, (Seq, SnapshotState)>,
}

impl Observed {
    /// Records a shape. At most one shape has a key at any time, so the shapes of a key are seen in the order
    /// of their adds.
    fn saw(&mut self, number: u64, created: Seq, state: Option<SnapshotState>) {
        let state = state.unwrap_or_default();
        let (latest, known) = self.latest.entry(number).or_default();
        assert!(created >= *latest, "C1: the shape of {created} with key {number} after that of {latest}");
        if created == *latest {
            *known = state.max(*known);
        } else {
            (*latest, *known) = (created, state);
        }
    }

    /// Records a snapshot state that was read by itself. It must not be older than an earlier state of the
    /// same shape.
    fn saw_state(&mut self, number: u64, created: Seq, state: SnapshotState) {
        if let Some((latest, known)) = self.latest.get(&number)
            && *latest == created
        {
            assert!(state >= *known, "C1: {state} after {known} of {created}");
        }
        self.saw(number, created, Some(state));
    }

    fn look(&mut self, store: &ShapeMeta, random: &mut Rng) -> shape_meta::Result<()> {
        let number = random.u64(..KEYS);
        match random.u8(..6) {
            0 => {
                if let Some(handle) = store.handle_for(&key(number))? {
                    let twin = self.assert_twin(number, &handle);
                    if let Some(record) = store.record(&handle)? {
                        let whole = shape(number, twin);
                        assert_eq!(*record.key(), whole.key, "C1: the handle of a key has that key");
                        assert_eq!((record.handle(), record.entry.hash()), (&whole.handle, whole.hash));
                        assert_eq!(
                            record.definition, whole.definition,
                            "C1: the definition belongs to the handle"
                        );
                        assert_eq!(*record.entry.relations(), *whole.relations);
                        self.saw(number, record.entry.created(), None);
                    }
                }
            }
            1 => {
                let twin = random.u64(..2);
                if let Some(metadata) = store.metadata(&shape(number, twin).handle)? {
                    assert_eq!(metadata.hash, DefinitionHash::new(twin));
                    self.saw_state(number, metadata.created, metadata.state);
                }
            }
            2 => {
                let reading = store.handles_for_relations(&[Relation::new(number as u32)])?;
                assert!(reading.len() <= 1, "C2: {reading:?} have one key");
                for handle in &reading {
                    self.assert_twin(number, handle);
                }
                let twins = store.handles_for_relations(&[Relation::new(100), Relation::new(101)])?;
                assert!(twins.len() as u64 <= KEYS, "C2: {twins:?}");
            }
            3 => {
                let counts = store.counts()?;
                assert!(counts.total <= KEYS && counts.indexed <= KEYS / 2, "C2: {counts:?}");
            }
            4 => {
                let before = store.last_seq()?;
                assert!(
                    before >= self.last_seq,
                    "C1: the last sequence number is {before} after {}",
                    self.last_seq
                );
                self.last_seq = before;
                let newest = self.latest.values().map(|(created, _)| *created).max();
                assert!(
                    newest.is_none_or(|newest| newest <= before),
                    "C1: a shape of sequence number {newest:?} was seen, but the last one is {before}"
                );
            }
            _ => {
                let listed = store.scan()?.collect::<shape_meta::Result<Vec<_>>>()?;
                assert!(listed.is_sorted_by(|one, next| one.metadata.created < next.metadata.created));
                let mut keys: Vec<_> = listed.iter().map(|listed| *listed.record.key()).collect();
                keys.sort_unstable();
                keys.dedup();
                assert_eq!(keys.len(), listed.len(), "C2: a key twice in one scan");
                for listed in listed {
                    let number = (0..KEYS).find(|number| key(*number) == *listed.record.key());
                    let number = number.expect("one of the keys");
                    self.assert_twin(number, listed.record.handle());
                    self.saw_state(number, listed.metadata.created, listed.metadata.state);
                }
            }
        }
        Ok(())
    }

    fn assert_twin(&self, number: u64, handle: &str) -> u64 {
        let twin = (0..2).find(|twin| shape(number, *twin).handle == *handle);
        twin.unwrap_or_else(|| panic!("C1: {handle:?} by the key {number}"))
    }
}

/// Stops the readers when it is dropped, also by a panic.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn storm(composition: Composition, rounds: u64) {
    let directory = directory();
    let store = composition.open(directory.path());
    let over = AtomicBool::new(false);
    let mut done = thread::scope(|scope| {
        for reader in 0..READERS {
            let (store, over) = (store.clone(), &over);
            scope.spawn(move || {
                let (mut observed, mut random) = (Observed::default(), Rng::with_seed(reader));
                while !over.load(Ordering::Acquire) {
                    observed.look(&store, &mut random).expect("nothing fails");
                }
            });
        }
        let _over = StopOnDrop(&over);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                scope.spawn(move || write(&store, 100 + writer, rounds))
            })
            .collect();
        let done = writers.into_iter().map(|writer| writer.join().expect("a writer panicked"));
        done.flatten().collect::<Vec<_>>()
    });
    store.flush(TIMEOUT).expect("nothing fails");

    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    done.sort_by_key(|done| done.seq);
    replay(&model, &done);
    let view = View::of(&store);
    assert_eq!(forget_reads(view), forget_reads(View::of(&model)), "C1: {composition:?}");

    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    model.inner().reopen(Timestamp::from_micros(1));
    let view = View::of(&composition.open(directory.path()));
    assert_eq!(forget_reads(view), forget_reads(View::of(&model)), "C6: {composition:?} after a reopening");
}

/// Plays the accepted mutations in their order. A mark that changed nothing has the sequence number of
/// another mutation, and is not played.
fn replay(model: &Direct<MemoryStore>, done: &[Done]) {
    for same_seq in done.chunk_by(|one, next| one.seq == next.seq) {
        let (seq, last) = (same_seq[0].seq, model.last_seq().expect("memory"));
        assert_eq!(seq, last.next(), "C6: sequence numbers have no gaps");
        let rank = |done: &&Done| (!is_mark(&done.mutation), advance(model, &done.mutation));
        let made = same_seq.iter().max_by_key(rank).expect("a chunk is not empty");
        let others = same_seq.iter().filter(|other| !std::ptr::eq(*other, made));
        assert!(
            { others }.all(|other| is_mark(&other.mutation)),
            "C6: two mutations have sequence number {seq}"
        );
        match model.mutate(&made.mutation, WAIT) {
            Ok(receipt) => assert_eq!(
                receipt.seq(),
                seq,
                "C6: {:?} changes nothing at its sequence number",
                made.mutation
            ),
            Err(error) => {
                panic!("C1: {:?} was accepted, but the model refuses it at {seq}: {error}", made.mutation)
            }
        }
    }
}

fn is_mark(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::Mark(..))
}

/// Returns the state to which this mark would advance the model's shape.
fn advance(model: &Direct<MemoryStore>, mutation: &Mutation) -> Option<SnapshotState> {
    let Mutation::Mark(handle, state) = mutation else { return None };
    let known = model.snapshot_state(handle).expect("memory")?;
    (known < *state).then_some(*state)
}

fn forget_reads(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| ShapeView { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}

#[test]
fn c1_c2_c3_threads_are_linearizable_on_direct() {
    storm(DIRECT, 400);
    storm(DIRECT_CACHED, 400);
}

#[test]
fn c1_c2_c3_threads_are_linearizable_on_every_composition() {
    for composition in ALL {
        storm(composition, 200);
    }
}

#[test]
fn c1_c2_c3_threads_are_linearizable_with_constant_flushes() {
    for composition in [BUFFERED, PRODUCT, PRODUCT_DISK_LOOKUPS] {
        storm(composition.with_flush_schedule(FlushSchedule::Continuous), 1_000);
    }
}

#[test]
fn c1_c2_c3_threads_are_linearizable_with_default_flushes() {
    for composition in [BUFFERED, PRODUCT, PRODUCT_DISK_LOOKUPS] {
        storm(composition, 3_000);
    }
}
