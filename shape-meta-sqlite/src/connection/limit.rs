use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::connection::idle;

/// A limit on the connections of many stores together. Pass it to
/// [`SqliteOptions::connection_limit`](crate::SqliteOptions::connection_limit) of each store.
///
/// For processes that open a store for each of hundreds of tenants. A connection takes three file descriptors
/// and its page cache; an idle store has no connection, and takes one descriptor, that of its lock file.
///
/// - *Readers and idle writers*, of all stores together, never exceed the limit. At the limit, a read of a
///   store without an idle reader closes the reader, of any store, that has been idle for longest, and opens
///   its own. If there is none, the writer that has been idle for longest is closed by a thread of the crate,
///   because that takes some syncs. If all readers are in use, the read waits, as it does when the
///   [`max_readers`](crate::SqliteOptions::max_readers) of its own store are in use.
/// - A *writer* is opened without waiting, so that no store delays the flushes of another. Writers at work
///   come on top of the limit: at most one for each thread that writes, that is the `max_threads` of a
///   `FlusherPool` if all stores share one, and one for each store that is being opened, repaired or
///   promoted. At the limit, a writer is closed as soon as its batch is committed, instead of after the [idle
///   time-out](crate::SqliteOptions::idle_timeout). Opening and closing takes about a millisecond and some
///   syncs. So the limit should be at least the number of stores that write all the time.
///
/// The limit is on connections. SQLite keeps the file of a closed writer open for as long as a reader of the
/// same database is open, because closing it would release the POSIX locks of that reader: up to one more
/// file descriptor for each reader.
///
/// A store in [`Mode::Exclusive`](crate::Mode::Exclusive), or in memory, has its one connection open all the
/// time. It does not count.
#[derive(Clone)]
pub struct ConnectionLimit(Arc<LimitState>);

impl ConnectionLimit {
    /// Creates a limit of `connections`, or of 1 if that is 0.
    pub fn new(connections: u32) -> Self {
        Self(Arc::new(LimitState {
            max: connections.max(1),
            counts: Mutex::default(),
            reader_freed: Condvar::new(),
        }))
    }

    /// Returns the number of connections that are open now, readers and writers.
    pub fn open(&self) -> u32 {
        let counts = self.0.lock();
        counts.readers + counts.writers
    }

    pub(crate) fn state(&self) -> &Arc<LimitState> {
        &self.0
    }
}

impl fmt::Debug for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock();
        f.debug_struct("ConnectionLimit")
            .field("max", &self.0.max)
            .field("readers", &counts.readers)
            .field("writers", &counts.writers)
            .finish()
    }
}

/// The open connections under one limit, and the idle readers among them.
pub(crate) struct LimitState {
    max: u32,
    /// Held briefly: no connection is opened or closed under it.
    counts: Mutex<OpenConnections>,
    /// Notified when a reader becomes idle or is closed.
    reader_freed: Condvar,
}

#[derive(Default)]
struct OpenConnections {
    readers: u32,
    /// Open writers, idle or at work.
    writers: u32,
    /// Idle writers by ticket, with what closes each of them. The lowest ticket has been idle for longest.
    idle_writers: BTreeMap<u64, CloseWriter>,
    /// Idle readers of all stores by ticket. The lowest ticket has been idle for longest.
    idle: BTreeMap<u64, IdleReader>,
    next_ticket: u64,
    stores: HashMap<u64, StoreReaders>,
    next_store: u64,
    /// The number of threads that wait for a reader. Without waiters a notification, a system call, is
    /// skipped.
    waiting: u32,
    /// Whether a pass that closes idle readers is scheduled.
    close_scheduled: bool,
}

/// Closes an idle writer. Does nothing to one that is at work again.
pub(crate) type CloseWriter = Box<dyn FnOnce() + Send>;

struct IdleReader {
    store: u64,
    until: Instant,
    connection: Connection,
}

