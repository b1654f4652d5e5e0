//! C1 to C3 with real threads on the same few shapes, on every composition over a file.
//!
//! Every accepted mutation has a place in the order. So when the threads are done, their mutations are
//! played in that order on the reference model, one by one, which must accept each at the same place and end
//! in the same state: the outcomes were those of one order. Meanwhile readers look at all indexes, and time
//! must never run backwards for any of them.

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
    conformance::{Seen, View, key, relations},
};

use shape_meta_harness::compositions::{
    ALL, BUFFERED, Composition, DIRECT, DIRECT_CACHED, Flushing, PATIENT, PRODUCT, PRODUCT_ON_DISK, WAIT,
    directory,
};

const KEYS: u64 = 4;
const WRITERS: u64 = 4;
const READERS: u64 = 2;

/// One of the two shapes that have this key. A handle says whose it is, and the hash which of the two.
fn shape(number: u64, twin: u64) -> NewShape {
    NewShape {
        handle: format!("{number}-{twin}").parse().expect("printable"),
        hash: DefinitionHash::new(twin),
        relations: relations(&[number as u32, 100 + twin as u32]),
        definition: format!("{number}-{twin}").into_bytes().into(),
        ..shape_meta_core::conformance::shape(number)
    }
}

/// What a thread asked for, and which place it was given.
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

/// Some mutations, most of which are refused because another thread was faster. Now and then it waits for
/// one to become durable, or asks for a flush.
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
            1 => store.flush(PATIENT).expect("nothing fails"),
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

/// What one reader has seen: none of it may ever go back.
#[derive(Default)]
struct Eye {
    last_seq: Seq,
    /// By key: the latest shape that had it, and how far its snapshot was.
    latest: BTreeMap<u64, (Seq, SnapshotState)>,
}

impl Eye {
    /// At most one shape has a key at any time. So those that had it are seen in the order of their adds.
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

    /// A state that is read by itself: it must not be less than what was seen of the same shape.
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
                    let twin = self.is_one_of(number, &handle);
                    if let Some(record) = store.record(&handle)? {
                        let whole = shape(number, twin);
                        assert_eq!(*record.key(), whole.key, "C1: a key's handle has that key");
                        assert_eq!((record.handle(), record.entry.hash()), (&whole.handle, whole.hash));
                        assert_eq!(record.definition, whole.definition, "C1: and its own definition");
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
                    self.is_one_of(number, handle);
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
                assert!(before >= self.last_seq, "C1: the order is at {before} after {}", self.last_seq);
                self.last_seq = before;
                let newest = self.latest.values().map(|(created, _)| *created).max();
                assert!(newest.is_none_or(|newest| newest <= before), "C1: {newest:?} was seen at {before}");
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
                    let number = number.expect("a key of this world");
                    self.is_one_of(number, listed.record.handle());
                    self.saw_state(number, listed.metadata.created, listed.metadata.state);
                }
            }
        }
        Ok(())
    }

    fn is_one_of(&self, number: u64, handle: &str) -> u64 {
        let twin = (0..2).find(|twin| shape(number, *twin).handle == *handle);
        twin.unwrap_or_else(|| panic!("C1: {handle:?} by the key {number}"))
    }
}

/// Tells the readers when it goes, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
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
                let (mut eye, mut random) = (Eye::default(), Rng::with_seed(reader));
                while !over.load(Ordering::Acquire) {
                    eye.look(&store, &mut random).expect("nothing fails");
                }
            });
        }
        let _over = Over(&over);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                scope.spawn(move || write(&store, 100 + writer, rounds))
            })
            .collect();
        let done = writers.into_iter().map(|writer| writer.join().expect("a writer panicked"));
        done.flatten().collect::<Vec<_>>()
    });
    store.flush(PATIENT).expect("nothing fails");

    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    done.sort_by_key(|done| done.seq);
    replay(&model, &done);
    let view = View::of(&store);
    assert_eq!(forget_reads(view), forget_reads(View::of(&model)), "C1: {composition:?}");

    assert!(store.close(PATIENT).is_complete());
    drop(store);
    model.inner().reopen(Timestamp::from_micros(1));
    let view = View::of(&composition.open(directory.path()));
    assert_eq!(forget_reads(view), forget_reads(View::of(&model)), "C6: {composition:?} after a reopening");
}

/// Plays what was accepted in its order. A mark that found things so already was given the place of some
/// other mutation; it made nothing, and there is nothing to play.
fn replay(model: &Direct<MemoryStore>, done: &[Done]) {
    for at_one_place in done.chunk_by(|one, next| one.seq == next.seq) {
        let (seq, last) = (at_one_place[0].seq, model.last_seq().expect("memory"));
        assert_eq!(seq, last.next(), "C6: the order has no gaps");
        let rank = |done: &&Done| (!is_mark(&done.mutation), advance(model, &done.mutation));
        let made = at_one_place.iter().max_by_key(rank).expect("a chunk is not empty");
        let others = at_one_place.iter().filter(|other| !std::ptr::eq(*other, made));
        assert!({ others }.all(|other| is_mark(&other.mutation)), "C6: two mutations at {seq}");
        match model.mutate(&made.mutation, WAIT) {
            Ok(receipt) => assert_eq!(receipt.seq(), seq, "C6: {:?} changes nothing there", made.mutation),
            Err(error) => panic!("C1: {:?} was accepted, and cannot be at {seq}: {error}", made.mutation),
        }
    }
}

fn is_mark(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::Mark(..))
}

/// The state to which the model would be moved.
fn advance(model: &Direct<MemoryStore>, mutation: &Mutation) -> Option<SnapshotState> {
    let Mutation::Mark(handle, state) = mutation else { return None };
    let known = model.snapshot_state(handle).expect("memory")?;
    (known < *state).then_some(*state)
}

fn forget_reads(view: View) -> View {
    let shapes = view.shapes.into_iter().map(|shape| Seen { last_read: None, ..shape });
    View { shapes: shapes.collect(), ..view }
}

#[test]
fn c1_c2_c3_one_order_for_all_on_direct() {
    storm(DIRECT, 400);
    storm(DIRECT_CACHED, 400);
}

#[test]
fn c1_c2_c3_one_order_for_all_on_every_composition() {
    for composition in ALL {
        storm(composition, 200);
    }
}

#[test]
fn c1_c2_c3_one_order_for_all_flushed_all_the_time() {
    for composition in [BUFFERED, PRODUCT, PRODUCT_ON_DISK] {
        storm(composition.flushing(Flushing::Busy), 1_000);
    }
}

#[test]
fn c1_c2_c3_one_order_for_all_flushed_as_usual() {
    for composition in [BUFFERED, PRODUCT, PRODUCT_ON_DISK] {
        storm(composition, 3_000);
    }
}
