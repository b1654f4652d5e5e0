//! I9: a read or a mutation is not started over for each flush that ends meanwhile.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Batch, Change, Entry, ErrorKind, Handle, HandleSet, LeastRecentlyUsed, MutateError, MutateShapesExt,
    NewShape, ReadShapes, ReadShapesExt, Record, Relation, Result, Seq, ShapeStore, StoreControl, Timestamp,
    Wait,
    conformance::{
        self, DeferredPublishStore, FailingStore, Faults, RejectedSeq, ShapeView, Side, handle, relations,
    },
    forward_reads,
};

use crate::support::{LONG_TIMEOUT, below, buffered, handles, manual_with};

type Meanwhile = Box<dyn FnMut() + Send>;

/// A store in which something happens during each read: before it reads, and before it returns.
struct Interrupted {
    inner: FailingStore<Arc<DeferredPublishStore>>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
    reads: Arc<AtomicU64>,
}

impl Interrupted {
    fn read<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        // What happens meanwhile reads too, and is not interrupted.
        let Some(mut meanwhile) = self.meanwhile.lock().expect("no panic").take() else { return read() };
        self.reads.fetch_add(1, SeqCst);
        meanwhile();
        let outcome = read();
        meanwhile();
        *self.meanwhile.lock().expect("no panic") = Some(meanwhile);
        outcome
    }
}

impl ReadShapes for Interrupted {
    forward_reads!(self => self.inner; read => self.read(read));
}

impl ShapeStore for Interrupted {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.inner.apply(batch)
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.inner.commit(batch)
    }

    fn publish(&self, batch: &Batch) {
        self.inner.publish(batch);
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.inner.load(each)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.inner.record_of(entry)
    }
}

/// A buffer whose reads below are interrupted, and the means to do it.
struct Fixture {
    store: Arc<Buffered<Interrupted>>,
    faults: Faults,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
    reads: Arc<AtomicU64>,
}

/// After this many interruptions, a read that starts over is left alone, so that its test ends.
const LIMIT: u64 = 100;

impl Fixture {
    fn new(publishes_late: bool) -> Self {
        let faults = Faults::default();
        let memory =
            if publishes_late { DeferredPublishStore::new() } else { DeferredPublishStore::immediate() };
        let (meanwhile, reads) = (Arc::default(), Arc::default());
        let inner = Interrupted {
            inner: FailingStore::with(Arc::new(memory), faults.clone()),
            meanwhile: Arc::clone(&meanwhile),
            reads: Arc::clone(&reads),
        };
        let store = Arc::new(buffered(inner, BufferOptions::default().background_flush(false)));
        Self { store, faults, meanwhile, reads }
    }

    /// Runs a read or a mutation, with `meanwhile` before and after each of its reads below. Returns its
    /// outcome and the number of those reads.
    fn during<T>(
        &self,
        mut meanwhile: impl FnMut(&Buffered<Interrupted>) + Send + 'static,
        run: impl FnOnce(&Buffered<Interrupted>) -> T,
    ) -> (T, u64) {
        let store = Arc::clone(&self.store);
        let mut interruptions = 0;
        *self.meanwhile.lock().expect("no panic") = Some(Box::new(move || {
            interruptions += 1;
            if interruptions <= LIMIT {
                meanwhile(&store);
            }
        }));
        let before = self.reads.load(SeqCst);
        let outcome = run(&self.store);
        let reads = self.reads.load(SeqCst) - before;
        // Its reference to the store would keep that open.
        self.meanwhile.lock().expect("no panic").take();
        (outcome, reads)
    }

    fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.store.add(shape(number), Wait::No).expect("below the bound");
        }
    }
}

/// All shapes read relation 1, and every second one relation 2.
fn shape(number: u64) -> NewShape {
    let read: &[u32] = if number.is_multiple_of(2) { &[1, 2] } else { &[1] };
    NewShape { relations: relations(read), ..conformance::shape(number) }
}

fn shapes(store: &impl ReadShapes) -> Vec<ShapeView> {
    store.list().expect("memory").iter().map(ShapeView::of).collect()
}

fn readers(store: &impl ReadShapes, read: &[u32]) -> Vec<Handle> {
    let read: Vec<_> = read.iter().copied().map(Relation::new).collect();
    let mut found = store.handles_for_relations(&read).expect("memory");
    found.sort();
    found
}

fn least_recently_used(store: &impl ReadShapes, n: usize) -> LeastRecentlyUsed {
    store.least_recently_used(n, &HandleSet::default()).expect("memory")
}

