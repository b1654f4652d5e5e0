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

/// How long a thread that is not needed is kept for the next time.
const LINGER: Duration = Duration::from_secs(10);
/// When a store is looked at again whose step panicked.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// The threads around a [`Schedule`].
///
/// One free thread *watches*: it waits for the next timer or wake. When it is given a store to flush, it
/// first leaves the watch to another thread, and starts one if none is free. So as long as there is a
/// store that nobody is flushing, somebody watches, and a pool of a single store has a single thread.
pub(super) struct Pool {
    /// No code of a store runs under this lock.
    state: Mutex<State>,
    /// For the thread that watches.
    news: Condvar,
    /// For those that are free beside it.
    free: Condvar,
    /// For whoever waits for a step to end.
    ended: Condvar,
}

struct State {
    schedule: Schedule,
    threads: HashMap<u64, Thread>,
    next_thread: u64,
    watched: bool,
    /// Until when, if nothing comes before.
    watched_until: Option<Instant>,
    ending: bool,
}

struct Thread {
    handle: Option<JoinHandle<()>>,
    running: bool,
}

impl Pool {
    pub(super) fn new(options: FlusherOptions) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                schedule: Schedule::new(options),
                threads: HashMap::new(),
                next_thread: 0,
                watched: false,
                watched_until: None,
                ending: false,
            }),
            news: Condvar::new(),
            free: Condvar::new(),
            ended: Condvar::new(),
        })
    }

    pub(super) fn register(
        self: &Arc<Self>,
        store: Weak<dyn Step>,
        due: Option<Instant>,
    ) -> io::Result<Arc<Task>> {
        let mut state = self.lock();
        let task = state.schedule.enter(due, |id| Task::new(id, Arc::clone(self), store));
        if state.watched && due.is_some_and(|due| state.watched_until.is_none_or(|until| due < until)) {
            self.news.notify_one();
        }
        let watched = self.ensure_watch(&mut state);
        if let Err(error) = watched {
            state.schedule.leave(task.id);
            return Err(error);
        }
        Ok(task)
    }

    pub(super) fn wake(&self, id: u64) {
        let mut state = self.lock();
        if state.schedule.wake(id, Instant::now()) && state.watched {
            self.news.notify_one();
        }
    }

    pub(super) fn hasten(self: &Arc<Self>, id: u64) {
        let mut state = self.lock();
        state.schedule.hasten(id, Instant::now());
        if state.watched {
            self.news.notify_one();
        }
        // If a thread could not be started when the last one was needed, now is the time. If it still
        // cannot be, closing says what it could not write.
        let _ = self.ensure_watch(&mut state);
    }

    pub(super) fn leave(&self, id: u64, deadline: Instant) {
        let mut state = self.lock();
        state.schedule.leave(id);
        while state.schedule.is_running_elsewhere(id) {
            if self.ended.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    pub(super) fn stats(&self) -> FlusherStats {
        let state = self.lock();
        FlusherStats { threads: state.threads.len(), ..state.schedule.stats(Instant::now()) }
    }

    /// Lets the threads end, and waits for those that do. One that is still with a store ends when that
    /// lets it go; it may even be the one that calls this, if it was the last to hold the store.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ending = true;
        let free = state.threads.values_mut().filter(|thread| !thread.running);
        let free: Vec<_> = free.filter_map(|thread| thread.handle.take()).collect();
        drop(state);
        self.news.notify_all();
        self.free.notify_all();
        for thread in free {
            // It has nothing left to do, and panics are caught before they reach it.
            let _ = thread.join();
        }
    }

    /// Starts a thread if a store would otherwise be watched by nobody.
    fn ensure_watch(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if !state.schedule.needs_watch() || state.threads.values().any(|thread| !thread.running) {
            return Ok(());
        }
        let id = state.next_thread;
        state.next_thread += 1;
        let pool = Arc::clone(self);
        let thread = Builder::new().name("shape-meta-flush".into());
        let handle = thread.spawn(move || pool.run(id))?;
        state.threads.insert(id, Thread { handle: Some(handle), running: false });
        Ok(())
    }

    /// What a thread of the pool does.
    fn run(self: Arc<Self>, me: u64) {
        let mut state = self.lock();
        while !state.ending {
            match state.schedule.next(Instant::now()) {
                Next::Run(task) => {
                    state.set_running(me, true);
                    if !state.watched {
                        // Should no thread be free for the watch, and none be had, the other stores wait
                        // until this one is done.
                        let _ = self.ensure_watch(&mut state);
                        self.free.notify_one();
                    }
                    drop(state);
                    let due = step(&task);
                    state = self.lock();
                    let now = Instant::now();
                    let due = if task.end() { Some(now) } else { due };
                    state.schedule.end(task.id, due, now);
                    state.set_running(me, false);
                    self.ended.notify_all();
                }
                Next::Wait(until) if !state.watched => {
                    (state.watched, state.watched_until) = (true, until);
                    match until {
                        None => self.news.wait(&mut state),
                        Some(until) => drop(self.news.wait_until(&mut state, until)),
                    }
                    state.watched = false;
                }
                Next::Wait(until) => {
                    // The step that has just ended may have left a timer, or room, of which the thread that
                    // watches does not know.
                    if until.is_some_and(|until| state.watched_until.is_none_or(|watched| until < watched)) {
                        self.news.notify_one();
                    }
                    let timed_out = self.free.wait_until(&mut state, Instant::now() + LINGER).timed_out();
                    if timed_out && state.watched {
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
    fn set_running(&mut self, thread: u64, running: bool) {
        if let Some(thread) = self.threads.get_mut(&thread) {
            thread.running = running;
        }
    }
}

/// A step catches its panics; but closing a store that everybody else has let go happens here too, and
/// that is the store's code.
pub(super) fn step(task: &Task) -> Option<Instant> {
    catch_unwind(AssertUnwindSafe(|| task.run())).unwrap_or_else(|_| Some(Instant::now() + AFTER_PANIC))
}
