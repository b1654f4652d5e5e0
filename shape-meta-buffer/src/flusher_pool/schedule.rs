use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{FlusherOptions, FlusherStats, Task};
use crate::sync::thread::{self, ThreadId};

/// Who is flushed when: the pool without its threads, so that tests can step it.
pub(super) struct Schedule {
    options: FlusherOptions,
    seats: HashMap<u64, Place>,
    next_id: u64,
    /// Stores that are being closed: let in at once.
    urgent: VecDeque<u64>,
    ready: VecDeque<u64>,
    /// Ready too, and known to be slow: let into the places of the slow, and into those of the others as if
    /// it had become due that much later.
    ready_slow: VecDeque<u64>,
    timers: BTreeSet<(Instant, u64)>,
    running: HashMap<u64, Running>,
}

/// Where a store is.
struct Place {
    task: Arc<Task>,
    now: Now,
    closing: bool,
    /// Its latest step was.
    slow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    Idle,
    /// It is due then.
    Timed(Instant),
    /// In a queue since then.
    Ready(Instant),
    Running,
}

struct Running {
    since: Instant,
    thread: ThreadId,
    closing: bool,
    /// Known to be slow when it began.
    slow: bool,
}

/// What a free thread is to do.
pub(super) enum Next {
    Run(Arc<Task>),
    /// Nothing before this moment, if nobody is woken.
    Wait(Option<Instant>),
}

impl Schedule {
    pub(super) fn new(options: FlusherOptions) -> Self {
        Self {
            options,
            seats: HashMap::new(),
            next_id: 0,
            urgent: VecDeque::new(),
            ready: VecDeque::new(),
            ready_slow: VecDeque::new(),
            timers: BTreeSet::new(),
            running: HashMap::new(),
        }
    }

    /// A store that is first due then, if it is not woken before.
    pub(super) fn enter(&mut self, due: Option<Instant>, task: impl FnOnce(u64) -> Task) -> Arc<Task> {
        let id = self.next_id;
        self.next_id += 1;
        let task = Arc::new(task(id));
        let now = due.map_or(Now::Idle, Now::Timed);
        self.timers.extend(due.map(|due| (due, id)));
        let place = Place { task: Arc::clone(&task), now, closing: false, slow: false };
        self.seats.insert(id, place);
        task
    }

    /// Whether a store is left that no thread is flushing: whether a thread has to watch for it.
    pub(super) fn needs_watch(&self) -> bool {
        let flushed = self.running.keys().filter(|id| self.seats.contains_key(id)).count();
        self.seats.len() > flushed
    }

    /// Whether another thread is flushing it.
    pub(super) fn is_running_elsewhere(&self, id: u64) -> bool {
        self.running.get(&id).is_some_and(|running| running.thread != thread::current().id())
    }

    /// It is due now. Says whether there is something new for the thread that watches.
    pub(super) fn wake(&mut self, id: u64, now: Instant) -> bool {
        let Some(place) = self.seats.get_mut(&id) else { return false };
        match place.now {
            // A thread that runs it looks at what was done before the wake.
            Now::Ready(_) | Now::Running => return false,
            Now::Timed(due) => {
                self.timers.remove(&(due, id));
            }
            Now::Idle => {}
        }
        place.now = Now::Ready(now);
        match (place.closing, place.slow) {
            (true, _) => &mut self.urgent,
            (false, true) => &mut self.ready_slow,
            (false, false) => &mut self.ready,
        }
        .push_back(id);
        true
    }

    /// It is being closed, and due now.
    pub(super) fn hasten(&mut self, id: u64, now: Instant) {
        let Some(place) = self.seats.get_mut(&id) else { return };
        place.closing = true;
        if let Now::Ready(_) = place.now {
            let queue = if place.slow { &mut self.ready_slow } else { &mut self.ready };
            queue.retain(|other| *other != id);
            place.now = Now::Idle;
        }
        self.wake(id, now);
    }

    /// It is not flushed any more; a step that is under way is still counted.
    pub(super) fn leave(&mut self, id: u64) {
        let Some(place) = self.seats.remove(&id) else { return };
        match place.now {
            Now::Timed(due) => {
                self.timers.remove(&(due, id));
            }
            Now::Ready(_) => {
                for queue in [&mut self.urgent, &mut self.ready, &mut self.ready_slow] {
                    queue.retain(|other| *other != id);
                }
            }
            Now::Idle | Now::Running => {}
        }
    }