/// Adds a shape, removes an older one, and flushes both: the overlay changes with each interruption.
fn churn() -> impl FnMut(&Buffered<Interrupted>) + Send + 'static {
    let mut next = 1_000;
    move |store| {
        store.add(shape(next), Wait::No).expect("below the bound");
        store.touch(&handle(next), Timestamp::from_micros(next)).expect("memory");
        store.remove(&handle(next - 1_000), Wait::No).expect("live");
        store.flush_once().expect("nothing fails");
        // Pending when the read goes on.
        store.add(shape(10_000 + 2 * next), Wait::No).expect("below the bound");
        next += 1;
    }
}

/// Once, each was started over as long as flushes went on: a scan of a million shapes did not return in 46 s.
#[test]
fn c14_a_read_of_many_shapes_reads_below_once_during_flushes() {
    for publishes_late in [false, true] {
        let fixture = Fixture::new(publishes_late);
        fixture.add(0..500);
        fixture.store.flush_once().expect("nothing fails");
        for number in 0..500 {
            fixture.store.touch(&handle(number), Timestamp::from_micros(number + 1)).expect("memory");
        }
        let mut meanwhile = churn();
        meanwhile(&fixture.store);
        let meanwhile = Arc::new(Mutex::new(meanwhile));
        let churn = || {
            let meanwhile = Arc::clone(&meanwhile);
            move |store: &Buffered<Interrupted>| (meanwhile.lock().expect("no panic"))(store)
        };

        let (scanned, reads) = fixture.during(churn(), shapes);
        assert_eq!((scanned, reads), (shapes(&*fixture.store), 1));
        let (folded, reads) = fixture.during(churn(), |store| store.fold(0, |count, _| count + 1));
        assert_eq!((folded.expect("memory"), reads), (fixture.store.counts().expect("memory").total, 1));
        let stored = [handle(499), handle(9_999)];
        let (orphans, reads) =
            fixture.during(churn(), |store| store.orphans(stored.iter().map(|handle| &**handle), drop));
        assert!(orphans.is_ok() && reads <= 3, "a look-up of each, and a scan, not {reads}");
        for read in [&[1][..], &[2], &[1, 2], &[2, 7]] {
            let (found, reads) = fixture.during(churn(), |store| readers(store, read));
            assert_eq!((found, reads), (readers(&*fixture.store, read), 1), "{read:?}");
        }
    }
}

/// Here each interruption removes one of the shapes that the read is about to return.
#[test]
fn c14_least_recently_used_reads_below_three_times_at_most() {
    for removed_at_once in [1, 5, 40] {
        let fixture = Fixture::new(true);
        fixture.add(0..1_000);
        fixture.store.flush_once().expect("nothing fails");
        for number in 0..1_000 {
            fixture.store.touch(&handle(number), Timestamp::from_micros(number + 1)).expect("memory");
        }
        fixture.add([3_000]);
        let mut next = 0;
        let remove = move |store: &Buffered<Interrupted>| {
            for number in next..next + removed_at_once {
                store.remove(&handle(number), Wait::No).expect("live");
            }
            next += removed_at_once;
            store.flush_once().expect("nothing fails");
            store.mark_snapshot_started(&handle(999), Wait::No).expect("live");
        };
        let (found, reads) = fixture.during(remove, |store| least_recently_used(store, 10));
        assert!((1..=3).contains(&reads), "{reads} reads below");
        assert_eq!(found, least_recently_used(&*fixture.store, 10));
        assert_eq!(found.shapes.len(), 10);
    }
}

/// Once, a look-up below of 20 ms during flushes of 5 ms was repeated 56 times.
#[test]
fn c14_a_mutation_reads_below_twice_at_most_during_flushes() {
    let fixture = Fixture::new(true);
    fixture.add(0..500);
    fixture.store.flush_once().expect("nothing fails");
    // An add looks up its handle and its key.
    let (added, reads) = fixture.during(churn(), |store| store.add(shape(5_000), Wait::No));
    added.expect("not live");
    assert!(reads <= 2 * 2, "{reads} reads below");
    let (found, reads) = fixture.during(
        |store| {
            store.flush_once().expect("nothing fails");
        },
        |store| store.get_or_add(&NewShape { handle: handle(5_001), ..shape(5_000) }, Wait::No),
    );
    let found = found.expect("live");
    assert!(
        !found.added && found.handle == handle(5_000) && reads <= 2 * 2,
        "{found:?}, {reads} reads below"
    );
    let mut next = 6_000;
    let flush = move |store: &Buffered<Interrupted>| {
        store.add(shape(next), Wait::No).expect("below the bound");
        next += 1;
        store.flush_once().expect("nothing fails");
    };
    let (marked, reads) =
        fixture.during(flush, |store| store.mark_snapshot_complete(&handle(5_000), Wait::No));
    marked.expect("live");
    assert!(reads <= 2, "{reads} reads below");
}

