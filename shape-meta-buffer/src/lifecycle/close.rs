use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, CloseReport, Error, NotDurable, Seq, ShapeStore, Unwritten};

use crate::{
    flush::{Flusher, inside_observer},
    flusher_pool::Registration,
    memtable::{SlotState, State},
    shared::Shared,
    sync::{Condvar, Mutex, thread},
};

/// Longer than any close takes, and short enough to be added to any moment.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);
/// How long the last step of a close may take although the deadline has passed: enough for a store that does
/// not hang.
const GRACE: Duration = Duration::from_millis(20);

/// Closes a store, once, within its deadline (C10): all that may hang runs on another thread, and is left
/// there.
pub(crate) struct Closer<S> {
    shared: Arc<Shared<S>>,
    flusher: Arc<Flusher<S>>,
    /// The registration with the flusher pool, until the store is closed; `None` without a background
    /// flusher. Lock 2 of the table in `shared.rs`.
    registration: Mutex<Option<Registration>>,
    /// Lock 1 of the table in `shared.rs`.
    progress: Mutex<Progress>,
    /// Notified when a close has ended.
    ended: Condvar,
}

/// How far the close has come.
enum Progress {
    NotBegun,
    Running,
    Ended(CloseReport),
}

/// When a close began, and what was durable by then.
#[derive(Clone, Copy)]
struct Begun {
    at: Instant,
    deadline: Instant,
    settled: Seq,
}

impl<S: ShapeStore + 'static> Closer<S> {
    pub(crate) fn new(
        shared: &Arc<Shared<S>>,
        flusher: &Arc<Flusher<S>>,
        registration: Option<Registration>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            flusher: Arc::clone(flusher),
            registration: Mutex::new(registration),
            progress: Mutex::new(Progress::NotBegun),
            ended: Condvar::new(),
        }
    }

    /// Closes the store, or returns the report of the first close. If that is still running at this deadline,
    /// returns what is written by then.
    ///
    /// On a thread that flushes this store, where an observer called it, nothing can be waited for: the close
    /// goes on in the background.
    pub(crate) fn close(self: &Arc<Self>, timeout: Duration) -> CloseReport {
        let at = Instant::now();
        let deadline = at + timeout.min(LONGEST_TIMEOUT);
        let begun = Begun { at, deadline, settled: self.shared.durability.settled() };
        let is_inside = self.flusher.is_running_here();
        let mut progress = self.progress.lock();
        loop {
            match &*progress {
                Progress::NotBegun => break,
                Progress::Ended(report) => return report.clone(),
                Progress::Running if is_inside => return self.report(begun, Some(inside_observer())),
                Progress::Running => {
                    if self.ended.wait_until(&mut progress, deadline).timed_out()
                        && matches!(*progress, Progress::Running)
                    {
                        drop(progress);
                        return self.report(begun, self.flush_error());
                    }
                }
            }
        }
        *progress = Progress::Running;
        drop(progress);
        {
            // Under the lock that pausing takes: a pause does not hold up a close.
            let mut state = self.shared.overlay.write();
            state.writing.begin_close();
            self.shared.requests.set_paused(false);
        }
        if is_inside && self.continue_elsewhere(begun) {
            return self.report(begun, Some(inside_observer()));
        }
        self.run(begun)
    }

    /// Continues on a thread of its own. Returns whether one could be started.
    fn continue_elsewhere(self: &Arc<Self>, begun: Begun) -> bool {
        let closer = Arc::clone(self);
        let thread = thread::Builder::new().name("shape-meta-close".into());
        let run = move || drop(catch_unwind(AssertUnwindSafe(|| closer.run(begun))));
        thread.spawn(run).is_ok()
    }

    fn run(&self, begun: Begun) -> CloseReport {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.write_and_report(begun)));
        // If an observer panicked, the next close, which may be the drop, tries again.
        let progress = outcome.as_ref().map_or(Progress::NotBegun, |report| Progress::Ended(report.clone()));
        *self.progress.lock() = progress;
        self.ended.notify_all();
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn write_and_report(&self, begun: Begun) -> CloseReport {
        let span = self.shared.observer.begin(Activity::Close);
        self.wait_for_repair(begun.deadline);
        let outcome = self.write(begun.deadline);
        // In this order: a repair that ends now resumes receipts unless the store is closed.
        self.shared.overlay.write().writing.closed();
        // Resolves every receipt, and every wait for capacity, that is still open.
        self.shared.durability.stop(Error::closed());
        self.shared.feeds.close();
        self.shared.backpressure.capacity.raise();
        self.shared.waits.close();
        let error = match outcome {
            Ok(()) => None,
            Err(NotDurable::Stopped(error) | NotDurable::Rejected(error)) => {
                Some(self.flush_error().unwrap_or(error))
            }
            Err(_) => self.flush_error(),
        };
        if let Some(span) = span {
            span.end(error.as_ref());
        }
        self.report(begun, error)
    }

    /// Waits until the store below is not being repaired: what is pending may rest on what the repair saves.
    fn wait_for_repair(&self, deadline: Instant) {
        loop {
            let repaired = self.shared.backpressure.capacity.listen();
            if !self.shared.overlay.read().writing.is_repairing() || !repaired.wait(Some(deadline)) {
                return;
            }
        }
    }

    /// Writes what is pending, and saves last-read times.
    fn write(&self, deadline: Instant) -> Result<(), NotDurable> {
        let receipt = self.shared.request_flush();
        let registration = self.registration.lock().take();
        let by_flusher = registration.map(|registration| {
            registration.expedite();
            let outcome = receipt.wait_durable(deadline.saturating_duration_since(Instant::now()));
            registration.unregister(deadline);
            outcome
        });
        let (flusher, is_written) = (Arc::clone(&self.flusher), by_flusher.is_some());
        run_until(deadline, move || {
            if !is_written {
                // The report has the error.
                let _ = flusher.write_pending();
            }
            // A publish that panicked left its generation in the overlay, where reads would still find it.
            flusher.publish_if_idle();
            flusher.save_all_reads(deadline);
        });
        by_flusher.unwrap_or_else(|| receipt.wait_durable(Duration::ZERO))
    }

    fn flush_error(&self) -> Option<Error> {
        self.shared.overlay.read().writing.flush_error().cloned()
    }

    /// Returns what is written by now.
    fn report(&self, begun: Begun, error: Option<Error>) -> CloseReport {
        let (unwritten, lost) =
            (self.shared.pending().mutations, unwritten_changes(&self.shared.overlay.read()));
        let flushed = self.shared.durability.settled().get() - begun.settled.get();
        CloseReport { flushed, unwritten, lost, error, took: begun.at.elapsed() }
    }
}