    /// What a free thread does at this moment. A task that is given out is taken for running.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.wake(id, due);
        }
        let room = self.room(now);
        let first = self.ready_since(&self.ready);
        let slow_first = self.ready_since(&self.ready_slow).map(|since| since + self.options.patience());
        let is_turn_of = |due: Instant| room.slow || (room.quick && due <= now.min(first.unwrap_or(due)));
        let queue = if !self.urgent.is_empty() {
            &mut self.urgent
        } else if slow_first.is_some_and(is_turn_of) {
            &mut self.ready_slow
        } else if room.quick && first.is_some() {
            &mut self.ready
        } else {
            let timer = self.timers.first().map(|(due, _)| *due);
            let waits = first.or(slow_first).is_some();
            let room_at = if room.quick { slow_first } else { room.next.filter(|_| waits) };
            return Next::Wait([timer, room_at].into_iter().flatten().min());
        };
        let id = queue.pop_front();
        let (id, place) = id
            .and_then(|id| Some((id, self.seats.get_mut(&id)?)))
            .expect("a queue that is not empty holds stores that have not left");
        place.now = Now::Running;
        let thread = thread::current().id();
        self.running.insert(id, Running { since: now, thread, closing: place.closing, slow: place.slow });
        Next::Run(Arc::clone(&place.task))
    }

    /// A step has ended; the next one is due then.
    pub(super) fn end(&mut self, id: u64, due: Option<Instant>, now: Instant) {
        let Some(ran) = self.running.remove(&id) else { return };
        let Some(place) = self.seats.get_mut(&id) else { return };
        // Where there are no places for the slow, they have to wait among the others.
        place.slow = self.options.slow_places() > 0
            && now.saturating_duration_since(ran.since) >= self.options.slow_threshold;
        place.now = due.map_or(Now::Idle, Now::Timed);
        self.timers.extend(due.map(|due| (due, id)));
    }

    /// Whether one more may be flushed. Stores that are being closed do not count.
    fn room(&self, now: Instant) -> Room {
        let (mut quick, mut slow) = (0, 0);
        let mut next: Option<Instant> = None;
        for running in self.running.values().filter(|running| !running.closing) {
            let slow_from = running.since + self.options.slow_threshold;
            if running.slow || slow_from <= now {
                slow += 1;
            } else {
                quick += 1;
                next = Some(next.map_or(slow_from, |next| next.min(slow_from)));
            }
        }
        let below_most = quick + slow < self.options.most();
        Room {
            quick: quick < self.options.threads && below_most,
            slow: slow < self.options.slow_places() && below_most,
            next: next.filter(|_| below_most),
        }
    }

    /// Since when the first of this queue is in it.
    fn ready_since(&self, queue: &VecDeque<u64>) -> Option<Instant> {
        match self.seats.get(queue.front()?)?.now {
            Now::Ready(since) => Some(since),
            _ => None,
        }
    }

    pub(super) fn stats(&self, now: Instant) -> FlusherStats {
        let waiting = [&self.urgent, &self.ready, &self.ready_slow];
        let slow =
            |running: &&Running| now.saturating_duration_since(running.since) >= self.options.slow_threshold;
        FlusherStats {
            stores: self.seats.len(),
            threads: 0,
            flushing: self.running.len(),
            slow: self.running.values().filter(slow).count(),
            waiting: waiting.iter().map(|queue| queue.len()).sum(),
            behind: waiting
                .iter()
                .filter_map(|queue| self.ready_since(queue))
                .min()
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
        }
    }
}