/// The mutation rests on what was dropped since its read below, in each of the two attempts.
#[test]
fn c2_a_mutation_sees_what_was_dropped_during_its_reads_below() {
    for during in 1..=5 {
        let fixture = Fixture::new(true);
        fixture.add([1]);
        let mut interruption = 0;
        let meanwhile = move |store: &Buffered<Interrupted>| {
            interruption += 1;
            store.add(shape(100 + interruption), Wait::No).expect("below the bound");
            if interruption == during {
                store.remove(&handle(1), Wait::No).expect("live");
                store.add(NewShape { handle: handle(2), ..shape(1) }, Wait::No).expect("the key is free");
            }
            store.flush_once().expect("nothing fails");
        };
        let (outcome, _) = fixture.during(meanwhile, |store| store.add(shape(1), Wait::No));
        let refusal = outcome.expect_err("the key is live, under one handle or the other");
        assert!(refusal.refusal().is_some(), "{refusal:?}");
        assert_eq!(fixture.store.counts().expect("memory").total as usize, shapes(&*fixture.store).len());
    }
}

/// A change that the store rejected during a read is not in its result, and what was to be removed is.
#[test]
fn c8_a_read_shows_nothing_that_was_rejected_during_it() {
    let scan: fn(&Buffered<Interrupted>) -> Vec<Handle> =
        |store| shapes(store).into_iter().map(|shape| shape.handle).collect();
    for (named, read) in [
        (RejectedSeq::Reported, scan),
        (RejectedSeq::Omitted, scan),
        (RejectedSeq::Reported, |store| readers(store, &[1, 2])),
        (RejectedSeq::Omitted, |store| readers(store, &[1, 2])),
    ] {
        let fixture = Fixture::new(true);
        fixture.add(1..=3);
        fixture.store.flush_once().expect("nothing fails");
        fixture.add([4, 6]);
        let faults = fixture.faults.clone();
        let mut next = 10;
        let meanwhile = move |store: &Buffered<Interrupted>| {
            faults.reject_handle(&handle(next), named);
            faults.reject_handle(&handle(2), named);
            store.add(shape(next), Wait::No).expect("not rejected yet");
            store.add(shape(next + 1), Wait::No).expect("below the bound");
            store.remove(&handle(2), Wait::No).expect("live");
            store.flush_once().expect("the rest is committed");
            next += 2;
        };
        let (mut found, _) = fixture.during(meanwhile, read);
        found.sort();
        let mut listed = [1, 2, 3, 4, 6, 11, 13].map(handle);
        listed.sort();
        assert_eq!(found, listed);
    }
}

/// Once, the earliest touch of pending shapes was asked for after a flush had forgotten it.
#[test]
fn c1_the_least_recently_used_shape_is_found_during_a_flush() {
    for publishes_late in [false, true] {
        let fixture = Fixture::new(publishes_late);
        fixture.add([1, 2]);
        fixture.store.flush_once().expect("nothing fails");
        let touch = |number: u64, at: u64| {
            fixture.store.touch(&handle(number), Timestamp::from_micros(at)).expect("memory");
        };
        touch(1, 20);
        touch(2, 30);
        fixture.add([3]);
        touch(3, 10);
        let mut has_read = false;
        let flush_after_the_read = move |store: &Buffered<Interrupted>| {
            if std::mem::replace(&mut has_read, true) {
                store.flush_once().expect("nothing fails");
            }
        };
        let (found, _) = fixture.during(flush_after_the_read, |store| least_recently_used(store, 2));
        let found: Vec<_> = found.shapes.into_iter().map(|(handle, _)| handle).collect();
        assert_eq!(found, [handle(3), handle(1)]);
    }
}