/// Runs this on another thread, and waits for it until the deadline. A call that hangs keeps the thread, and
/// what the call has taken with it. If no thread can be started, the calling one waits without a limit.
fn run_until(deadline: Instant, run: impl FnOnce() + Send + 'static) {
    let ended = Arc::new((Mutex::new(false), Condvar::new()));
    let call = Arc::new(Mutex::new(Some(run)));
    let thread = thread::Builder::new().name("shape-meta-close".into());
    let started = thread.spawn({
        let (call, ended) = (Arc::clone(&call), Arc::clone(&ended));
        move || {
            run_once(&call);
            *ended.0.lock() = true;
            ended.1.notify_all();
        }
    });
    if started.is_err() {
        return run_once(&call);
    }
    let deadline = deadline.max(Instant::now() + GRACE);
    let mut has_ended = ended.0.lock();
    while !*has_ended {
        if ended.1.wait_until(&mut has_ended, deadline).timed_out() {
            return;
        }
    }
}

/// Runs a call that no thread has taken yet, and frees what it owns. A panic of an observer ends it.
fn run_once<F: FnOnce()>(call: &Mutex<Option<F>>) {
    let taken = call.lock().take();
    if let Some(run) = taken {
        let _ = catch_unwind(AssertUnwindSafe(run));
    }
}

fn unwritten_changes(state: &State) -> Vec<Unwritten> {
    let mut lost = Vec::new();
    // A reset hides what was accepted before it.
    let visible = if state.active.is_reset() { 1 } else { 2 };
    let generations: Vec<_> = state.pending().take(visible).collect();
    for generation in generations.into_iter().rev() {
        if generation.is_reset() {
            lost.push(Unwritten::Reset);
        }
        for slot in generation.slots().iter() {
            let handle = || slot.handle.clone();
            if slot.removed().is_some() {
                lost.push(Unwritten::Removed(handle()));
            }
            match (&slot.state, &slot.base) {
                (SlotState::Added(_, state), _) => lost.push(Unwritten::Added(handle(), *state)),
                (SlotState::Marked(state), Some(_)) => lost.push(Unwritten::Marked(handle(), *state)),
                (SlotState::Marked(_), None) | (SlotState::Tombstone | SlotState::Discarded(_), _) => {}
            }
        }
    }
    lost
}