/// The readers of one store.
struct StoreReaders {
    max: u32,
    open: u32,
    /// Tickets of the idle readers, the newest last.
    idle: Vec<u64>,
}

/// The answer to a store that wants a reader.
pub(crate) enum Granted {
    /// An open reader.
    Idle(Connection),
    /// The right to open one. It is counted already, and must be [released](LimitState::release) if opening
    /// fails.
    Permit,
}

impl LimitState {
    /// Registers a store with at most `max` readers. Returns its id.
    pub(crate) fn register(&self, max: u32) -> u64 {
        let mut counts = self.lock();
        let id = counts.next_store;
        counts.next_store += 1;
        counts.stores.insert(id, StoreReaders { max, open: 0, idle: Vec::new() });
        id
    }

    /// Removes a store that is closed. Its readers that are still in use are closed when they are returned.
    pub(crate) fn unregister(&self, store: u64) {
        let closed = {
            let mut counts = self.lock();
            let closed = counts.take_idle_of(store);
            counts.stores.remove(&store);
            closed
        };
        self.close(closed);
    }

    /// Returns a reader of this store, or the right to open one. Waits until there is one, at most for
    /// `timeout`; returns `None` after that.
    pub(crate) fn acquire(&self, store: u64, timeout: Duration) -> Option<Granted> {
        let mut started = None;
        let mut counts = self.lock();
        loop {
            let at_limit = counts.kept_open() >= self.max;
            let readers = counts.stores.get_mut(&store)?;
            if let Some(ticket) = readers.idle.pop() {
                return counts.idle.remove(&ticket).map(|idle| Granted::Idle(idle.connection));
            }
            let has_own_room = readers.open < readers.max;
            if has_own_room && !at_limit {
                readers.open += 1;
                counts.readers += 1;
                return Some(Granted::Permit);
            }
            if has_own_room && let Some(oldest) = counts.take_oldest_idle() {
                // Closing it makes the count drop below the limit. A reader never writes as it is closed, so
                // this does not wait for the disk of another store.
                drop(counts);
                self.close(vec![oldest]);
                counts = self.lock();
                continue;
            }
            if has_own_room && let Some((_, close)) = counts.idle_writers.pop_first() {
                // Not on this thread: it checkpoints the WAL of another store, whose disk may hang. It counts
                // as one at work until it is closed.
                idle::after(Duration::ZERO, close);
                continue;
            }
            let started = *started.get_or_insert_with(Instant::now);
            let left = timeout.checked_sub(started.elapsed()).filter(|left| !left.is_zero())?;
            counts.waiting += 1;
            counts = self.reader_freed.wait_timeout(counts, left).unwrap_or_else(PoisonError::into_inner).0;
            counts.waiting -= 1;
        }
    }

    /// Returns a reader that is not in use any more. It is closed if it stays idle for `keep`.
    pub(crate) fn put_back(self: &Arc<Self>, store: u64, connection: Connection, keep: Duration) {
        let mut counts = self.lock();
        if !counts.stores.contains_key(&store) {
            drop(counts);
            drop(connection);
            return self.release(store);
        }
        let ticket = counts.next_ticket;
        counts.next_ticket += 1;
        counts.idle.insert(ticket, IdleReader { store, until: Instant::now() + keep, connection });
        counts.stores.entry(store).and_modify(|readers| readers.idle.push(ticket));
        let schedule = !std::mem::replace(&mut counts.close_scheduled, true);
        self.notify(counts);
        if schedule {
            self.schedule_close(keep);
        }
    }

    /// Discounts a reader that was closed, or could not be opened.
    pub(crate) fn release(&self, store: u64) {
        let mut counts = self.lock();
        counts.readers -= 1;
        if let Some(readers) = counts.stores.get_mut(&store) {
            readers.open -= 1;
        }
        self.notify(counts);
    }

