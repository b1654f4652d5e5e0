use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, config::DbConfig};
use shape_meta_core::{Connections as Usage, Error, ErrorKind, Observer, Result, Seq};

use crate::{
    ConnectionLimit,
    connection::{
        idle,
        limit::Cap,
        meter::{Lease, Meter},
        operation::Operation,
        pool::{Pool, Pooled},
        settings::{Settings, set},
    },
    error::{failed, failed_on, invalidates_connection},
    format::meta::Meta,
    ownership::{file_id::FileId, presence::Presence},
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
    /// Readers that are in use have it too, so it lasts as long as any connection does.
    presence: Mutex<Option<Arc<Presence>>>,
    writer: Arc<Mutex<Writer>>,
    /// Whether this store writes, or reads what another one does.
    writes: bool,
    /// How far the order had come when the latest commit was confirmed: a file that is behind is another one.
    confirmed: AtomicU64,
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
    /// The file that is open, to be told from another one that has its name; none for a database in memory.
    file: Option<Open>,
}

/// A file that is open.
struct Open {
    path: PathBuf,
    identity: FileId,
}

impl Open {
    fn new(path: &Path) -> Result<Self> {
        let identity = FileId::at(path).map_err(failed_on("look at", path))?;
        Ok(Self { path: path.to_owned(), identity })
    }

    /// Whether it still has its name. What is written otherwise nobody would find again.
    fn is_in_place(&self) -> bool {
        FileId::at(&self.path).is_ok_and(|there| there == self.identity)
    }
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
    fn set(&mut self, connection: Connection, file: Option<Open>) -> &mut Connection {
        self.cap.writer_opened();
        (self.rests, self.file) = (None, file);
        self.connection.insert(connection)
    }

