use std::{sync::Arc, thread, time::Duration};

use shape_meta_core::{
    ErrorKind, MutateShapesExt, NoopObserver, ReadShapes, StoreControl, Wait,
    conformance::{DeferredPublishStore, FailingStore, Faults, RejectedSeq, Side, shape},
};

use crate::{BufferOptions, Buffered, flusher_pool::Step};

pub(super) type Store = Buffered<FailingStore<Arc<DeferredPublishStore>>>;

pub(super) const AN_HOUR: Duration = Duration::from_secs(3_600);

/// Opens a store whose steps the test takes. A flush is due with two pending shapes.
pub(super) fn stepped() -> (Store, Faults) {
    stepped_with(|options| options)
}

pub(super) fn stepped_with(options: impl FnOnce(BufferOptions) -> BufferOptions) -> (Store, Faults) {
    let faults = Faults::default();
    let inner = FailingStore::with(Arc::new(DeferredPublishStore::default()), faults.clone());
    let options =
        options(BufferOptions::default().background_flush(false).flush_shapes(2).flush_interval(AN_HOUR));
    (Buffered::new(inner, options, Arc::new(NoopObserver)).expect("nothing fails yet"), faults)
}

fn add(store: &Store, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        store.add(shape(number), Wait::No).expect("below the bound");
    }
}

/// The publish of a flush is left to the next one only if that is due already, and only if nothing was
/// rejected.
#[test]
fn a_flush_is_published_at_once_unless_the_next_one_is_due() {
    for (meanwhile, rejected, is_deferred) in
        [(0, false, false), (1, false, false), (2, false, true), (2, true, false)]
    {
        for is_step in [true, false] {
            let (store, faults) = stepped();
            add(&store, 1..=3);
            if rejected {
                faults.reject_handle(&shape(1).handle, RejectedSeq::Reported);
            }
            let gate = faults.block_apply(Side::Before);
            thread::scope(|scope| {
                scope.spawn(|| {
                    if is_step {
                        store.flusher.step();
                    } else {
                        store.flush_once().expect("flush");
                    }
                });
                gate.wait_until_blocked();
                add(&store, (4..).take(meanwhile));
                gate.release();
            });
            let case = format!("{meanwhile} meanwhile, rejected: {rejected}, by a step: {is_step}");
            let published = || store.inner().counts().expect("read").total;
            let committed = 3 - u64::from(rejected);
            assert_eq!(store.shared.overlay.read().is_flushing(), is_deferred && is_step, "{case}");
            assert_eq!(published(), if is_deferred && is_step { 0 } else { committed }, "{case}");
            store.flusher.step();
            let is_due = meanwhile == 2;
            assert_eq!(published(), committed + if is_due { 2 } else { 0 }, "{case}");
        }
    }
}

#[test]
fn i7_a_step_flushes_what_is_due_and_nothing_else() {
    let (store, faults) = stepped();
    add(&store, [1]);
    store.flusher.step();
    assert_eq!(faults.changes(), 0, "a single change, and younger than the interval");
    add(&store, [2]);
    store.flusher.step();
    assert_eq!(faults.changes(), 2);
}

#[test]
fn c7_an_interval_without_end_flushes_on_request_only() {
    let (store, faults) = stepped_with(|options| options.flush_interval(Duration::MAX));
    add(&store, [1]);
    for _ in 0..3 {
        store.flusher.step();
    }
    assert_eq!(faults.changes(), 0, "once, it was flushed at each step");
    store.request_flush();
    store.flusher.step();
    assert_eq!(faults.changes(), 1);
    add(&store, [2, 3]);
    store.flusher.step();
    assert_eq!(faults.changes(), 3, "due for its size");
}

/// Once, each request was an attempt: 1,286 of them in five seconds on a full disk.
#[test]
fn c7_requests_on_a_full_disk_make_no_attempt_of_their_own() {
    for delay in [AN_HOUR, Duration::MAX] {
        let (store, faults) = stepped_with(|options| options.backoff(delay, delay));
        faults.fail_applies(2_000, ErrorKind::StorageFull, Side::Before);
        add(&store, [1, 2]);
        let started_at = std::time::Instant::now();
        for _ in 0..1_000 {
            drop(store.request_flush());
            store.flusher.step();
        }
        let allowed = 2 + started_at.elapsed().as_secs();
        assert!((1..=allowed).contains(&faults.attempts()), "{}", faults.attempts());
    }
}

/// Once, callers were refused until the interval was over, while the disk was idle.
#[test]
fn c7_a_refusal_at_the_bound_in_bytes_makes_a_flush_due() {
    let (store, faults) = stepped_with(|options| options.flush_shapes(1_000).max_pending_bytes(5_000));
    add(&store, [1]);
    let mut large = shape(2);
    large.definition = vec![7; 4_900].into();
    store.flusher.step();
    assert_eq!(faults.changes(), 0);
    store.add(large.clone(), Wait::No).expect_err("it does not fit next to the first");
    store.flusher.step();
    assert_eq!(faults.changes(), 1, "due at once");
    store.add(large, Wait::No).expect("alone it fits");
}

/// Whether the next step saves last-read times: then it takes the fault, and the save after it succeeds.
fn saves(store: &Store, faults: &Faults) -> bool {
    faults.fail_saves(1, ErrorKind::Io);
    store.flusher.step();
    store.save_reads().is_ok()
}

#[test]
fn a_step_saves_last_read_times_if_due_and_not_paused_or_stopped() {
    let every = |interval| stepped_with(|options| options.last_read_save_interval(interval));
    let (store, faults) = every(AN_HOUR);
    assert!(!saves(&store, &faults), "not due");
    let (store, faults) = every(Duration::MAX);
    assert!(!saves(&store, &faults), "never due");

    let (store, faults) = every(Duration::ZERO);
    assert!(saves(&store, &faults));
    store.pause();
    assert!(!saves(&store, &faults), "paused");
    store.resume();
    assert!(saves(&store, &faults));
    faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
    add(&store, [1, 2]);
    assert!(!saves(&store, &faults), "stopped");
}
