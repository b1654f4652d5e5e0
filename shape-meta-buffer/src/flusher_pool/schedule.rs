use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{FlusherOptions, FlusherStats, Task};
use crate::sync::thread::{self, ThreadId};

/// Decides which store is flushed next: the pool without its threads, which tests step (I7).
pub(super) struct Schedule {
    options: FlusherOptions,
    stores: HashMap<u64, Scheduled>,
    next_id: u64,
    /// Stores that are being closed, which run at once.
    urgent: VecDeque<u64>,
    ready: VecDeque<u64>,
    /// Ready stores whose latest step was slow. They run on the threads for slow stores, or among the others
    /// as if they had become ready [`slow_delay`](FlusherOptions::slow_delay) later.
    ready_slow: VecDeque<u64>,
    timers: BTreeSet<(Instant, u64)>,
    running: HashMap<u64, Running>,
}

/// A registered store.
struct Scheduled {
    task: Arc<Task>,
    position: Position,
    is_closing: bool,
    /// Whether its latest step was slow.
    is_slow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Idle,
    /// In `timers`, due at this time.
    Timed(Instant),
    /// In a queue, since this time.
    Ready(Instant),
    Running,
}

/// A step in progress.
struct Running {
    since: Instant,
    thread: ThreadId,
    is_closing: bool,
    /// Whether the step before it was slow.
    is_slow: bool,
}

/// What an idle thread does next.
pub(super) enum Next {
    Run(Arc<Task>),
    /// Wait until this time, or for a wake.
    Wait(Option<Instant>),
}

impl Schedule {
    pub(super) fn new(options: FlusherOptions) -> Self {
        Self {
            options,
            stores: HashMap::new(),
            next_id: 0,
            urgent: VecDeque::new(),
            ready: VecDeque::new(),
            ready_slow: VecDeque::new(),
            timers: BTreeSet::new(),
            running: HashMap::new(),
        }
    }

    /// Adds a store that is due at this time, unless it is woken before.
    pub(super) fn add(&mut self, due: Option<Instant>, task: impl FnOnce(u64) -> Task) -> Arc<Task> {
        let id = self.next_id;
        self.next_id += 1;
        let task = Arc::new(task(id));
        let position = due.map_or(Position::Idle, Position::Timed);
        self.timers.extend(due.map(|due| (due, id)));
        let store = Scheduled { task: Arc::clone(&task), position, is_closing: false, is_slow: false };
        self.stores.insert(id, store);
        task
    }

    /// Whether there is a store whose step is not running, which needs a thread to watch for it.
    pub(super) fn needs_watcher(&self) -> bool {
        let running = self.running.keys().filter(|id| self.stores.contains_key(id)).count();
        self.stores.len() > running
    }

    /// Whether another thread runs a step of this store.
    pub(super) fn is_running_elsewhere(&self, id: u64) -> bool {
        self.running.get(&id).is_some_and(|running| running.thread != thread::current().id())
    }

    /// Makes a store due now. Returns whether the watcher has to be notified.
    pub(super) fn wake(&mut self, id: u64, now: Instant) -> bool {
        let Some(store) = self.stores.get_mut(&id) else { return false };
        match store.position {
            // The thread that runs it finds the wake in the task.
            Position::Ready(_) | Position::Running => return false,
            Position::Timed(due) => {
                self.timers.remove(&(due, id));
            }
            Position::Idle => {}
        }
        store.position = Position::Ready(now);
        match (store.is_closing, store.is_slow) {
            (true, _) => &mut self.urgent,
            (false, true) => &mut self.ready_slow,
            (false, false) => &mut self.ready,
        }
        .push_back(id);
        true
    }

    /// Makes a store urgent, because it is being closed, and due now.
    pub(super) fn expedite(&mut self, id: u64, now: Instant) {
        let Some(store) = self.stores.get_mut(&id) else { return };
        store.is_closing = true;
        if let Position::Ready(_) = store.position {
            let queue = if store.is_slow { &mut self.ready_slow } else { &mut self.ready };
            queue.retain(|other| *other != id);
            store.position = Position::Idle;
        }
        self.wake(id, now);
    }

