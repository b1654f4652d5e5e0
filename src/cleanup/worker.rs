use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Observer, Result};
use shape_meta_sqlite::CleanupTask;

use super::{CleanupStatus, OrphanSweep};
use crate::{ShapeCleaner, store::Core};

/// The first delay after a failure. It doubles with each failure in a row, up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// The delays while nothing is left but tasks that wait for a flush.
const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_secs(5);

/// Hands cleanup tasks to the cleaner, a part at a time: on a thread that exists only while there is
/// something to do, and on threads of callers (I7).
pub(crate) struct Cleanup {
    pub(super) cleaner: Arc<dyn ShapeCleaner>,
    pub(super) observer: Arc<dyn Observer>,
    /// Whether parts run on a thread of their own.
    background: bool,
    /// The store whose shapes are cleaned; set once it is composed. Weak, since it owns this.
    store: OnceLock<Weak<Core>>,
    state: Mutex<State>,
    /// Notified when `state` changes.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    has_thread: bool,
    /// The thread that runs a part. There is never more than one part at a time.
    runs_on: Option<ThreadId>,
    is_closed: bool,
    /// Whether tasks were committed since the last part began.
    has_news: bool,
    progress: Progress,
    failures: u32,
    /// The number of passes in a row that have left nothing but tasks that wait for a flush.
    polls: u32,
    last_error: Option<Error>,
    sweep: Option<OrphanSweep>,
}

/// Where the worker is.
#[derive(Clone, Default)]
pub(super) struct Progress {
    /// The last task of this pass.
    pub(super) after: Option<CleanupTask>,
    /// Whether this pass has left tasks that wait for a flush.
    pub(super) has_waiting: bool,
    pub(super) needs_sweep: bool,
}

/// The outcome of a part.
#[derive(Debug)]
pub(super) enum Part {
    /// There may be more to do at once.
    More,
    /// What is left waits for a flush.
    Waiting,
    /// A sweep has ended; `None` if the cleaner does not say what is stored.
    Swept(Option<OrphanSweep>),
    /// Nothing is left to do.
    Done,
}

impl Cleanup {
    pub(crate) fn new(
        cleaner: Arc<dyn ShapeCleaner>,
        observer: Arc<dyn Observer>,
        background: bool,
    ) -> Arc<Self> {
        let needs_sweep = cleaner.stores_data();
        let progress = Progress { needs_sweep, ..Progress::default() };
        let state = Mutex::new(State { progress, ..State::default() });
        let (store, changed) = (OnceLock::new(), Condvar::new());
        Arc::new(Self { cleaner, observer, background, store, state, changed })
    }

    /// Begins to clean this store.
    pub(crate) fn start(self: &Arc<Self>, store: &Arc<Core>) {
        self.store.get_or_init(|| Arc::downgrade(store));
        if self.cleaner.stores_data() {
            self.wake();
        }
    }

    /// Makes the worker look for tasks. Starts its thread if there is none.
    pub(crate) fn wake(self: &Arc<Self>) {
        let mut state = self.state();
        state.has_news = true;
        if state.has_thread || state.is_closed || !self.background || self.store.get().is_none() {
            return;
        }
        let worker = Arc::clone(self);
        let spawned = thread::Builder::new().name("shape-meta-clean".to_owned()).spawn(move || worker.run());
        match spawned {
            Ok(_) => state.has_thread = true,
            // The next removal or open tries again.
            Err(error) => {
                let message = format!("the cleanup thread could not be started: {error}; it is tried again");
                state.last_error = Some(Error::new(ErrorKind::Io, message).with_source(error));
            }
        }
    }

    /// Repeats the sweep.
    pub(crate) fn sweep_again(self: &Arc<Self>) {
        self.state().progress.needs_sweep = true;
        self.wake();
    }