/// Random histories: whatever happens during a read below, the result is what a quiet read returns after it.
#[test]
fn c1_a_read_during_anything_is_the_state_at_its_end() {
    for seed in 0..60 {
        let fixture = Fixture::new(seed % 2 == 0);
        let mut random = fastrand::Rng::with_seed(seed);
        let faults = fixture.faults.clone();
        let step = move |store: &Buffered<Interrupted>, random: &mut fastrand::Rng| {
            let number = random.u64(..6);
            match random.u8(..20) {
                0..7 => {
                    let key = random.u64(..6);
                    let added = NewShape { handle: handle(number), ..shape(key) };
                    if store.add(added, Wait::No).is_ok() {
                        store
                            .touch(&handle(number), Timestamp::from_micros(1 + random.u64(..9)))
                            .expect("memory");
                    }
                }
                7..11 => drop(store.remove(&handle(number), Wait::No)),
                11..13 => drop(store.mark_snapshot_started(&handle(number), Wait::No)),
                13 => drop(store.reset(Wait::No)),
                14 => faults.reject_handle(&handle(number), RejectedSeq::Reported),
                15 => faults.clear(),
                _ => drop(store.flush_once()),
            }
        };
        for count in 0..40 {
            for _ in 0..random.u8(..6) {
                step(&fixture.store, &mut random);
            }
            let (mut own, step) = (random.fork(), step.clone());
            let meanwhile = move |store: &Buffered<Interrupted>| {
                for _ in 0..own.u8(..8) {
                    step(store, &mut own);
                }
            };
            let store = &*fixture.store;
            // So that each of them reads the overlay.
            let pending = 100 + 2 * count;
            store.add(shape(pending), Wait::No).expect("new");
            match random.u8(..3) {
                0 => assert_eq!(fixture.during(meanwhile, shapes).0, shapes(store), "seed {seed}"),
                1 => {
                    let read = [&[1][..], &[2], &[1, 2]][random.usize(..3)];
                    let (found, _) = fixture.during(meanwhile, |store| readers(store, read));
                    assert_eq!(found, readers(store, read), "seed {seed}");
                }
                _ => {
                    let n = random.usize(..4);
                    let (found, reads) = fixture.during(meanwhile, |store| least_recently_used(store, n));
                    assert_eq!(found, least_recently_used(store, n), "seed {seed}");
                    assert!(reads <= 3, "seed {seed}");
                }
            }
        }
    }
}

/// Once, a read that hangs below kept in memory all that was flushed meanwhile, without a bound.
#[test]
fn c7_what_a_read_keeps_counts_in_the_bound_in_bytes() {
    let (store, faults) = manual_with(BufferOptions::default().max_pending_bytes(50_000));
    let gate = faults.block_read(Side::Before);
    thread::scope(|scope| {
        let scan = scope.spawn(|| handles(&store).len());
        gate.wait_until_blocked();
        let mut added = 0;
        while store.add(shape(added), Wait::No).is_ok() {
            store.flush_once().expect("nothing fails");
            added += 1;
            assert!(added < 1_000, "it is bounded");
        }
        assert_eq!(store.pending().shapes, 0);
        assert!(added > 20, "{added}");
        let waits = scope.spawn(|| store.add(shape(10_000), Wait::UpTo(LONG_TIMEOUT)));
        gate.release();
        assert!(scan.join().expect("it does not panic") >= added as usize, "the read misses nothing");
        waits.join().expect("it does not panic").expect("the end of the read makes room");
    });
}

/// Once, a mutation that was validated before a repair rested on a shape that the repair had lost, and the
/// counts were wrong for good.
#[test]
fn c1_a_mutation_rests_on_nothing_that_a_repair_has_lost() {
    for repairs in 1..=2 {
        let (store, faults) = manual_with(BufferOptions::default());
        for number in [1, 2, 3] {
            store.add(shape(number), Wait::No).expect("below the bound");
        }
        store.flush_once().expect("nothing fails");
        let mut gate = Some(faults.block_read(Side::After));
        thread::scope(|scope| {
            let removed = scope.spawn(|| store.remove(&handle(1), Wait::No));
            for lost in 1..=repairs {
                let blocked = gate.take().expect("one for each repair");
                blocked.wait_until_blocked();
                let entry = below(&store).entry(&handle(lost)).expect("memory").expect("live");
                let through = below(&store).last_seq().expect("memory").next();
                let batch = Batch { changes: vec![Change::Remove { entry }], through };
                below(&store).apply(&batch).expect("memory does not fail");
                store.repair().expect("memory does not fail");
                // The repair reads, too, and is not to be blocked.
                gate = (lost < repairs).then(|| faults.block_read(Side::After));
                blocked.release();
            }
            let outcome = removed.join().expect("it does not panic").expect_err("it is lost");
            match (repairs, outcome) {
                (1, outcome) => assert!(outcome.refusal().is_some(), "{outcome}"),
                (_, MutateError::Failed(error)) => assert_eq!(error.kind(), ErrorKind::Busy, "{error}"),
                (_, outcome) => panic!("{outcome}"),
            }
        });
        assert_eq!(store.counts().expect("memory").total, 3 - repairs);
        assert_eq!(store.counts().expect("memory").total, handles(&store).len() as u64);
    }
}