struct Room {
    /// For a store that is not known to be slow.
    quick: bool,
    /// For one that is.
    slow: bool,
    /// If not, when the next of those that run begins to count as slow, which makes room.
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
        begun: Instant,
    }

    impl Stepped {
        /// With so many threads, at most, and stores 0, 1, ...
        fn new(threads: usize, most: usize, stores: usize) -> Self {
            let options = FlusherOptions::default().threads(threads).max_threads(most).slow_threshold(SLOW);
            let (schedule, pool) = (Schedule::new(options), Pool::new(options));
            let mut stepped = Self { schedule, pool, begun: Instant::now() };
            for _ in 0..stores {
                let pool = Arc::clone(&stepped.pool);
                stepped.schedule.enter(None, |id| Task::new(id, pool, Weak::<Nothing>::new()));
            }
            stepped
        }

        fn at(&self, millis: u64) -> Instant {
            self.begun + Duration::from_millis(millis)
        }

        fn wake(&mut self, ids: impl IntoIterator<Item = u64>) {
            for id in ids {
                self.schedule.wake(id, self.begun);
            }
        }

        /// What is given out at this moment, one after the other, until nothing is.
        fn all(&mut self, millis: u64) -> Vec<u64> {
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
                Next::Run(task) => panic!("{} is given out", task.id),
                Next::Wait(until) => until.map(|until| until - self.begun),
            }
        }

        fn end(&mut self, id: u64, due: Option<u64>, millis: u64) {
            let (due, now) = (due.map(|due| self.at(due)), self.at(millis));
            self.schedule.end(id, due, now);
        }
    }

    #[test]
    fn stores_are_flushed_in_the_order_in_which_they_became_due_each_by_one_thread() {
        let mut pool = Stepped::new(2, 2, 5);
        pool.wake([3, 1, 4, 1]);
        assert_eq!(pool.all(0), [3, 1]);
        // Woken while it runs: the thread hears of it from the task itself.
        pool.wake([3]);
        assert!(pool.all(0).is_empty());
        pool.end(3, Some(1), 1);
        assert_eq!(pool.all(1), [4], "whoever is due again comes last");
        pool.end(1, None, 1);
        assert_eq!(pool.all(1), [3]);
    }

    #[test]
    fn an_idle_store_is_not_looked_at() {
        let mut pool = Stepped::new(2, 4, 1_000);
        assert_eq!(pool.waits_until(0), None);
        pool.wake([7]);
        assert_eq!(pool.all(0), [7]);
        pool.end(7, Some(100), 1);
        assert_eq!(pool.waits_until(1), Some(Duration::from_millis(100)));
        assert_eq!(pool.all(100), [7]);
        pool.end(7, None, 101);
        assert_eq!(pool.waits_until(101), None);
    }

    #[test]
    fn a_wake_comes_before_the_timer_and_takes_its_place() {
        let mut pool = Stepped::new(1, 1, 1);
        pool.wake([0]);
        pool.all(0);
        pool.end(0, Some(500), 0);
        pool.wake([0]);
        assert_eq!(pool.all(1), [0]);
        pool.end(0, None, 1);
        assert_eq!(pool.waits_until(600), None);
    }

    #[test]
    fn a_flush_that_is_slow_makes_room_for_another() {
        let mut pool = Stepped::new(1, 2, 3);
        pool.wake([0, 1, 2]);
        assert_eq!(pool.all(0), [0]);
        assert_eq!(pool.waits_until(100), Some(SLOW));
        assert_eq!(pool.all(250), [1]);
        // That is all that may hang; nothing makes room but an end.
        assert_eq!(pool.waits_until(1_000), None);
        assert_eq!(pool.schedule.stats(pool.at(1_000)).slow, 2);
        assert_eq!(pool.schedule.stats(pool.at(1_000)).behind, Duration::from_millis(1_000));
        pool.end(0, None, 1_000);
        assert_eq!(pool.all(1_000), [2]);
    }

    #[test]
    fn those_known_to_be_slow_leave_the_first_threads_to_the_others() {
        let mut pool = Stepped::new(1, 3, 6);
        for id in 0..4 {
            pool.wake([id]);
            assert_eq!(pool.all(0), [id]);
            pool.end(id, Some(2_000), 300);
        }
        assert_eq!(pool.all(2_000).len(), 2, "two places of three are for the slow");
        pool.wake([4, 5]);
        assert_eq!(pool.all(2_000), [4]);
        pool.end(4, None, 2_001);
        assert_eq!(pool.all(2_001), [5]);
        pool.end(5, None, 2_002);
        pool.end(0, Some(2_003), 2_003);
        assert_eq!(pool.all(2_003), [2, 0], "one that was quick is one of the others again");
        // One that is slow and waits for a place of the slow in vain gets another one in the end, so that
        // stores that hang do not keep out those that do not.
        assert_eq!(pool.waits_until(2_004), None);
        pool.end(0, None, 2_004);
        assert_eq!(pool.waits_until(2_005), Some(Duration::from_millis(4_000)));
        assert_eq!(pool.all(4_000), [3]);
    }

    #[test]
    fn without_places_for_the_slow_a_slow_store_is_flushed_all_the_same() {
        let mut pool = Stepped::new(1, 1, 1);
        pool.wake([0]);
        assert_eq!(pool.all(0), [0]);
        pool.end(0, Some(1_000), 1_000);
        assert_eq!(pool.all(1_000), [0]);
    }

    #[test]
    fn c10_a_store_that_is_closed_is_let_in_at_once() {
        let mut pool = Stepped::new(1, 1, 4);
        pool.wake([0, 1, 2]);
        assert_eq!(pool.all(0), [0]);
        let now = pool.at(0);
        for id in [2, 3, 0] {
            pool.schedule.hasten(id, now);
        }
        assert_eq!(pool.all(0), [2, 3]);
        // It goes on trying as long as its close does.
        pool.end(2, Some(10), 1);
        assert_eq!(pool.all(10), [2]);
        pool.end(0, Some(11), 11);
        assert_eq!(pool.all(11), [0, 1], "and takes nobody's place");
    }

    #[test]
    fn who_has_left_is_not_flushed_any_more() {
        let mut pool = Stepped::new(1, 2, 4);
        pool.wake([0]);
        assert_eq!(pool.all(0), [0]);
        pool.wake([1]);
        pool.end(0, Some(5), 0);
        assert_eq!(pool.all(0), [1]);
        pool.wake([2]);
        for id in 0..3 {
            pool.schedule.leave(id);
        }
        assert_eq!(pool.waits_until(1_000), None);
        assert!(pool.schedule.needs_watch(), "the store 3 may be woken");
        pool.schedule.leave(3);
        pool.end(1, Some(0), 1_000);
        assert!(!pool.schedule.needs_watch());
        pool.wake([1]);
        assert_eq!(pool.waits_until(2_000), None);
        assert_eq!(pool.schedule.stats(pool.at(2_000)), FlusherStats::default());
    }
}