    fn run(self: Arc<Self>) {
        loop {
            let delay = match self.step() {
                Ok(true) => continue,
                Ok(false) => self.poll_delay(),
                Err(_) => Some(self.retry_delay()),
            };
            let mut state = self.state();
            let begun = Instant::now();
            match delay {
                Some(delay) => {
                    while !state.is_closed && begun.elapsed() < delay {
                        let left = delay.saturating_sub(begun.elapsed());
                        state = self.wait(state, left);
                    }
                }
                None if state.has_news && !state.is_closed => continue,
                None => {
                    state.has_thread = false;
                    return;
                }
            }
            if state.is_closed {
                state.has_thread = false;
                return;
            }
        }
    }

    /// Runs a part on this thread. Returns whether there may be more to do at once.
    ///
    /// # Errors
    ///
    /// The failure of the cleaner, or of the database.
    pub(crate) fn step(&self) -> Result<bool> {
        let Some(mut progress) = self.begin() else { return Ok(false) };
        let store = self.store.get().and_then(Weak::upgrade);
        let outcome = match &store {
            Some(store) => catch_unwind(AssertUnwindSafe(|| self.part(store, &mut progress)))
                .unwrap_or_else(|panic| Err(panic_error(&*panic))),
            None => Ok(Part::Done),
        };
        // Dropped before the part ends, so that whoever waits for that holds the last reference.
        drop(store);
        let mut state = self.state();
        // A sweep that was requested meanwhile stays requested: `begin` has taken the earlier request.
        progress.needs_sweep |= state.progress.needs_sweep;
        state.progress = progress;
        state.runs_on = None;
        let outcome = match outcome {
            Ok(part) => {
                state.failures = 0;
                state.polls = match part {
                    Part::Waiting => state.polls.saturating_add(1),
                    _ => 0,
                };
                let has_more = matches!(part, Part::More | Part::Swept(_));
                if let Part::Swept(sweep) = part {
                    state.sweep = sweep;
                }
                Ok(has_more)
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.last_error = Some(error.clone());
                state.progress.after = None;
                Err((error, state.failures))
            }
        };
        drop(state);
        self.changed.notify_all();
        outcome.map_err(|(error, failures)| {
            self.observer.cleanup_failed(&error, failures, delay(FIRST_DELAY, LONGEST_DELAY, failures));
            error
        })
    }

    /// Waits until no other part runs, and begins one. `None` once it is closed.
    fn begin(&self) -> Option<Progress> {
        let mut state = self.state();
        while state.runs_on.is_some() && !state.is_closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return None;
        }
        state.runs_on = Some(thread::current().id());
        state.has_news = false;
        let progress = state.progress.clone();
        state.progress.needs_sweep = false;
        Some(progress)
    }

    /// Whether the store is being closed: a part ends soon then.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Begins no further part.
    pub(crate) fn begin_close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits until the part in progress has ended, unless it runs on this thread. Returns whether it has.
    pub(crate) fn wait_until_idle(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        while let Some(thread) = state.runs_on {
            let left = deadline.saturating_duration_since(Instant::now());
            if thread == thread::current().id() || left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
        true
    }

    /// Returns the status, without the number of tasks.
    pub(crate) fn status(&self) -> CleanupStatus {
        let state = self.state();
        let (failures, last_error) = (state.failures, state.last_error.clone());
        CleanupStatus { tasks: 0, failures, last_error, sweep: state.sweep.clone() }
    }

    fn poll_delay(&self) -> Option<Duration> {
        let polls = self.state().polls;
        (polls > 0).then(|| delay(FIRST_POLL, LONGEST_POLL, polls))
    }

    fn retry_delay(&self) -> Duration {
        delay(FIRST_DELAY, LONGEST_DELAY, self.state().failures)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the delay after this many attempts in a row.
fn delay(first: Duration, longest: Duration, attempts: u32) -> Duration {
    first.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(longest)
}

pub(super) fn panic_error(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let message = format!(
        "the cleanup panicked: {}; nothing was acknowledged, and it is tried again",
        text.as_deref().unwrap_or("no message")
    );
    Error::new(ErrorKind::Panicked, message)
}