    /// Removes a store. A step in progress still counts as running.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(store) = self.stores.remove(&id) else { return };
        match store.position {
            Position::Timed(due) => {
                self.timers.remove(&(due, id));
            }
            Position::Ready(_) => {
                for queue in [&mut self.urgent, &mut self.ready, &mut self.ready_slow] {
                    queue.retain(|other| *other != id);
                }
            }
            Position::Idle | Position::Running => {}
        }
    }

    /// Returns what an idle thread does next. A task that is returned counts as running.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.wake(id, due);
        }
        let capacity = self.capacity(now);
        let first = self.ready_since(&self.ready);
        let first_slow = self.ready_since(&self.ready_slow).map(|since| since + self.options.slow_delay());
        let runs_slow =
            |due: Instant| capacity.slow || (capacity.quick && due <= now.min(first.unwrap_or(due)));
        let queue = if !self.urgent.is_empty() {
            &mut self.urgent
        } else if first_slow.is_some_and(runs_slow) {
            &mut self.ready_slow
        } else if capacity.quick && first.is_some() {
            &mut self.ready
        } else {
            let timer = self.timers.first().map(|(due, _)| *due);
            let is_waiting = first.or(first_slow).is_some();
            let capacity_at = if capacity.quick { first_slow } else { capacity.next.filter(|_| is_waiting) };
            return Next::Wait([timer, capacity_at].into_iter().flatten().min());
        };
        let id = queue.pop_front();
        let (id, store) = id
            .and_then(|id| Some((id, self.stores.get_mut(&id)?)))
            .expect("a queue that is not empty holds registered stores");
        store.position = Position::Running;
        let (is_closing, is_slow) = (store.is_closing, store.is_slow);
        let thread = thread::current().id();
        self.running.insert(id, Running { since: now, thread, is_closing, is_slow });
        Next::Run(Arc::clone(&store.task))
    }

    /// Ends a step. The next one is due at this time.
    pub(super) fn end(&mut self, id: u64, due: Option<Instant>, now: Instant) {
        let Some(ran) = self.running.remove(&id) else { return };
        let Some(store) = self.stores.get_mut(&id) else { return };
        // Without threads for slow stores, these wait among the others.
        store.is_slow = self.options.slow_threads() > 0
            && now.saturating_duration_since(ran.since) >= self.options.slow_threshold;
        store.position = due.map_or(Position::Idle, Position::Timed);
        self.timers.extend(due.map(|due| (due, id)));
    }

    /// Returns whether one more step may run. Steps of stores that are being closed do not count.
    fn capacity(&self, now: Instant) -> Capacity {
        let (mut quick, mut slow) = (0, 0);
        let mut next: Option<Instant> = None;
        for running in self.running.values().filter(|running| !running.is_closing) {
            let slow_from = running.since + self.options.slow_threshold;
            if running.is_slow || slow_from <= now {
                slow += 1;
            } else {
                quick += 1;
                next = Some(next.map_or(slow_from, |next| next.min(slow_from)));
            }
        }
        let is_below_limit = quick + slow < self.options.limit();
        Capacity {
            quick: quick < self.options.threads && is_below_limit,
            slow: slow < self.options.slow_threads() && is_below_limit,
            next: next.filter(|_| is_below_limit),
        }
    }

    /// Returns since when the first store of this queue is in it.
    fn ready_since(&self, queue: &VecDeque<u64>) -> Option<Instant> {
        match self.stores.get(queue.front()?)?.position {
            Position::Ready(since) => Some(since),
            _ => None,
        }
    }

    pub(super) fn stats(&self, now: Instant) -> FlusherStats {
        let queues = [&self.urgent, &self.ready, &self.ready_slow];
        let is_slow =
            |running: &&Running| now.saturating_duration_since(running.since) >= self.options.slow_threshold;
        FlusherStats {
            stores: self.stores.len(),
            threads: 0,
            flushing: self.running.len(),
            slow: self.running.values().filter(is_slow).count(),
            waiting: queues.iter().map(|queue| queue.len()).sum(),
            behind: queues
                .iter()
                .filter_map(|queue| self.ready_since(queue))
                .min()
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        }
    }
}

