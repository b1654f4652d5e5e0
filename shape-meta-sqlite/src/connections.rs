use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError, Weak},
    time::{Duration, Instant},
};

use rusqlite::{Connection, config::DbConfig};
use shape_meta_core::{Connections as Usage, Error, ErrorKind, Observer, Result};

use crate::{
    ConnectionCap,
    cap::Cap,
    connection::{Settings, set},
    error::{failed, spoils_connection},
    idle,
    meter::{Lease, Meter},
    operation::Operation,
    pool::{Pool, Pooled},
};

/// The connections of one store: one that writes, and the pool of those that read.
///
/// Where there is no pool ([`Mode::Exclusive`](crate::Mode::Exclusive), memory) the writer reads too.
pub(crate) struct Connections {
    settings: Settings,
    meter: Meter,
    cap: Arc<Cap>,
    /// `None` if reads have no connections of their own, and once closed.
    pool: RwLock<Option<Pool>>,
    writer: Arc<Mutex<Writer>>,
}

struct Writer {
    /// `None` while the store has nothing to write, and after a failure that makes SQLite's view of the file
    /// doubtful: the next use opens anew.
    connection: Option<Connection>,
    /// It was closed because there was nothing to write: nothing about the file is doubtful. What the
    /// database took then.
    rests: Option<Pages>,
    /// When it was last used.
    used: Instant,
    /// Whether a look for that is on its way.
    watched: bool,
    closed: bool,
    cap: Arc<Cap>,
}

/// The size of a database in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    pub(crate) all: u64,
    pub(crate) free: u64,
    pub(crate) size: u64,
}

impl Pages {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let number =
            |name| connection.pragma_query_value(None, name, |row| row.get(0).map(i64::cast_unsigned));
        Ok(Self { all: number("page_count")?, free: number("freelist_count")?, size: number("page_size")? })
    }
}

impl Writer {
    fn set(&mut self, connection: Connection) -> &mut Connection {
        self.cap.writer_opened();
        self.rests = None;
        self.connection.insert(connection)
    }

    /// Gives the connection out, to be closed or dropped by the caller.
    fn take(&mut self) -> Option<Connection> {
        self.connection.take().inspect(|_| self.cap.writer_closed())
    }

    /// Closes the connection, which moves the log into the database and takes it away: then all that an
    /// idle store keeps open is its lock file. A writer that could not be closed in order is treated as
    /// after a failure.
    fn rest(&mut self) {
        let Some(connection) = self.take() else { return };
        let pages = Pages::of(&connection);
        // If a reader is still open, closing would leave the log as it is.
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if connection.close().is_ok() {
            self.rests = pages.ok();
        }
    }
}

impl Connections {
    pub(crate) fn new(settings: Settings, writer: Connection, observer: Arc<dyn Observer>) -> Self {
        let cap = settings.options.connection_cap.clone();
        let cap = Arc::clone(cap.unwrap_or_else(|| ConnectionCap::new(u32::MAX)).cap());
        let pool = settings.has_readers().then(|| Pool::new(settings.clone(), Arc::clone(&cap)));
        cap.writer_opened();
        let writer = Writer {
            connection: Some(writer),
            rests: None,
            used: Instant::now(),
            watched: false,
            closed: false,
            cap: Arc::clone(&cap),
        };
        let writer = Arc::new(Mutex::new(writer));
        let connections =
            Self { settings, meter: Meter::new(observer), cap, pool: RwLock::new(pool), writer };
        connections.may_rest(&mut connections.lock_writer());
        connections
    }

