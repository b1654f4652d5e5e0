use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Observer, Result};

use super::{
    CleanupStatus, OrphanSweep,
    pace::Pace,
    part::{Part, Progress},
};
use crate::{ShapeCleaner, builder::CleanupOptions, database::Database, store::Core};

/// Hands cleanup tasks to the cleaner, a part at a time: on a thread that exists only while there is
/// something to do, and on threads of callers (I7).
pub(crate) struct Cleanup {
    pub(super) cleaner: Arc<dyn ShapeCleaner>,
    pub(super) observer: Arc<dyn Observer>,
    /// Whether parts run on a thread of their own.
    pub(super) background: bool,
    /// The store whose shapes are cleaned; set once it is composed. Weak, since it owns this.
    pub(super) store: OnceLock<Weak<Core>>,
    state: Mutex<State>,
    /// Notified when `state` changes.
    changed: Condvar,
}

pub(super) struct State {
    pub(super) has_thread: bool,
    /// The thread that runs a part. There is never more than one part at a time.
    runs_on: Option<ThreadId>,
    pub(super) is_closed: bool,
    /// Whether tasks were committed since the last part began.
    pub(super) has_news: bool,
    progress: Progress,
    pub(super) pace: Pace,
    pub(super) last_error: Option<Error>,
    sweep: Option<OrphanSweep>,
}

impl Cleanup {
    pub(crate) fn new(
        cleaner: Arc<dyn ShapeCleaner>,
        observer: Arc<dyn Observer>,
        options: CleanupOptions,
    ) -> Arc<Self> {
        let progress = Progress::new(cleaner.stores_data(), options.confirm_orphans);
        let state = State {
            has_thread: false,
            runs_on: None,
            is_closed: false,
            has_news: false,
            progress,
            pace: Pace::default(),
            last_error: None,
            sweep: None,
        };
        Arc::new(Self {
            cleaner,
            observer,
            background: options.background,
            store: OnceLock::new(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Begins to clean this store.
    pub(crate) fn start(self: &Arc<Self>, store: &Arc<Core>) {
        self.store.get_or_init(|| Arc::downgrade(store));
        if self.cleaner.stores_data() {
            self.wake();
        }
    }

    /// Repeats the sweep, and takes what it finds for garbage.
    pub(crate) fn sweep_confirmed(self: &Arc<Self>) {
        self.state().progress.request_sweep();
        self.wake();
    }

    /// Runs a part on this thread. Returns whether there may be more to do at once. Does nothing within a
    /// call of the cleaner.
    ///
    /// # Errors
    ///
    /// The failure of the cleaner, or of the database.
    pub(crate) fn step(&self) -> Result<bool> {
        let Some(mut progress) = self.begin()? else { return Ok(false) };
        let begun = progress.clone();
        let store = self.store.get().and_then(Weak::upgrade);
        let outcome = match &store {
            Some(store) => catch_unwind(AssertUnwindSafe(|| self.part(store, &mut progress)))
                .unwrap_or_else(|panic| Err(panic_error(&*panic))),
            None => Ok(Part::Done),
        };
        // Dropped before the part ends, so that a caller that waits for that holds the last reference.
        drop(store);
        let mut state = self.state();
        let failed = progress.failed_since(&begun);
        // A sweep that was requested meanwhile stays requested: `begin` has taken the earlier request.
        progress.keep_requests_of(&state.progress);
        state.progress = progress;
        state.runs_on = None;
        let outcome = match outcome {
            Ok(part) => {
                state.pace.succeeded(&part);
                let has_more = matches!(part, Part::More | Part::Swept(_));
                if let Part::Swept(sweep) = part {
                    state.sweep = sweep;
                }
                Ok(has_more)
            }
            Err(error) => {
                state.pace.failed(failed);
                state.last_error = Some(error.clone());
                Err((error, state.pace))
            }
        };
        drop(state);
        self.changed.notify_all();
        outcome.map_err(|(error, pace)| {
            // The cleanup goes on, whatever an observer does.
            let report = || self.observer.cleanup_failed(&error, pace.failures(), pace.retry_delay());
            let _ = catch_unwind(AssertUnwindSafe(report));
            error
        })
    }

    /// Waits until no other part runs, and begins one. `None` once it is closed, and if this thread runs a
    /// part: then the cleaner has called.
    ///
    /// # Errors
    ///
    /// `Unsupported` on a thread for which the part in progress may wait: then an observer has called.
    fn begin(&self) -> Result<Option<Progress>> {
        let this = thread::current().id();
        let (mut state, mut may_wait) = (self.state(), false);
        while state.runs_on.is_some_and(|thread| thread != this) && !state.is_closed {
            if !may_wait {
                drop(state);
                if let Some(store) = self.store.get().and_then(Weak::upgrade) {
                    // A part does both, too. They are refused where it would wait for this thread.
                    drop(store.stack().reserve_handles(&[])?);
                    store.database().map_or(Ok(()), Database::check_not_writing)?;
                }
                (state, may_wait) = (self.state(), true);
                continue;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed || state.runs_on.is_some() {
            return Ok(None);
        }
        state.runs_on = Some(this);
        let has_news = std::mem::take(&mut state.has_news);
        Ok(Some(state.progress.take(has_news)))
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
        let (failures, last_error) = (state.pace.failures(), state.last_error.clone());
        CleanupStatus { tasks: 0, failures, last_error, sweep: state.sweep.clone() }
    }

    /// Returns how many orphans wait for a confirmation; `None` before a sweep has ended.
    pub(crate) fn waiting_orphans(&self) -> Option<u64> {
        let state = self.state();
        state.sweep.as_ref().map(|sweep| if sweep.waits_for_confirmation { sweep.orphans } else { 0 })
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