/// Which further steps may run.
struct Capacity {
    /// One of a store whose latest step was not slow.
    quick: bool,
    /// One of a store whose latest step was slow.
    slow: bool,
    /// When the next step in progress begins to count as slow, which frees capacity.
    next: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use super::{super::pool::Pool, *};
    use crate::flusher_pool::tests::Nothing;

    const SLOW: Duration = Duration::from_millis(250);

    struct Stepped {
        schedule: Schedule,
        pool: Arc<Pool>,
        started_at: Instant,
    }

    impl Stepped {
        /// A pool with these numbers of threads, and stores 0, 1, ...
        fn new(threads: usize, max_threads: usize, stores: usize) -> Self {
            let options =
                FlusherOptions::default().threads(threads).max_threads(max_threads).slow_threshold(SLOW);
            let (schedule, pool) = (Schedule::new(options), Pool::new(options));
            let mut stepped = Self { schedule, pool, started_at: Instant::now() };
            for _ in 0..stores {
                let pool = Arc::clone(&stepped.pool);
                stepped.schedule.add(None, |id| Task::new(id, pool, Weak::<Nothing>::new()));
            }
            stepped
        }

        fn at(&self, millis: u64) -> Instant {
            self.started_at + Duration::from_millis(millis)
        }

        fn wake(&mut self, ids: impl IntoIterator<Item = u64>) {
            for id in ids {
                self.schedule.wake(id, self.started_at);
            }
        }

        /// Returns the stores whose steps begin at this time.
        fn begin(&mut self, millis: u64) -> Vec<u64> {
            let now = self.at(millis);
            std::iter::from_fn(|| match self.schedule.next(now) {
                Next::Run(task) => Some(task.id),
                Next::Wait(_) => None,
            })
            .collect()
        }

        fn waits_until(&mut self, millis: u64) -> Option<Duration> {
            let now = self.at(millis);
            match self.schedule.next(now) {
                Next::Run(task) => panic!("a step of store {} begins", task.id),
                Next::Wait(until) => until.map(|until| until - self.started_at),
            }
        }

        fn end(&mut self, id: u64, due: Option<u64>, millis: u64) {
            let (due, now) = (due.map(|due| self.at(due)), self.at(millis));
            self.schedule.end(id, due, now);
        }
    }

    #[test]
    fn stores_run_in_the_order_of_becoming_due_each_on_one_thread() {
        let mut pool = Stepped::new(2, 2, 5);
        pool.wake([3, 1, 4, 1]);
        assert_eq!(pool.begin(0), [3, 1]);
        // Woken while it runs: the thread finds that in the task.
        pool.wake([3]);
        assert!(pool.begin(0).is_empty());
        pool.end(3, Some(1), 1);
        assert_eq!(pool.begin(1), [4], "a store that is due again comes last");
        pool.end(1, None, 1);
        assert_eq!(pool.begin(1), [3]);
    }

    #[test]
    fn an_idle_store_costs_no_step() {
        let mut pool = Stepped::new(2, 4, 1_000);
        assert_eq!(pool.waits_until(0), None);
        pool.wake([7]);
        assert_eq!(pool.begin(0), [7]);
        pool.end(7, Some(100), 1);
        assert_eq!(pool.waits_until(1), Some(Duration::from_millis(100)));
        assert_eq!(pool.begin(100), [7]);
        pool.end(7, None, 101);
        assert_eq!(pool.waits_until(101), None);
    }

    #[test]
    fn a_wake_replaces_the_timer() {
        let mut pool = Stepped::new(1, 1, 1);
        pool.wake([0]);
        pool.begin(0);
        pool.end(0, Some(500), 0);
        pool.wake([0]);
        assert_eq!(pool.begin(1), [0]);
        pool.end(0, None, 1);
        assert_eq!(pool.waits_until(600), None);
    }