    /// Reads, on a connection of the pool if there is one.
    pub(crate) fn read<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        match self.reader(operation)? {
            Some((mut reader, mut lease)) => {
                let outcome = work(reader.connection());
                lease.note(&outcome);
                reader.broken = outcome.as_ref().is_err_and(|error| spoils_connection(error.kind()));
                outcome
            }
            None => self.write(operation, |connection| work(connection)),
        }
    }

    /// A connection of the pool for as long as it is wanted; `None` if there is no pool.
    pub(crate) fn reader(&self, operation: Operation) -> Result<Option<(Pooled, Lease<'_>)>> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(pool) = pool else {
            return if self.settings.has_readers() { Err(closed()) } else { Ok(None) };
        };
        let waiting = self.meter.wait(operation);
        match pool.get() {
            Ok(reader) => Ok(Some((reader, waiting.granted()))),
            Err(error) => Err(waiting.refused(error)),
        }
    }

    /// Runs on the one connection that writes, after those who came before.
    pub(crate) fn write<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let waiting = self.meter.wait(operation);
        let mut writer = self.lock_writer();
        if writer.closed {
            return Err(waiting.refused(closed()));
        }
        let connection = match &mut writer.connection {
            Some(connection) => connection,
            None => match self.reopen(writer.rests.is_some()) {
                Ok(connection) => writer.set(connection),
                Err(error) => return Err(waiting.refused(error)),
            },
        };
        // Told back before the lock is released, so that the number in use is never above the truth.
        let mut lease = waiting.granted();
        let outcome = work(connection);
        lease.note(&outcome);
        if outcome.as_ref().is_err_and(|error| spoils_connection(error.kind())) {
            self.distrust(&mut writer);
        }
        drop(lease);
        self.may_rest(&mut writer);
        if operation != Operation::Stats {
            // A gauge keeps nobody from resting.
            writer.used = Instant::now();
        }
        outcome
    }

    /// The writer has been used. If there are too many, it is closed at once, and if not, when it was idle
    /// for long.
    fn may_rest(&self, writer: &mut Writer) {
        if !self.settings.has_readers() {
            // What is in memory would be gone, and what is locked for exclusive use would be open to others.
            return;
        }
        if self.cap.has_too_many_writers() {
            writer.rest();
        } else if writer.connection.is_some() && !std::mem::replace(&mut writer.watched, true) {
            let timeout = self.settings.options.idle_timeout;
            watch(Arc::downgrade(&self.writer), timeout, timeout);
        }
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            // A panic while the connection was in use. Its transaction was rolled back on the way out.
            self.writer.clear_poison();
            let mut writer = poisoned.into_inner();
            self.distrust(&mut writer);
            writer
        })
    }

    fn distrust(&self, writer: &mut Writer) {
        // A database in memory lives and dies with its connection.
        if self.settings.path.is_some() {
            drop(writer.take());
            writer.rests = None;
        }
    }

    /// Opens the writer again: after it rested, or after a failure. A commit that seemed to fail may lie in the log all the
    /// same, written but not synced, and a retry would find its `last_seq` there and believe it durable.
    /// So first everything in the log is moved into the database and synced, or the journal ended and
    /// synced. Until that works, nothing is written.
    fn reopen(&self, rested: bool) -> Result<Connection> {
        let connection = self.settings.reopen_writer().map_err(failed("open the database again"))?;
        if rested {
            return Ok(connection);
        }
        if self.settings.has_readers() {
            let busy: bool = connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map_err(failed("make sure of the log after a failure"))?;
            if busy {
                let message = "could not make sure of the log after a failure, because a reader still uses \
                               it; nothing has changed, and it can be tried again. Drop scans soon";
                return Err(Error::new(ErrorKind::Busy, message));
            }
        } else {
            // The end of a commit is the end of its journal. If that could not be synced, the journal is back
            // after a power loss, and takes back what was committed. So a journal is begun and ended once
            // more, around a write that changes nothing.
            let version: i64 = connection
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .map_err(failed("make sure of the journal after a failure"))?;
            set(&connection, "user_version", version)
                .map_err(failed("make sure of the journal after a failure"))?;
        }
        Ok(connection)
    }

    /// Puts another file in the place of this one, while nobody writes. Reads go on with the connections that they
    /// have; new ones are of the file that is there then.
    pub(crate) fn replace<T>(&self, replace: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut writer = self.lock_writer();
        if writer.closed {
            return Err(closed());
        }
        // What replaces the file is to be looked at like one after a failure.
        writer.rests = None;
        if let Some(connection) = writer.take() {
            // Or else it would move the log into the file on its way out.
            connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map_err(failed("close the database"))?;
            connection.close().map_err(|(_, error)| failed("close the database")(error))?;
        }
        let replaced = replace();
        if self.settings.has_readers() {
            *self.pool.write().unwrap_or_else(PoisonError::into_inner) =
                Some(Pool::new(self.settings.clone(), Arc::clone(&self.cap)));
        }
        replaced
    }

    /// How many connections are open, and how many of them are in use.
    pub(crate) fn numbers(&self) -> (u32, usize) {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        let readers = pool.as_ref().map_or(0, Pool::open);
        (readers + u32::from(self.writer_is_open()), self.meter.active())
    }

    /// Without waiting for whoever uses it.
    fn writer_is_open(&self) -> bool {
        match self.writer.try_lock() {
            Ok(writer) => writer.connection.is_some(),
            Err(TryLockError::Poisoned(writer)) => writer.into_inner().connection.is_some(),
            Err(TryLockError::WouldBlock) => true,
        }
    }

    /// The size of the database. A writer that rests knows it, and is not woken for it.
    pub(crate) fn pages(&self) -> Result<Pages> {
        if let Some(pages) = self.lock_writer().rests {
            return Ok(pages);
        }
        self.write(Operation::Stats, |connection| {
            Pages::of(connection).map_err(failed("read the size of the database"))
        })
    }

    /// The same for gauges, and how many there can be. Waits for nobody; once closed, those that are still in
    /// use are all.
    pub(crate) fn usage(&self) -> Usage {
        let readers = {
            let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
            pool.as_ref().map(Pool::open)
        };
        let used = self.meter.active();
        let open = match readers {
            Some(readers) => readers as usize + usize::from(self.writer_is_open()),
            None if self.settings.has_readers() => used,
            None => 1,
        };
        let max = 1 + if self.settings.has_readers() { self.settings.options.readers as usize } else { 0 };
        Usage { used, idle: open.saturating_sub(used), max }
    }

    /// Closes the connections of the pool that are not in use.
    pub(crate) fn close_idle(&self) {
        if let Some(pool) = &*self.pool.read().unwrap_or_else(PoisonError::into_inner) {
            pool.close_idle();
        }
    }

    /// Closes the writer too, after whoever uses it.
    pub(crate) fn rest(&self) {
        self.close_idle();
        if self.settings.has_readers() {
            self.lock_writer().rest();
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Closes all connections that are not in use, and the others when they are given back. The writer
    /// goes last, so that it is the one that empties the log.
    pub(crate) fn close(&self) -> Result<()> {
        self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut writer = self.lock_writer();
        writer.closed = true;
        match writer.take() {
            None => Ok(()),
            Some(connection) => connection.close().map_err(|(_, error)| failed("close the database")(error)),
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // Nobody is left who could be told, and nothing can be lost: what is committed is in the log.
        let _ = self.close();
    }
}

/// Looks after some time whether the writer was idle for so long, and closes it then.
fn watch(writer: Weak<Mutex<Writer>>, after: Duration, timeout: Duration) {
    idle::after(after, move || {
        let Some(shared) = writer.upgrade() else { return };
        // Whoever has it is using it, perhaps on a disk that hangs; and who comes after a panic looks first.
        let Ok(mut inner) = shared.try_lock() else { return watch(writer, timeout, timeout) };
        match timeout.checked_sub(inner.used.elapsed()).filter(|left| !left.is_zero()) {
            Some(left) if inner.connection.is_some() => watch(writer, left, timeout),
            _ => {
                inner.rest();
                inner.watched = false;
            }
        }
    });
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed; open it again")
}
