use std::{sync::Arc, thread, time::Duration};

use shape_meta_core::{
    ErrorKind, MutateShapesExt, NoopObserver, ReadShapes, StoreControl, Wait,
    conformance::{FailingStore, Faults, LateStore, Naming, Side, shape},
};

use crate::{BufferOptions, Buffered, flusher_pool::Step};

type Late = Buffered<FailingStore<Arc<LateStore>>>;

const AN_HOUR: Duration = Duration::from_secs(3_600);

/// Whose steps the test takes, and which is due when it has two changes.
fn stepped() -> (Late, Faults) {
    stepped_with(|options| options)
}

fn stepped_with(more: impl FnOnce(BufferOptions) -> BufferOptions) -> (Late, Faults) {
    let faults = Faults::default();
    let inner = FailingStore::with(Arc::new(LateStore::default()), faults.clone());
    let options =
        more(BufferOptions::default().background_flush(false).flush_shapes(2).flush_interval(AN_HOUR));
    (Buffered::new(inner, options, Arc::new(NoopObserver)).expect("nothing fails yet"), faults)
}

fn add(store: &Late, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        store.add(shape(number), Wait::No).expect("room");
    }
}

/// A flush is left to be published beside the next one only if that is due already; it would have to wait for it
/// otherwise. And whatever was refused is put right at once.
#[test]
fn what_is_committed_is_published_at_once_unless_the_next_flush_is_due() {
    for (meanwhile, refused, is_left) in
        [(0, false, false), (1, false, false), (2, false, true), (2, true, false)]
    {
        for is_step in [true, false] {
            let (store, faults) = stepped();
            add(&store, 1..=3);
            if refused {
                faults.refuse(&shape(1).handle, Naming::Culprit);
            }
            let gate = faults.block_apply(Side::Before);
            thread::scope(|scope| {
                scope.spawn(|| {
                    if is_step {
                        store.shared.step();
                    } else {
                        store.flush_once().expect("flush");
                    }
                });
                gate.wait_until_blocked();
                add(&store, (4..).take(meanwhile));
                gate.release();
            });
            let case = format!("{meanwhile} meanwhile, refused: {refused}, by a step: {is_step}");
            let shown = || store.inner().counts().expect("read").total;
            let written = 3 - u64::from(refused);
            assert_eq!(store.shared.overlay.read().is_flushing(), is_left && is_step, "{case}");
            assert_eq!(shown(), if is_left && is_step { 0 } else { written }, "{case}");
            store.shared.step();
            let is_due = meanwhile == 2;
            assert_eq!(shown(), written + if is_due { 2 } else { 0 }, "{case}");
        }
    }
}

#[test]
fn i7_a_step_flushes_what_is_due_and_nothing_else() {
    let (store, faults) = stepped();
    add(&store, [1]);
    store.shared.step();
    assert_eq!(faults.changes(), 0, "it is young, and alone");
    add(&store, [2]);
    store.shared.step();
    assert_eq!(faults.changes(), 2);
}

/// Whether the next step saves last-read times: the failure that waits for that comes then, and not afterwards.
fn saves(store: &Late, faults: &Faults) -> bool {
    faults.fail_saves(1, ErrorKind::Io);
    store.shared.step();
    store.save_reads().is_ok()
}

/// Nor are last-read times saved when they are not due, while the disk is wanted for something else, or by a store
/// that has stopped.
#[test]
fn last_read_times_are_saved_when_they_are_due() {
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
