use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use shape_meta_core::{ErrorKind, Evictor, MutateError};

use crate::{ShapeMeta, WeakShapeMeta};

/// The evictors of any number of stores, and when each is due. Steps of different stores alternate, so one
/// with much to remove does not delay the others by more than a step.
///
/// [`EvictorThread`](crate::EvictorThread) steps it on a thread. A caller with a thread of its own calls
/// [`run_due`](Self::run_due) instead.
#[derive(Debug, Default)]
pub struct EvictorSchedule {
    watched: Mutex<Vec<Watched>>,
}

#[derive(Clone, Debug)]
struct Watched {
    store: WeakShapeMeta,
    evictor: Arc<Evictor>,
    interval: Duration,
    due: Instant,
}

/// The shortest interval between two steps that have nothing to remove, so that no option makes it spin.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest, so that it can be added to any moment.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl EvictorSchedule {
    /// Steps this evictor, which is that of no other store, at the interval, the first time at once, and
    /// without an interval while it has more to remove. Does not keep the store open: it is forgotten when it
    /// is dropped, or when its mutations fail because it is closed.
    ///
    /// A longer interval exceeds the limit by more in a storm. A shorter one costs a look at a number.
    pub fn watch(&self, store: &ShapeMeta, evictor: Arc<Evictor>, interval: Duration) {
        let interval = interval.clamp(SHORTEST, LONGEST);
        let watched = Watched { store: store.downgrade(), evictor, interval, due: Instant::now() };
        self.watched().push(watched);
    }

    /// Makes one step of every store that is due at `now`, one after the other, on this thread. Returns when
    /// the next one is due; `None` if no store is watched.
    ///
    /// If the last clone of a store is dropped meanwhile, this thread may be the one that flushes it.
    pub fn run_due(&self, now: Instant) -> Option<Instant> {
        let due: Vec<_> = self.watched().iter().filter(|one| one.due <= now).cloned().collect();
        for one in due {
            // No lock is held: a step may take as long as the disk.
            let next = one.step(now);
            let mut watched = self.watched();
            let at = watched.iter().position(|other| Arc::ptr_eq(&other.evictor, &one.evictor));
            match (at, next) {
                (Some(at), Some(next)) => watched[at].due = next,
                (Some(at), None) => drop(watched.swap_remove(at)),
                (None, _) => {}
            }
        }
        self.watched().iter().map(|one| one.due).min()
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        // No code that can panic runs under this lock.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Returns when the next step is due; `None` if the store is closed.
    fn step(&self, now: Instant) -> Option<Instant> {
        let eviction = self.evictor.step(&self.store.upgrade()?);
        match &eviction.error {
            Some(MutateError::Failed(error)) if error.kind() == ErrorKind::Closed => None,
            _ if eviction.more => Some(now),
            _ => Some(now + self.interval),
        }
    }
}