    /// Closes the idle readers of a store.
    pub(crate) fn close_idle(&self, store: u64) {
        let closed = self.lock().take_idle_of(store);
        self.close(closed);
    }

    /// Returns the number of readers that a store has open.
    pub(crate) fn open_readers(&self, store: u64) -> u32 {
        self.lock().stores.get(&store).map_or(0, |readers| readers.open)
    }

    /// Counts a writer that was opened.
    pub(crate) fn writer_opened(&self) {
        self.lock().writers += 1;
    }

    /// Discounts a writer that was closed.
    pub(crate) fn writer_closed(&self) {
        self.lock().writers -= 1;
    }

    /// Keeps a writer open while it is idle. Returns its ticket; `None` if there is no room, so that the
    /// caller has to close it.
    pub(crate) fn keep_writer(&self, close: CloseWriter) -> Option<u64> {
        let mut counts = self.lock();
        if counts.kept_open() >= self.max || counts.waiting > 0 {
            return None;
        }
        let ticket = counts.next_ticket;
        counts.next_ticket += 1;
        counts.idle_writers.insert(ticket, close);
        Some(ticket)
    }

    /// Takes an idle writer back to work, or to be closed.
    pub(crate) fn take_writer(&self, ticket: u64) {
        let mut counts = self.lock();
        if counts.idle_writers.remove(&ticket).is_some() {
            // A waiting read has room now.
            self.notify(counts);
        }
    }

    fn schedule_close(self: &Arc<Self>, after: Duration) {
        let limit: Weak<Self> = Arc::downgrade(self);
        idle::after(after, move || {
            if let Some(limit) = limit.upgrade() {
                limit.close_expired();
            }
        });
    }

    /// Closes the readers whose idle time is over, and schedules the next pass if readers are left.
    fn close_expired(self: &Arc<Self>) {
        let (closed, next) = {
            let mut counts = self.lock();
            let now = Instant::now();
            let expired: Vec<_> =
                counts.idle.iter().filter(|(_, idle)| idle.until <= now).map(|(ticket, _)| *ticket).collect();
            let closed: Vec<_> = expired.into_iter().filter_map(|ticket| counts.take(ticket)).collect();
            let next = counts.idle.values().map(|idle| idle.until).min();
            counts.close_scheduled = next.is_some();
            (closed, next.map(|next| next - now))
        };
        self.close(closed);
        if let Some(next) = next {
            self.schedule_close(next);
        }
    }

    /// Closes readers that were taken out of their stores. They count as open until they are closed.
    fn close(&self, readers: Vec<Connection>) {
        let closed = readers.len() as u32;
        drop(readers);
        let mut counts = self.lock();
        counts.readers -= closed;
        self.notify(counts);
    }

    /// Wakes the waiting threads, if there are any.
    fn notify(&self, counts: MutexGuard<'_, OpenConnections>) {
        let has_waiters = counts.waiting > 0;
        drop(counts);
        if has_waiters {
            self.reader_freed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        // No operation under this lock panics half-way.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    /// The number of connections under the limit.
    fn kept_open(&self) -> u32 {
        self.readers + self.idle_writers.len() as u32
    }

    fn take(&mut self, ticket: u64) -> Option<Connection> {
        let idle = self.idle.remove(&ticket)?;
        if let Some(readers) = self.stores.get_mut(&idle.store) {
            readers.idle.retain(|other| *other != ticket);
            readers.open -= 1;
        }
        Some(idle.connection)
    }

    fn take_oldest_idle(&mut self) -> Option<Connection> {
        let (ticket, _) = self.idle.first_key_value()?;
        self.take(*ticket)
    }

    fn take_idle_of(&mut self, store: u64) -> Vec<Connection> {
        let tickets = self.stores.get_mut(&store).map(|readers| readers.idle.clone()).unwrap_or_default();
        tickets.into_iter().filter_map(|ticket| self.take(ticket)).collect()
    }
}