    #[test]
    fn a_slow_flush_frees_capacity_for_another() {
        let mut pool = Stepped::new(1, 2, 3);
        pool.wake([0, 1, 2]);
        assert_eq!(pool.begin(0), [0]);
        assert_eq!(pool.waits_until(100), Some(SLOW));
        assert_eq!(pool.begin(250), [1]);
        // The limit is reached: only the end of a step frees capacity.
        assert_eq!(pool.waits_until(1_000), None);
        assert_eq!(pool.schedule.stats(pool.at(1_000)).slow, 2);
        assert_eq!(pool.schedule.stats(pool.at(1_000)).behind, Duration::from_millis(1_000));
        pool.end(0, None, 1_000);
        assert_eq!(pool.begin(1_000), [2]);
    }

    #[test]
    fn slow_stores_leave_the_first_threads_to_the_others() {
        let mut pool = Stepped::new(1, 3, 6);
        for id in 0..4 {
            pool.wake([id]);
            assert_eq!(pool.begin(0), [id]);
            pool.end(id, Some(2_000), 300);
        }
        assert_eq!(pool.begin(2_000).len(), 2, "two of three threads are for slow stores");
        pool.wake([4, 5]);
        assert_eq!(pool.begin(2_000), [4]);
        pool.end(4, None, 2_001);
        assert_eq!(pool.begin(2_001), [5]);
        pool.end(5, None, 2_002);
        pool.end(0, Some(2_003), 2_003);
        assert_eq!(pool.begin(2_003), [2, 0], "a store that was quick is not slow any more");
        // A slow store that waits in vain for a thread for slow stores runs among the others in the end:
        // stores that hang do not keep out those that do not.
        assert_eq!(pool.waits_until(2_004), None);
        pool.end(0, None, 2_004);
        assert_eq!(pool.waits_until(2_005), Some(Duration::from_millis(4_000)));
        assert_eq!(pool.begin(4_000), [3]);
    }

    #[test]
    fn without_threads_for_slow_stores_a_slow_store_still_runs() {
        let mut pool = Stepped::new(1, 1, 1);
        pool.wake([0]);
        assert_eq!(pool.begin(0), [0]);
        pool.end(0, Some(1_000), 1_000);
        assert_eq!(pool.begin(1_000), [0]);
    }

    #[test]
    fn c10_a_store_that_is_being_closed_runs_at_once() {
        let mut pool = Stepped::new(1, 1, 4);
        pool.wake([0, 1, 2]);
        assert_eq!(pool.begin(0), [0]);
        let now = pool.at(0);
        for id in [2, 3, 0] {
            pool.schedule.expedite(id, now);
        }
        assert_eq!(pool.begin(0), [2, 3]);
        // It is retried for as long as its close runs.
        pool.end(2, Some(10), 1);
        assert_eq!(pool.begin(10), [2]);
        pool.end(0, Some(11), 11);
        assert_eq!(pool.begin(11), [0, 1], "and takes no capacity from others");
    }

    #[test]
    fn a_removed_store_does_not_run_any_more() {
        let mut pool = Stepped::new(1, 2, 4);
        pool.wake([0]);
        assert_eq!(pool.begin(0), [0]);
        pool.wake([1]);
        pool.end(0, Some(5), 0);
        assert_eq!(pool.begin(0), [1]);
        pool.wake([2]);
        for id in 0..3 {
            pool.schedule.remove(id);
        }
        assert_eq!(pool.waits_until(1_000), None);
        assert!(pool.schedule.needs_watcher(), "store 3 may be woken");
        pool.schedule.remove(3);
        pool.end(1, Some(0), 1_000);
        assert!(!pool.schedule.needs_watcher());
        pool.wake([1]);
        assert_eq!(pool.waits_until(2_000), None);
        assert_eq!(pool.schedule.stats(pool.at(2_000)), FlusherStats::default());
    }
}