    /// Gives the connection out, to be closed or dropped by the caller.
    fn take(&mut self) -> Option<Connection> {
        let connection = self.connection.take()?;
        self.cap.writer_closed();
        if !self.is_in_place() {
            // It takes the log away by its name as it is closed; what has that name now is another one's.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        Some(connection)
    }

    fn is_in_place(&self) -> bool {
        self.file.as_ref().is_none_or(Open::is_in_place)
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
    /// With this writer, which has found the order come so far.
    pub(crate) fn new(
        settings: Settings,
        writer: Connection,
        last_seq: Seq,
        presence: Option<Presence>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let file = settings.path.as_deref().map(Open::new).transpose()?;
        let mut connections = Self::reading(settings, presence, observer);
        connections.writes = true;
        connections.confirm(last_seq);
        {
            let mut inner = connections.lock_writer();
            inner.set(writer, file);
            connections.may_rest(&mut inner);
        }
        Ok(connections)
    }

    /// Without a writer: of a store that reads what another one writes.
    pub(crate) fn reading(
        settings: Settings,
        presence: Option<Presence>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let cap = settings.options.connection_limit.clone();
        let cap = Arc::clone(cap.unwrap_or_else(|| ConnectionLimit::new(u32::MAX)).cap());
        let presence = presence.map(Arc::new);
        let pool =
            settings.has_readers().then(|| Pool::new(settings.clone(), Arc::clone(&cap), presence.clone()));
        let writer = Writer {
            connection: None,
            rests: None,
            used: Instant::now(),
            watched: false,
            closed: false,
            cap: Arc::clone(&cap),
            file: None,
        };
        Self {
            settings,
            meter: Meter::new(observer),
            cap,
            pool: RwLock::new(pool),
            presence: Mutex::new(presence),
            writer: Arc::new(Mutex::new(writer)),
            writes: false,
            confirmed: AtomicU64::new(0),
        }
    }

    /// The order has come so far on disk, and somebody has been told.
    pub(crate) fn confirm(&self, last_seq: Seq) {
        self.confirmed.fetch_max(last_seq.get(), Ordering::Relaxed);
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
                reader.broken = outcome.as_ref().is_err_and(|error| invalidates_connection(error.kind()));
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
        if !self.writes {
            return Err(waiting.refused(is_standby()));
        }
        let mut writer = self.lock_writer();
        if writer.closed {
            return Err(waiting.refused(closed()));
        }
        let connection = match &mut writer.connection {
            Some(connection) => connection,
            None => match self.reopen(writer.rests.is_some()) {
                Ok((connection, file)) => writer.set(connection, file),
                Err(error) => return Err(waiting.refused(error)),
            },
        };
        // Told back before the lock is released, so that the number in use is never above the truth.
        let mut lease = waiting.granted();
        let mut outcome = work(connection);
        if outcome.is_ok() && operation.is_durable() && !writer.is_in_place() {
            // It was written, to where nobody will find it.
            outcome = Err(moved());
        }
        lease.note(&outcome);
        if outcome.as_ref().is_err_and(|error| invalidates_connection(error.kind())) {
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
    fn reopen(&self, rested: bool) -> Result<(Connection, Option<Open>)> {
        let doing = "open the database again";
        let connection = self.settings.reopen_writer().map_err(failed(doing))?;
        let file = self.settings.path.as_deref().map(Open::new).transpose()?;
        // If it is another one, its log is not touched on the way out.
        let keep_log = |keep| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep);
        keep_log(true).map_err(failed(doing))?;
        let confirmed = Seq::new(self.confirmed.load(Ordering::Relaxed));
        let last_seq = Meta::read(&connection)?.last_seq;
        if last_seq < confirmed {
            return Err(behind(last_seq, confirmed));
        }
        keep_log(false).map_err(failed(doing))?;
        if rested {
            return Ok((connection, file));
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
        Ok((connection, file))
    }

    /// Puts another file in the place of this one, while nobody writes. Reads go on with the connections that they
    /// have; new ones are of the file that is there then.
    pub(crate) fn replace<T>(&self, replace: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut writer = self.lock_writer();
        if writer.closed {
            return Err(closed());
        }
        // What replaces the file is to be looked at like one after a failure, and may have come less far.
        writer.rests = None;
        self.confirmed.store(0, Ordering::Relaxed);
        if let Some(connection) = writer.take() {
            // Or else it would move the log into the file on its way out.
            connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map_err(failed("close the database"))?;
            connection.close().map_err(|(_, error)| failed("close the database")(error))?;
        }
        let replaced = replace();
        self.renew();
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
        let pages =
            |connection: &Connection| Pages::of(connection).map_err(failed("read the size of the database"));
        match self.writes {
            true => self.write(Operation::Stats, |connection| pages(connection)),
            false => self.read(Operation::Stats, pages),
        }
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
        let max =
            1 + if self.settings.has_readers() { self.settings.options.max_readers as usize } else { 0 };
        Usage { used, idle: open.saturating_sub(used), max, waiting: self.meter.waiting() }
    }

    /// Reads that begin from now on are of the file that has the name now. Those under way go on.
    pub(crate) fn renew(&self) {
        let presence = self.presence().clone();
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if pool.is_some() {
            *pool = Some(Pool::new(self.settings.clone(), Arc::clone(&self.cap), presence));
        }
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
        let closed = match writer.take() {
            None => Ok(()),
            Some(connection) => connection.close().map_err(|(_, error)| failed("close the database")(error)),
        };
        drop(writer);
        self.presence().take();
        closed
    }

    fn presence(&self) -> MutexGuard<'_, Option<Arc<Presence>>> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
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

fn is_standby() -> Error {
    Error::new(
        ErrorKind::Standby,
        "this is a standby: it reads what the owner of the database writes, and writes nothing itself; promote it first",
    )
}

fn moved() -> Error {
    Error::new(
        ErrorKind::Io,
        "the database file was moved away or replaced while it was open; what is not in it yet is kept in memory, and \
         written when the file is back in its place",
    )
}

fn behind(last_seq: Seq, confirmed: Seq) -> Error {
    Error::new(
        ErrorKind::Io,
        format!(
            "the database has come to {last_seq} in the order, and had come to {confirmed}: an older copy was put in \
             its place, or the disk has lost what it had confirmed. Nothing is written to it; put the right file \
             back, or repair what is there"
        ),
    )
}
