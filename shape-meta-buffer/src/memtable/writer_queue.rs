use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::sync::{
    Condvar, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// The number of mutations that compete for the overlay's lock at a time. The others wait in the queue.
///
/// One of them has the lock, so a few keep it busy, on any number of processors.
pub(crate) const MAX_ENTERED: usize = if cfg!(shape_meta_interleaved) { 2 } else { 4 };
/// The time in which every waiting mutation is admitted, unless that needs shorter intervals than the one
/// below.
const ROUND: Duration = Duration::from_millis(if cfg!(shape_meta_interleaved) { 0 } else { 16 });
/// The shortest interval between two admissions next to mutations that compete. Each is a context switch.
const MIN_INTERVAL: Duration = Duration::from_micros(if cfg!(shape_meta_interleaved) { 0 } else { 300 });

/// The queue in front of the overlay's lock, which bounds how long a mutation waits for it (C14).
///
/// The lock lets a running thread overtake a sleeping one. That is fast: a thread makes thousands of
/// mutations before it gives up its processor. But with 64 threads on 2 cores a sleeping one was overtaken
/// 50,000 times, in 0.14 seconds. So a few threads compete. The others sleep in the queue, where they cost no
/// processor. At intervals the first one is admitted, and in its place the next thread that comes has to
/// wait. It is also admitted when no thread is left that competes.
///
/// Rejected: a fair lock, with which the p99 of an add was 3 to 4 ms.
#[derive(Debug)]
pub(crate) struct WriterQueue {
    /// The number of threads that hold the lock or compete for it.
    entered: AtomicUsize,
    /// The number of threads that wait, and one for a thread that is about to.
    queued: AtomicUsize,
    /// The number of threads that have to wait next, because a waiting one was admitted in their place.
    owed: AtomicUsize,
    /// When a thread was last admitted from the queue, in nanoseconds since `created_at`.
    last_admission: AtomicU64,
    waiting: Mutex<VecDeque<Arc<Waiting>>>,
    created_at: Instant,
}

/// A thread that waits. Not by parking: the caller's executor may use that for itself.
#[derive(Debug, Default)]
struct Waiting {
    is_admitted: Mutex<bool>,
    admitted: Condvar,
}

/// A thread that has entered, until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered<'a>(&'a WriterQueue);

impl WriterQueue {
    pub(crate) fn new() -> Self {
        Self {
            entered: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
            last_admission: AtomicU64::new(0),
            waiting: Mutex::default(),
            created_at: Instant::now(),
        }
    }

    /// Waits until this thread may compete for the lock.
    pub(crate) fn enter(&self) -> Entered<'_> {
        if self.owed.load(Ordering::Relaxed) == 0 && self.try_enter(MAX_ENTERED) {
            return Entered(self);
        }
        let mut waiting = self.waiting.lock();
        let owed = self.owed.load(Ordering::Relaxed);
        self.owed.store(owed.saturating_sub(1), Ordering::Relaxed);
        // In this order: a thread that leaves looks at both in the other one. So one of the two sees the
        // other, and no thread waits while none has entered.
        self.queued.fetch_add(1, Ordering::SeqCst);
        if self.try_enter(1) {
            self.queued.fetch_sub(1, Ordering::SeqCst);
            return Entered(self);
        }
        if waiting.is_empty() {
            self.last_admission.store(self.now(), Ordering::Relaxed);
        }
        let this = Arc::<Waiting>::default();
        waiting.push_back(Arc::clone(&this));
        drop(waiting);
        let mut is_admitted = this.is_admitted.lock();
        while !*is_admitted {
            this.admitted.wait(&mut is_admitted);
        }
        Entered(self)
    }

    /// Enters if fewer than this number have entered.
    fn try_enter(&self, max: usize) -> bool {
        let more = |entered| (entered < max).then_some(entered + 1);
        self.entered.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn leave(&self) {
        let is_last = self.entered.fetch_sub(1, Ordering::SeqCst) == 1;
        let queued = self.queued.load(Ordering::SeqCst);
        if queued > 0 && (is_last || self.is_due(queued)) {
            self.admit();
        }
    }

    /// Admits the first waiting thread, if it is due or none has entered.
    #[cold]
    fn admit(&self) {
        let mut waiting = self.waiting.lock();
        let is_due = self.is_due(waiting.len());
        if !is_due && self.entered.load(Ordering::SeqCst) > 0 {
            return;
        }
        let Some(first) = waiting.pop_front() else { return };
        self.queued.fetch_sub(1, Ordering::SeqCst);
        self.entered.fetch_add(1, Ordering::SeqCst);
        self.last_admission.store(self.now(), Ordering::Relaxed);
        let owed = if is_due && !waiting.is_empty() { self.owed.load(Ordering::Relaxed) + 1 } else { 0 };
        self.owed.store(owed, Ordering::Relaxed);
        drop(waiting);
        *first.is_admitted.lock() = true;
        first.admitted.notify_one();
    }

    /// Whether the first of these waiting threads is to be admitted next to those that compete.
    fn is_due(&self, queued: usize) -> bool {
        let interval = (ROUND / u32::try_from(queued.max(1)).unwrap_or(u32::MAX)).max(MIN_INTERVAL);
        self.now().saturating_sub(self.last_admission.load(Ordering::Relaxed)) >= interval.as_nanos() as u64
    }

    /// Returns the nanoseconds since the queue was made.
    fn now(&self) -> u64 {
        self.created_at.elapsed().as_nanos() as u64
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
impl WriterQueue {
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }
}
