use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::{Connection, config::DbConfig};
use shape_meta_core::{Connections as Usage, Error, ErrorKind, Observer, Result};

use crate::{
    connection::Settings,
    error::{failed, spoils_connection},
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
    /// `None` if reads have no connections of their own, and once closed.
    pool: RwLock<Option<Pool>>,
    writer: Mutex<Writer>,
}

struct Writer {
    /// `None` after a failure that makes SQLite's view of the file doubtful: the next use opens anew.
    connection: Option<Connection>,
    closed: bool,
}

impl Connections {
    pub(crate) fn new(settings: Settings, writer: Connection, observer: Arc<dyn Observer>) -> Self {
        let pool = settings.has_readers().then(|| Pool::new(settings.clone()));
        Self {
            settings,
            meter: Meter::new(observer),
            pool: RwLock::new(pool),
            writer: Mutex::new(Writer { connection: Some(writer), closed: false }),
        }
    }

    /// Reads, on a connection of the pool if there is one.
    pub(crate) fn read<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        match self.reader(operation)? {
            Some((mut reader, mut lease)) => {
                let outcome = work(&reader.connection);
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
            none => match self.reopen() {
                Ok(connection) => none.insert(connection),
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
        outcome
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
            writer.connection = None;
        }
    }

    /// Opens the writer again after a failure. A commit that seemed to fail may lie in the log all the
    /// same, written but not synced, and a retry would find its `last_seq` there and believe it durable.
    /// So first everything in the log is moved into the database and synced. Until that works, nothing
    /// is written.
    fn reopen(&self) -> Result<Connection> {
        let connection =
            self.settings.reopen_writer().map_err(failed("open the database again after a failure"))?;
        if self.settings.has_readers() {
            let busy: bool = connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map_err(failed("make sure of the log after a failure"))?;
            if busy {
                let message = "could not make sure of the log after a failure, because a reader still uses \
                               it; nothing has changed, and it can be tried again. Drop scans soon";
                return Err(Error::new(ErrorKind::Busy, message));
            }
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
        if let Some(connection) = writer.connection.take() {
            // Or else it would move the log into the file on its way out.
            connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map_err(failed("close the database"))?;
            connection.close().map_err(|(_, error)| failed("close the database")(error))?;
        }
        let replaced = replace();
        if self.settings.has_readers() {
            *self.pool.write().unwrap_or_else(PoisonError::into_inner) =
                Some(Pool::new(self.settings.clone()));
        }
        replaced
    }

    /// How many connections are open, and how many of them are in use.
    pub(crate) fn numbers(&self) -> (u32, usize) {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        let readers = pool.as_ref().map_or(0, Pool::open);
        (readers + 1, self.meter.active())
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
            Some(readers) => readers as usize + 1,
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

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Closes all connections that are not in use, and the others when they are given back. The writer
    /// goes last, so that it is the one that empties the log.
    pub(crate) fn close(&self) -> Result<()> {
        self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut writer = self.lock_writer();
        writer.closed = true;
        match writer.connection.take() {
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

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed; open it again")
}
