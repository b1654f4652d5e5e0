use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use shape_meta_core::{MemoryStore, MutateShapesExt, NoopObserver, StoreControl, Wait, conformance::shape};

use super::{
    FlusherOptions, FlusherPool, Step, Task,
    pool::{self, Pool},
};
use crate::{BufferOptions, Buffered};

/// Nothing of a pool is left when the last of its stores is closed and the last clone dropped, in either
/// order.
#[test]
fn c10_the_threads_of_a_pool_end_with_it() {
    for store_first in [true, false] {
        let flushers = FlusherPool::new(FlusherOptions::default());
        let pool = Arc::downgrade(&flushers.0.0);
        let options = BufferOptions::default().flushers(&flushers);
        let store =
            Buffered::new(MemoryStore::new(), options, Arc::new(NoopObserver)).expect("memory does not fail");
        store.add(shape(1), Wait::No).expect("below the bound");
        store.flush(Duration::from_secs(60)).expect("flush");
        assert_eq!(flushers.stats().threads, 1);
        if store_first {
            drop(store);
            drop(flushers);
        } else {
            drop(flushers);
            drop(store);
        }
        assert!(pool.upgrade().is_none());
    }
}

/// A store with nothing to do.
pub(super) struct Nothing;

impl Step for Nothing {
    fn step(&self) -> Option<Instant> {
        None
    }
}

/// Creates the task of a store in a pool of its own.
fn task_of<S: Step + 'static>(store: S) -> (Task, Arc<S>) {
    let store = Arc::new(store);
    let weak: Weak<dyn Step> = Arc::<S>::downgrade(&store);
    (Task::new(0, Pool::new(FlusherOptions::default()), weak), store)
}

/// One more step for a store with nothing to do would keep a thread busy.
#[test]
fn a_task_runs_once_more_only_if_it_was_woken_during_its_step() {
    let (task, _store) = task_of(Nothing);
    task.wake();
    for woken in [false, true, false] {
        assert_eq!(task.run(), None);
        if woken {
            task.wake();
        }
        assert_eq!(task.end(), woken);
    }
}

struct Panics;

impl Step for Panics {
    fn step(&self) -> Option<Instant> {
        panic!("the test lets this panic");
    }
}

/// A step that panics is retried, and does not keep a thread busy.
#[test]
fn c9_a_step_that_panics_runs_again_after_a_delay() {
    let (task, _store) = task_of(Panics);
    let before = Instant::now();
    let due = pool::step(&task).expect("it may have something to write");
    assert!(due >= before + Duration::from_millis(100), "{:?}", due.checked_duration_since(before));
}
