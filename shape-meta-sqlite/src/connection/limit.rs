use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::connection::idle;

/// A bound on the connections of many stores together: hand a clone to
/// [`SqliteOptions::connection_limit`](crate::SqliteOptions::connection_limit) of each.
///
/// For processes that open a store for each of their hundreds of tenants. A connection takes three file
/// descriptors and its page cache; a store that is idle has none, and then takes a single descriptor, that
/// of its lock file.
///
/// - At most so many *reading* connections are open. When there are, a read of a store that has none free
///   closes the one of another store that has been idle for longest, and opens its own; if all are in
///   use, it waits like one whose own [`readers`](crate::SqliteOptions::readers) are.
/// - A *writing* connection is never waited for, so that no store holds up the flushes of others. But when
///   more than so many are open, one is closed again as soon as its batch is written, instead of when it
///   has been [idle](crate::SqliteOptions::idle_timeout) for long. Opening and closing takes about a
///   millisecond and some syncs. So make the bound at least the number of stores that write all the time.
#[derive(Clone)]
pub struct ConnectionLimit(Arc<Cap>);

impl ConnectionLimit {
    /// At most so many connections, and at least 1.
    pub fn new(connections: u32) -> Self {
        Self(Arc::new(Cap { most: connections.max(1), state: Mutex::default(), changed: Condvar::new() }))
    }

    /// How many connections are open now, those of readers and of writers.
    pub fn open(&self) -> u32 {
        let state = self.0.lock();
        state.readers + state.writers
    }

    pub(crate) fn cap(&self) -> &Arc<Cap> {
        &self.0
    }
}

impl fmt::Debug for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("ConnectionLimit")
            .field("most", &self.0.most)
            .field("readers", &state.readers)
            .field("writers", &state.writers)
            .finish()
    }
}

/// The connections that are open under one bound, and the readers that are idle.
pub(crate) struct Cap {
    most: u32,
    /// Held for moments: connections are opened and closed without it.
    state: Mutex<State>,
    /// A reader became idle, or was closed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    readers: u32,
    writers: u32,
    /// By when they became idle: the first has been for longest.
    idle: BTreeMap<u64, Idle>,
    next: u64,
    pools: HashMap<u64, Pool>,
    next_pool: u64,
    /// How many wait for a reader. Waking nobody is a system call as well, for each read.
    waiting: u32,
    /// Whether a look for those that were idle for long is on its way.
    watched: bool,
}

struct Idle {
    pool: u64,
    until: Instant,
    reader: Connection,
}

/// The readers of one store.
struct Pool {
    most: u32,
    open: u32,
    /// The newest last.
    idle: Vec<u64>,
}

/// What a store that wants a reader gets.
pub(crate) enum Granted {
    Idle(Connection),
    /// To open one. The place is taken, and has to be given back if that fails.
    Place,
}

impl Cap {
    pub(crate) fn enter(&self, most: u32) -> u64 {
        let mut state = self.lock();
        let id = state.next_pool;
        state.next_pool += 1;
        state.pools.insert(id, Pool { most, open: 0, idle: Vec::new() });
        id
    }

    /// The store is closed. Readers that are still in use are closed when they are given back.
    pub(crate) fn leave(&self, id: u64) {
        let closed = {
            let mut state = self.lock();
            let closed = state.take_idle(id);
            state.pools.remove(&id);
            closed
        };
        self.close(closed);
    }

    /// A reader for this store, or the right to open one; `None` if there is none before the deadline.
    pub(crate) fn take(&self, id: u64, timeout: Duration) -> Option<Granted> {
        let mut begun = None;
        let mut state = self.lock();
        loop {
            let full = state.readers >= self.most;
            let pool = state.pools.get_mut(&id)?;
            if let Some(ticket) = pool.idle.pop() {
                return state.idle.remove(&ticket).map(|idle| Granted::Idle(idle.reader));
            }
            if pool.open < pool.most && !full {
                pool.open += 1;
                state.readers += 1;
                return Some(Granted::Place);
            }
            if pool.open < pool.most
                && let Some(other) = state.take_oldest()
            {
                // Its place is given on. A reader never writes as it is closed, so this takes no longer
                // because of the other store's disk.
                drop(state);
                self.close(vec![other]);
                state = self.lock();
                continue;
            }
            let begun = *begun.get_or_insert_with(Instant::now);
            let left = timeout.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())?;
            state.waiting += 1;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
    }

