use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{BlockingOptions, queue::CallQueue};

/// How long an idle thread is kept.
const LINGER: Duration = Duration::from_secs(10);

/// Threads on which the blocking calls behind futures run: pass one pool to
/// [`Builder::blocking_pool`](crate::Builder::blocking_pool) of many stores.
///
/// Without it every store has up to four threads of its own. Threads exist only while there are calls, and 10
/// seconds longer; an idle store costs none.
///
/// Stores take rounds: a thread runs one call of the store that has waited longest. A store whose disk hangs
/// keeps its own [share](BlockingOptions::max_threads_per_store) of the threads, and the others go on with
/// the rest.
///
/// Calls that wait by design do not run here, but on a few threads that their store starts for them: a
/// promotion, a close, and a stream of shapes.
#[derive(Clone)]
pub struct BlockingPool(pub(super) Arc<Pool>);

impl BlockingPool {
    /// Creates a pool without threads; the first call starts one.
    pub fn new(options: BlockingOptions) -> Self {
        Self(Pool::new(options))
    }

    /// Returns what the pool does now, for gauges. Blocks: short lock.
    pub fn stats(&self) -> BlockingStats {
        self.0.stats()
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingPool").field(&self.stats()).finish()
    }
}

/// What a [`BlockingPool`] does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BlockingStats {
    /// The number of its threads, including idle ones.
    pub threads: usize,
    /// The number of threads that run a call.
    pub busy: usize,
    /// The number of rounds that wait for a thread: zero in a healthy pool. If it stays above zero while
    /// `busy` is the maximum, calls hang.
    pub waiting: usize,
}

pub(super) struct Pool {
    pub(super) options: BlockingOptions,
    state: Mutex<State>,
    /// Notified when a round is due.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// The queues that are due for a round, in this order; a queue is in it as often as it may run.
    rounds: VecDeque<Arc<CallQueue>>,
    threads: usize,
    idle: usize,
}

impl Pool {
    pub(super) fn new(options: BlockingOptions) -> Arc<Self> {
        Arc::new(Self { options, state: Mutex::default(), news: Condvar::new() })
    }

    /// Gives this queue a round. Starts a thread if none is idle.
    ///
    /// # Errors
    ///
    /// If there is no thread, and none can be started. The queue has no round then.
    pub(super) fn add_round(self: &Arc<Self>, queue: Arc<CallQueue>) -> io::Result<()> {
        let mut state = self.state();
        state.rounds.push_back(queue);
        if state.rounds.len() <= state.idle {
            self.news.notify_one();
            return Ok(());
        }
        if state.threads >= self.options.max_threads {
            return Ok(());
        }
        let pool = Arc::clone(self);
        let thread = thread::Builder::new().name("shape-meta-call".to_owned());
        match thread.spawn(move || pool.run()) {
            Ok(_) => state.threads += 1,
            // A thread that is there takes it when it is free.
            Err(_) if state.threads > 0 => {}
            Err(error) => {
                state.rounds.pop_back();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs rounds until there was none for a while.
    fn run(&self) {
        let mut state = self.state();
        loop {
            if let Some(queue) = state.rounds.pop_front() {
                drop(state);
                let has_more = queue.run_one();
                state = self.state();
                if has_more {
                    // Behind the other queues.
                    state.rounds.push_back(queue);
                }
                continue;
            }
            state.idle += 1;
            let waited = self.news.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            state.idle -= 1;
            // Under the lock under which a round is added: it is not left without a thread.
            if waited.1.timed_out() && state.rounds.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn stats(&self) -> BlockingStats {
        let state = self.state();
        BlockingStats {
            threads: state.threads,
            busy: state.threads - state.idle,
            waiting: state.rounds.len().saturating_sub(state.idle),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
