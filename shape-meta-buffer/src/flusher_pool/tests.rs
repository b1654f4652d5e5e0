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

/// Nothing of a pool is left when the last of its stores is closed and the last clone dropped, in whatever order.
#[test]
fn c10_the_threads_of_a_pool_end_with_it() {
    for store_first in [true, false] {
        let flushers = FlusherPool::new(FlusherOptions::default());
        let pool = Arc::downgrade(&flushers.0.0);
        let options = BufferOptions::default().flushers(&flushers);
        let store =
            Buffered::new(MemoryStore::new(), options, Arc::new(NoopObserver)).expect("memory does not fail");
        store.add(shape(1), Wait::No).expect("room");
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

/// Has nothing to do.
pub(super) struct Nothing;

impl Step for Nothing {
    fn step(&self) -> Option<Instant> {
        None
    }
}

/// In a pool of its own. The task ends with the store.
fn task_of<S: Step + 'static>(store: S) -> (Task, Arc<S>) {
    let store = Arc::new(store);
    let weak: Weak<dyn Step> = Arc::<S>::downgrade(&store);
    (Task::new(0, Pool::new(FlusherOptions::default()), weak), store)
}

/// Whoever is woken while it is looked at is looked at once more, and nobody else is: a store with nothing to do would
/// keep a thread busy.
#[test]
fn only_who_is_woken_meanwhile_is_looked_at_once_more() {
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

/// A store whose own code panics is come back to, and does not keep a thread busy.
#[test]
fn c9_whoever_panics_is_looked_at_again_a_while_later() {
    let (task, _store) = task_of(Panics);
    let before = Instant::now();
    let due = pool::step(&task).expect("it may have something to write");
    assert!(due >= before + Duration::from_millis(100), "{:?}", due.checked_duration_since(before));
}