    /// A reader is not in use any more, and kept for so long.
    pub(crate) fn put(self: &Arc<Self>, id: u64, reader: Connection, keep: Duration) {
        let mut state = self.lock();
        if !state.pools.contains_key(&id) {
            drop(state);
            drop(reader);
            return self.free(id);
        }
        let ticket = state.next;
        state.next += 1;
        state.idle.insert(ticket, Idle { pool: id, until: Instant::now() + keep, reader });
        state.pools.entry(id).and_modify(|pool| pool.idle.push(ticket));
        let watch = !std::mem::replace(&mut state.watched, true);
        self.tell(state);
        if watch {
            self.watch(keep);
        }
    }

    /// The place of a reader that was closed, or could not be opened.
    pub(crate) fn free(&self, id: u64) {
        let mut state = self.lock();
        state.readers -= 1;
        if let Some(pool) = state.pools.get_mut(&id) {
            pool.open -= 1;
        }
        self.tell(state);
    }

    /// Closes the readers of a store that are not in use.
    pub(crate) fn close_idle(&self, id: u64) {
        let closed = self.lock().take_idle(id);
        self.close(closed);
    }

    /// How many readers a store has open.
    pub(crate) fn open(&self, id: u64) -> u32 {
        self.lock().pools.get(&id).map_or(0, |pool| pool.open)
    }

    /// A writer was opened.
    pub(crate) fn writer_opened(&self) {
        self.lock().writers += 1;
    }

    pub(crate) fn writer_closed(&self) {
        self.lock().writers -= 1;
    }

    /// Whether a writer that has nothing to do should be closed at once.
    pub(crate) fn has_too_many_writers(&self) -> bool {
        self.lock().writers > self.most
    }

    fn watch(self: &Arc<Self>, after: Duration) {
        let cap: Weak<Self> = Arc::downgrade(self);
        idle::after(after, move || {
            if let Some(cap) = cap.upgrade() {
                cap.close_old();
            }
        });
    }

    /// Closes what was idle for long, and looks again when the next one will have been.
    fn close_old(self: &Arc<Self>) {
        let (closed, next) = {
            let mut state = self.lock();
            let now = Instant::now();
            let old: Vec<_> =
                state.idle.iter().filter(|(_, idle)| idle.until <= now).map(|(ticket, _)| *ticket).collect();
            let closed: Vec<_> = old.into_iter().filter_map(|ticket| state.take_ticket(ticket)).collect();
            let next = state.idle.values().map(|idle| idle.until).min();
            state.watched = next.is_some();
            (closed, next.map(|next| next - now))
        };
        self.close(closed);
        if let Some(next) = next {
            self.watch(next);
        }
    }

    /// They are out of their pools, and counted until they are closed.
    fn close(&self, readers: Vec<Connection>) {
        let closed = readers.len() as u32;
        drop(readers);
        let mut state = self.lock();
        state.readers -= closed;
        self.tell(state);
    }

    /// Wakes those that wait, if there are any.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let somebody_waits = state.waiting > 0;
        drop(state);
        if somebody_waits {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_ticket(&mut self, ticket: u64) -> Option<Connection> {
        let idle = self.idle.remove(&ticket)?;
        if let Some(pool) = self.pools.get_mut(&idle.pool) {
            pool.idle.retain(|other| *other != ticket);
            pool.open -= 1;
        }
        Some(idle.reader)
    }

    fn take_oldest(&mut self) -> Option<Connection> {
        let (ticket, _) = self.idle.first_key_value()?;
        self.take_ticket(*ticket)
    }

    fn take_idle(&mut self, pool: u64) -> Vec<Connection> {
        let tickets = self.pools.get_mut(&pool).map(|pool| pool.idle.clone()).unwrap_or_default();
        tickets.into_iter().filter_map(|ticket| self.take_ticket(ticket)).collect()
    }
}
