use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    FlusherOptions, FlusherStats, Step, Task,
    schedule::{Next, Schedule},
};
use crate::sync::{
    Condvar, Mutex, MutexGuard,
    thread::{Builder, JoinHandle},
};

/// How long an idle thread is kept.
const LINGER: Duration = Duration::from_secs(10);
/// The delay before the next step of a store whose step panicked.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// The threads around a [`Schedule`].
///
/// One idle thread is the *watcher*: it waits for the next timer or wake. Before it runs a step, it hands the
/// watch to another idle thread, and starts one if there is none. So while there is a store whose step is not
/// running, there is a watcher, and a pool of a single store has a single thread.
pub(super) struct Pool {
    /// Lock 7 of the table in `shared.rs`. No code of a store runs under it.
    state: Mutex<State>,
    /// Notified for the watcher.
    news: Condvar,
    /// Notified for the other idle threads.
    idle: Condvar,
    /// Notified when a step has ended.
    step_ended: Condvar,
}

struct State {
    schedule: Schedule,
    threads: HashMap<u64, Thread>,
    next_thread: u64,
    has_watcher: bool,
    /// The timer that the watcher waits for.
    watcher_until: Option<Instant>,
    is_ending: bool,
}

struct Thread {
    handle: Option<JoinHandle<()>>,
    is_running: bool,
}

impl Pool {
    pub(super) fn new(options: FlusherOptions) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                schedule: Schedule::new(options),
                threads: HashMap::new(),
                next_thread: 0,
                has_watcher: false,
                watcher_until: None,
                is_ending: false,
            }),
            news: Condvar::new(),
            idle: Condvar::new(),
            step_ended: Condvar::new(),
        })
    }

    /// Adds a store whose first step is due at this time.
    ///
    /// # Errors
    ///
    /// If no thread could run its steps, and none can be started.
    pub(super) fn register(
        self: &Arc<Self>,
        store: Weak<dyn Step>,
        due: Option<Instant>,
    ) -> io::Result<Arc<Task>> {
        let mut state = self.lock();
        let task = state.schedule.add(due, |id| Task::new(id, Arc::clone(self), store));
        if state.has_watcher && due.is_some_and(|due| state.watcher_until.is_none_or(|until| due < until)) {
            self.news.notify_one();
        }
        if let Err(error) = self.ensure_watcher(&mut state) {
            state.schedule.remove(task.id);
            return Err(error);
        }
        Ok(task)
    }

    pub(super) fn wake(&self, id: u64) {
        let mut state = self.lock();
        if state.schedule.wake(id, Instant::now()) && state.has_watcher {
            self.news.notify_one();
        }
    }

    pub(super) fn expedite(self: &Arc<Self>, id: u64) {
        let mut state = self.lock();
        state.schedule.expedite(id, Instant::now());
        if state.has_watcher {
            self.news.notify_one();
        }
        // A thread that could not be started before is tried again. If that fails too, close reports what it
        // could not write.
        let _ = self.ensure_watcher(&mut state);
    }

    /// Removes a store, and waits for a step in progress until the deadline.
    pub(super) fn unregister(&self, id: u64, deadline: Instant) {
        let mut state = self.lock();
        state.schedule.remove(id);
        while state.schedule.is_running_elsewhere(id) {
            if self.step_ended.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    pub(super) fn stats(&self) -> FlusherStats {
        let state = self.lock();
        FlusherStats { threads: state.threads.len(), ..state.schedule.stats(Instant::now()) }
    }

    /// Ends the idle threads and waits for them. A thread that runs a step ends after it. It may be the
    /// calling thread, if the step dropped the last owner of the store.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_ending = true;
        let idle = state.threads.values_mut().filter(|thread| !thread.is_running);
        let idle: Vec<_> = idle.filter_map(|thread| thread.handle.take()).collect();
        drop(state);
        self.news.notify_all();
        self.idle.notify_all();
        for thread in idle {
            // It runs no step, and panics of steps are caught.
            let _ = thread.join();
        }
    }

    /// Starts a thread if a store would otherwise have no watcher.
    fn ensure_watcher(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if !state.schedule.needs_watcher() || state.threads.values().any(|thread| !thread.is_running) {
            return Ok(());
        }
        let id = state.next_thread;
        state.next_thread += 1;
        let pool = Arc::clone(self);
        let thread = Builder::new().name("shape-meta-flush".into());
        let handle = thread.spawn(move || pool.run(id))?;
        state.threads.insert(id, Thread { handle: Some(handle), is_running: false });
        Ok(())
    }

    /// Runs a thread of the pool.
    fn run(self: Arc<Self>, me: u64) {
        let mut state = self.lock();
        while !state.is_ending {
            match state.schedule.next(Instant::now()) {
                Next::Run(task) => {
                    state.set_running(me, true);
                    if !state.has_watcher {
                        // If there is no idle thread and none can be started, the other stores wait for this
                        // step.
                        let _ = self.ensure_watcher(&mut state);
                        self.idle.notify_one();
                    }
                    drop(state);
                    let due = step(&task);
                    state = self.lock();
                    let now = Instant::now();
                    let due = if task.end() { Some(now) } else { due };
                    state.schedule.end(task.id, due, now);
                    state.set_running(me, false);
                    self.step_ended.notify_all();
                }
                Next::Wait(until) if !state.has_watcher => {
                    (state.has_watcher, state.watcher_until) = (true, until);
                    match until {
                        None => self.news.wait(&mut state),
                        Some(until) => drop(self.news.wait_until(&mut state, until)),
                    }
                    state.has_watcher = false;
                }
                Next::Wait(until) => {
                    // The step that just ended may have left a timer, or capacity, that the watcher does not
                    // know of.
                    if until.is_some_and(|until| state.watcher_until.is_none_or(|watched| until < watched)) {
                        self.news.notify_one();
                    }
                    let timed_out = self.idle.wait_until(&mut state, Instant::now() + LINGER).timed_out();
                    if timed_out && state.has_watcher {
                        break;
                    }
                }
            }
        }
        state.threads.remove(&me);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn set_running(&mut self, thread: u64, is_running: bool) {
        if let Some(thread) = self.threads.get_mut(&thread) {
            thread.is_running = is_running;
        }
    }
}

/// Runs a step. Steps catch their own panics, but the close of a store whose last owner is this thread runs
/// here too.
pub(super) fn step(task: &Task) -> Option<Instant> {
    catch_unwind(AssertUnwindSafe(|| task.run())).unwrap_or_else(|_| Some(Instant::now() + AFTER_PANIC))
}
