use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use rusqlite::{Connection, config::DbConfig};
use shape_meta_core::{
    Connections as Usage, Error, ErrorKind, LastError, Observer, Result, Seq, store_parts::Identity,
};

use crate::{
    ConnectionLimit,
    connection::{
        file_sizes::FileSizes,
        idle,
        limit::LimitState,
        main_file::{MainFile, Stamp, checkpointed_state},
        meter::{Lease, Meter},
        operation::Operation,
        pool::{PooledReader, ReaderPool},
        settings::{self, Settings, set},
    },
    error::{failed, failed_on, invalidates_connection},
    format::{
        files,
        lineage::Lineage,
        meta::{Meta, Ownership},
    },
    ownership::{file_id::FileId, opening::Opening, position::Position, presence::Presence},
};

/// The connections of one store: the writer, and the pool of readers.
///
/// Without a pool ([`Mode::Exclusive`](crate::Mode::Exclusive), memory) the writer serves the reads, too.
pub(crate) struct Connections {
    settings: Settings,
    meter: Meter,
    limit: Arc<LimitState>,
    /// `None` if reads have no connections of their own, and after the store is closed.
    pool: RwLock<Option<ReaderPool>>,
    /// Shared with the readers in use, so it lasts as long as any connection.
    presence: Mutex<Option<Arc<Presence>>>,
    writer: Arc<Mutex<Writer>>,
    /// The thread of the operation that has the writer locked. Held for moments.
    writing_on: Mutex<Option<ThreadId>>,
    sizes: Arc<FileSizes>,
    /// Whether the latest commit went to a file that has lost its name. Readers that are open show it.
    is_astray: AtomicBool,
    /// Whether this store owns the database. A standby only reads it.
    is_owner: bool,
    /// What the database must be (C13). Held for moments, and never across disk work.
    line: Mutex<Line>,
}

/// How the connections recognise their database.
enum Line {
    /// By the identities of our opening.
    Owner(Opening),
    /// By the position at which a standby has last read it.
    Standby(Position),
}

/// The writer, locked for an operation of this thread.
struct WriterGuard<'a> {
    writer: MutexGuard<'a, Writer>,
    writing_on: &'a Mutex<Option<ThreadId>>,
}

impl Deref for WriterGuard<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for WriterGuard<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

impl Drop for WriterGuard<'_> {
    fn drop(&mut self) {
        // Before the lock is released.
        *self.writing_on.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

struct Writer {
    /// `None` while the store has nothing to write, and after a failure that makes SQLite's view of the file
    /// unreliable. The next use reopens it.
    connection: Option<Connection>,
    /// The size of the database, if the writer was closed because it was idle. `None` after a failure.
    idle_size: Option<DatabaseSize>,
    last_used: Instant,
    /// Whether a check that closes the idle writer is scheduled.
    close_scheduled: bool,
    closed: bool,
    limit: Arc<LimitState>,
    /// The ticket of the writer at the limit, while it is idle.
    idle_ticket: Option<u64>,
    /// The file that is open, to detect another file under its name; `None` for a database in memory.
    file: Option<OpenFile>,
    sizes: Arc<FileSizes>,
}

/// The files that a connection has open, and the identities that these had.
struct OpenFile {
    database: MainFile,
    /// SQLite has it open from the first read of a connection until its end, and nothing else deletes it.
    wal: Option<(PathBuf, FileId)>,
}

impl OpenFile {
    /// The files of a connection that has read the database; `None` for one in memory. `former` has those of
    /// the connection before.
    fn new(settings: &Settings, former: Option<&Self>) -> Result<Option<Self>> {
        let Some(path) = &settings.path else { return Ok(None) };
        let doing = "read the identity of";
        let wal = match settings.has_readers() {
            true => {
                let wal = files::with_suffix(path, "-wal");
                let id = FileId::at(&wal).map_err(failed_on(doing, &wal))?;
                Some((wal, id))
            }
            false => None,
        };
        let former = former.map(|former| &former.database);
        let database = MainFile::new(settings, path, former).map_err(failed_on(doing, path))?;
        Ok(Some(Self { database, wal }))
    }

    /// Returns the stamp of the database and the size of its WAL, if the files still have their names. If
    /// not, the next open would not find what is written to them. A system call for each file.
    fn in_place(&self) -> Option<(Stamp, u64)> {
        let wal = match &self.wal {
            Some((path, id)) => match FileId::and_size_at(path) {
                Ok((current, size)) if current == *id => size,
                _ => return None,
            },
            None => 0,
        };
        Some((self.database.stamp()?, wal))
    }

    /// Whether another file has the name of the database, next to the WAL of this one. SQLite would read the
    /// pages of both as one database, whose identities, in the WAL, are ours.
    fn has_left_its_wal(&self) -> bool {
        let Some((wal, id)) = &self.wal else { return false };
        FileId::at(self.database.path()).is_ok_and(|current| current != self.database.id())
            && FileId::and_size_at(wal).is_ok_and(|(current, size)| current == *id && size > 0)
    }
}

/// The size of a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatabaseSize {
    pub(crate) pages: u64,
    pub(crate) free_pages: u64,
    pub(crate) page_size: u64,
}

impl DatabaseSize {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let number =
            |name| connection.pragma_query_value(None, name, |row| row.get(0).map(i64::cast_unsigned));
        Ok(Self {
            pages: number("page_count")?,
            free_pages: number("freelist_count")?,
            page_size: number("page_size")?,
        })
    }
}

impl Writer {
    fn set(&mut self, connection: Connection, file: Option<OpenFile>) -> &mut Connection {
        self.limit.writer_opened();
        (self.idle_size, self.file) = (None, file);
        self.is_in_place();
        let connection = self.connection.insert(connection);
        if let Some(file) = &mut self.file {
            file.database.record_own_writes(|| checkpointed_state(connection));
        }
        connection
    }

    /// Takes the connection out, to be closed or dropped by the caller, who counts that.
    fn take(&mut self) -> Option<Connection> {
        self.begin_work();
        let connection = self.connection.take()?;
        let is_written = self.file.as_ref().is_some_and(|file| file.database.new_stamp().is_some());
        if is_written || !self.is_in_place() {
            // On close SQLite deletes the WAL by its name, which belongs to another file now. Or it moves the
            // WAL into a file that may be an older one.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        Some(connection)
    }

    /// Records that the database file was changed by the operation that has just ended, and not by another
    /// program.
    fn record_own_writes(&mut self) {
        if let (Some(file), Some(connection)) = (&mut self.file, &self.connection) {
            file.database.record_own_writes(|| checkpointed_state(connection));
        }
    }

    /// The same without a connection, after a failure.
    fn record_partial_writes(&mut self) {
        if let Some(file) = &mut self.file {
            file.database.record_own_writes(|| None);
        }
    }

    /// Ends the rest of an idle writer.
    fn begin_work(&mut self) {
        if let Some(ticket) = self.idle_ticket.take() {
            self.limit.take_writer(ticket);
        }
    }

    /// Whether the files still have their names. Records their sizes.
    fn is_in_place(&self) -> bool {
        let Some(file) = &self.file else { return true };
        let found = file.in_place();
        if let Some((database, wal)) = found {
            self.sizes.set(database.size(), wal);
        }
        found.is_some()
    }

    /// [`is_in_place`](Self::is_in_place) and [`record_own_writes`](Self::record_own_writes) in one, since
    /// each look at a file is a system call.
    fn is_in_place_with_own_writes(&mut self) -> bool {
        let Some(file) = &mut self.file else { return true };
        let Some((database, wal)) = file.in_place() else {
            self.record_own_writes();
            return false;
        };
        self.sizes.set(database.size(), wal);
        if let Some(connection) = &self.connection {
            file.database.record_stamp(database, || checkpointed_state(connection));
        }
        true
    }

    /// Returns the length of the WAL, in bytes, if it is shorter than this writer left it.
    fn shorter_wal(&self) -> Option<u64> {
        let OpenFile { wal: Some((path, id)), .. } = self.file.as_ref()? else { return None };
        let (current, size) = FileId::and_size_at(path).ok()?;
        (current == *id && size < self.sizes.get().1).then_some(size)
    }

    /// Closes the connection, which checkpoints the WAL and deletes it: an idle store keeps only its lock
    /// file open. A writer that fails to close is treated as after any other failure.
    fn close_idle(&mut self) {
        let Some(connection) = self.take() else { return };
        let size = DatabaseSize::read(&connection);
        let is_ours = checkpoint_before_close(&connection);
        let state = checkpointed_state(&connection);
        if connection.close().is_ok() {
            self.idle_size = size.ok();
        }
        self.limit.writer_closed();
        // Usually the WAL is in the database now, and deleted. A gauge does without what cannot be read.
        if let Some(OpenFile { database, wal }) = &mut self.file {
            if is_ours {
                database.record_own_writes(|| state);
            }
            let wal = wal.as_ref().map_or(Ok(0), |(path, _)| files::size(path));
            self.sizes.set(files::size(database.path()).unwrap_or_default(), wal.unwrap_or_default());
        }
    }
}

/// Returns an error if the WAL, of `size` bytes, has fewer frames than its index says: it was cut or
/// overwritten in place, by a truncation or by a copy that was put back. What is committed behind the gap is
/// lost at the next recovery. After another program has checkpointed and truncated it, the index says so.
/// Nothing is checkpointed here: the database may be another one by now.
fn check_wal(writer: &Connection, size: u64) -> Result<()> {
    const HEADER: u64 = 32;
    const FRAME_HEADER: u64 = 24;
    let frames: i64 = writer
        .query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))
        .map_err(|error| moved().with_source(error))?;
    let page: i64 = writer
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .map_err(failed("compare the WAL with its index"))?;
    let [frames, page] = [frames.max(0), page].map(i64::cast_unsigned);
    let is_whole = frames == 0 || size >= HEADER + frames * (FRAME_HEADER + page);
    if is_whole { Ok(()) } else { Err(moved()) }
}

/// Moves what the WAL has into the database, unless the close must not. While a reader is open, closing the
/// writer does not do this. Returns whether the close may.
fn checkpoint_before_close(writer: &Connection) -> bool {
    let may = writer.db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE).is_ok_and(|keeps| !keeps);
    if may {
        // Without it, the next open reads the WAL.
        let _ = writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
    may
}

impl Connections {
    /// The connections of an owner, with this writer, which has just committed `opening`.
    pub(crate) fn new(
        settings: Settings,
        writer: Connection,
        opening: Opening,
        presence: Option<Presence>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let file = OpenFile::new(&settings, None)?;
        let mut connections = Self::of(settings, Line::Owner(opening), presence, observer);
        connections.is_owner = true;
        {
            let mut inner = connections.lock_writer()?;
            inner.set(writer, file);
            connections.close_or_schedule(&mut inner);
        }
        Ok(connections)
    }

    /// The connections of a standby, without a writer, which has read the database at `position`.
    pub(crate) fn read_only(
        settings: Settings,
        position: Position,
        presence: Option<Presence>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self::of(settings, Line::Standby(position), presence, observer)
    }

    fn of(settings: Settings, line: Line, presence: Option<Presence>, observer: Arc<dyn Observer>) -> Self {
        let limit = settings.options.connection_limit.clone();
        let limit = Arc::clone(limit.unwrap_or_else(|| ConnectionLimit::new(u32::MAX)).state());
        let presence = presence.map(Arc::new);
        let pool = settings
            .has_readers()
            .then(|| ReaderPool::new(settings.clone(), Arc::clone(&limit), presence.clone()));
        let sizes = Arc::new(FileSizes::default());
        let writer = Writer {
            connection: None,
            idle_size: None,
            last_used: Instant::now(),
            close_scheduled: false,
            closed: false,
            limit: Arc::clone(&limit),
            idle_ticket: None,
            file: None,
            sizes: Arc::clone(&sizes),
        };
        Self {
            settings,
            meter: Meter::new(observer),
            limit,
            pool: RwLock::new(pool),
            presence: Mutex::new(presence),
            writer: Arc::new(Mutex::new(writer)),
            writing_on: Mutex::default(),
            sizes,
            is_astray: AtomicBool::new(false),
            is_owner: false,
            line: Mutex::new(line),
        }
    }

    /// Records that a commit up to this sequence number was confirmed to the caller.
    pub(crate) fn confirm(&self, last_seq: Seq) {
        if let Line::Owner(opening) = &mut *self.line() {
            opening.confirm(last_seq);
        }
    }

    /// Returns an error unless the database in the state `found` is the one of this store, and this store its
    /// owner: see [`Opening::check`].
    pub(crate) fn check_owner(&self, found: &Meta) -> Result<()> {
        match &mut *self.line() {
            Line::Owner(opening) => opening.check(found),
            Line::Standby(_) => Err(is_standby()),
        }
    }

    /// Returns the opening by which this store owns the database; `None` for a standby.
    pub(crate) fn opening(&self) -> Option<Identity> {
        match &*self.line() {
            Line::Owner(opening) => Some(opening.ownership().opening),
            Line::Standby(_) => None,
        }
    }

    /// Announces a repair: the database that it puts in place has this ownership. See
    /// [`Opening::rebuilds_as`].
    pub(crate) fn begin_rebuild(&self) -> Result<Ownership> {
        match &mut *self.line() {
            Line::Owner(opening) => {
                let rebuilt = Ownership::of_rebuilt(opening.ownership().epoch)?;
                opening.rebuilds_as(rebuilt);
                Ok(rebuilt)
            }
            Line::Standby(_) => Err(is_standby()),
        }
    }

    /// Returns the position up to which this store knows the database.
    pub(crate) fn position(&self) -> Position {
        match &*self.line() {
            Line::Owner(opening) => opening.position(),
            Line::Standby(position) => *position,
        }
    }

    /// Moves a standby to the position at which it has read the database.
    pub(crate) fn follow(&self, found: Position) {
        if let Line::Standby(position) = &mut *self.line() {
            *position = found;
        }
    }

    /// Returns an error if a reader that was just opened has found another database, or an earlier state of
    /// ours: what this store shows belongs to another line of history. An owner that was fenced reads on.
    fn check_reader(&self, connection: &Connection) -> Result<()> {
        let Some(path) = &self.settings.path else { return Ok(()) };
        // Before the database is read: what is read later is not behind it.
        let known = self.position();
        let Ok(transaction) = connection.unchecked_transaction() else { return Ok(()) };
        // A damaged row is no reason to refuse the reads of sound ones.
        let (Ok(meta), Ok(lineage)) = (Meta::read(&transaction), Lineage::read(&transaction)) else {
            return Ok(());
        };
        let found = Position::new(meta, FileId::at(path).ok());
        if let Line::Owner(opening) = &mut *self.line()
            && opening.adopt_rebuilt(&meta)
        {
            return Ok(());
        }
        match known.is_followed_by(&found, &lineage) {
            true => Ok(()),
            false => Err(replaced()),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a reader of the pool, or on the writer if there is no pool. Waits for a connection if
    /// all are in use.
    pub(crate) fn read<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        match self.reader(operation)? {
            Some((mut reader, mut lease)) => {
                let outcome = work(reader.connection());
                lease.record(&outcome);
                reader.is_broken = outcome.as_ref().is_err_and(|error| invalidates_connection(error.kind()));
                outcome
            }
            None => self.write(operation, |connection| work(connection)),
        }
    }

    /// [`read`](Self::read) by a layer that is about to write. After a commit that went astray the writer
    /// reads, which finds out whose files are there now.
    pub(crate) fn read_to_write<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        match self.is_astray.load(Ordering::Acquire) {
            true => self.write(operation, |connection| work(connection)),
            false => self.read(operation, work),
        }
    }

    /// Checks out a reader for as long as the caller holds it; `None` if there is no pool.
    pub(crate) fn reader(&self, operation: Operation) -> Result<Option<(PooledReader, Lease<'_>)>> {
        self.reader_within(self.settings.options.checkout_timeout, operation)
    }

    /// As [`reader`](Self::reader), without a wait: for work that can do without.
    pub(crate) fn spare_reader(&self, operation: Operation) -> Option<(PooledReader, Lease<'_>)> {
        self.reader_within(Duration::ZERO, operation).ok().flatten()
    }

    fn reader_within(
        &self,
        timeout: Duration,
        operation: Operation,
    ) -> Result<Option<(PooledReader, Lease<'_>)>> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(pool) = pool else {
            return if self.settings.has_readers() { Err(closed()) } else { Ok(None) };
        };
        let waiting = self.meter.wait(operation);
        match pool.get(timeout) {
            Ok(mut reader) if reader.is_new => match self.check_reader(reader.connection()) {
                Ok(()) => Ok(Some((reader, waiting.granted()))),
                Err(error) => {
                    reader.is_broken = true;
                    drop(reader);
                    Err(waiting.refused(error))
                }
            },
            Ok(reader) => Ok(Some((reader, waiting.granted()))),
            Err(error) => Err(waiting.refused(error)),
        }
    }

    /// Runs `work` on the writer. Waits for the operations that were called earlier.
    ///
    /// # Errors
    ///
    /// Those of `work`, `Standby` if this store does not own the database, `Closed`, `Io` if the file was
    /// moved away or overwritten while it was open, and `Unsupported` within another write of this thread.
    pub(crate) fn write<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let waiting = self.meter.wait(operation);
        if !self.is_owner {
            return Err(waiting.refused(is_standby()));
        }
        let mut writer = match self.lock_writer() {
            Ok(writer) => writer,
            Err(error) => return Err(waiting.refused(error)),
        };
        if writer.closed {
            return Err(waiting.refused(closed()));
        }
        writer.begin_work();
        if let Err(error) = self.check_main_file(&mut writer) {
            if invalidates_connection(error.kind()) {
                self.discard(&mut writer);
            }
            return Err(waiting.refused(error));
        }
        let shorter_wal = if operation.is_durable() { writer.shorter_wal() } else { None };
        let connection = match &mut writer.connection {
            Some(connection) => connection,
            None => match self.reopen(writer.idle_size.is_some(), writer.file.as_ref()) {
                Ok((connection, file)) => writer.set(connection, file),
                Err(error) => {
                    // Its checkpoint may have written a part: the disk is full.
                    writer.record_partial_writes();
                    return Err(waiting.refused(error));
                }
            },
        };
        // Dropped before the lock is released, so that the number of connections in use never exceeds the
        // true one.
        let mut lease = waiting.granted();
        let checked = shorter_wal.map_or(Ok(()), |size| check_wal(connection, size));
        let mut outcome = checked.and_then(|()| work(connection));
        if outcome.is_err() || !operation.is_durable() {
            writer.record_own_writes();
        } else {
            let is_astray = !writer.is_in_place_with_own_writes();
            self.is_astray.store(is_astray, Ordering::Release);
            if is_astray {
                // The commit went to a file that the next open does not find.
                outcome = Err(moved());
            }
        }
        lease.record(&outcome);
        if outcome.as_ref().is_err_and(|error| invalidates_connection(error.kind())) {
            self.discard(&mut writer);
        }
        drop(lease);
        self.close_or_schedule(&mut writer);
        if operation != Operation::Stats {
            // Reading a gauge does not keep the writer open.
            writer.last_used = Instant::now();
        }
        outcome
    }

    /// Returns an error if another program has overwritten the database file.
    fn check_main_file(&self, writer: &mut Writer) -> Result<()> {
        let is_open = writer.connection.is_some();
        match &mut writer.file {
            // Without a WAL, a writer that is opened again reads nothing but the file.
            Some(file) if is_open || file.wal.is_some() => {
                file.database.check(&self.settings, self.opening(), |found| self.check_owner(found))
            }
            _ => Ok(()),
        }
    }

    /// Called after each use of the writer: closes it at once if the limit has no room for it, and otherwise
    /// schedules the check that closes it once it is idle.
    fn close_or_schedule(&self, writer: &mut Writer) {
        if !self.settings.has_readers() {
            // Closing would lose a database in memory, and would give up the exclusive lock on a file.
            return;
        }
        if writer.connection.is_none() {
            return;
        }
        let shared = Arc::downgrade(&self.writer);
        writer.idle_ticket = self.limit.keep_writer(Box::new(|| close_on_demand(shared, 100)));
        if writer.idle_ticket.is_none() {
            writer.close_idle();
        } else if !std::mem::replace(&mut writer.close_scheduled, true) {
            let timeout = self.settings.options.idle_timeout;
            schedule_close(Arc::downgrade(&self.writer), timeout, timeout);
        }
    }

    /// Waits for the operations that were called earlier.
    ///
    /// # Errors
    ///
    /// `Unsupported` within an operation of this thread, whose observer has called: it would wait for itself.
    fn lock_writer(&self) -> Result<WriterGuard<'_>> {
        self.check_not_writing()?;
        let writer = self.writer.lock().unwrap_or_else(|error| {
            // A panic while the connection was in use. Unwinding has rolled its transaction back.
            self.writer.clear_poison();
            let mut writer = error.into_inner();
            self.discard(&mut writer);
            writer
        });
        *self.writing_on.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
        Ok(WriterGuard { writer, writing_on: &self.writing_on })
    }

    /// Returns `Unsupported` within an operation of this thread that uses the writer.
    pub(crate) fn check_not_writing(&self) -> Result<()> {
        let writing_on = *self.writing_on.lock().unwrap_or_else(PoisonError::into_inner);
        if writing_on == Some(thread::current().id()) { Err(within_operation()) } else { Ok(()) }
    }

    /// Closes the writer after a failure. The next use reopens it.
    fn discard(&self, writer: &mut Writer) {
        // A database in memory lives and dies with its connection.
        if self.settings.path.is_some() {
            if let Some(connection) = writer.take() {
                let is_ours = writer.file.as_ref().is_some_and(|file| file.database.new_stamp().is_none());
                // This checkpoints, and may write a part: the disk is full.
                drop(connection);
                if is_ours {
                    writer.record_partial_writes();
                }
                writer.limit.writer_closed();
            }
            writer.idle_size = None;
        }
    }

    /// Reopens the writer, after it was idle or after a failure.
    ///
    /// After a failure the order matters. A commit that seemed to fail may be in the WAL, written but not
    /// synced, and a retry would find its `last_seq` there and take it for durable. So first the whole WAL is
    /// checkpointed, which syncs it; with a rollback journal, a journal is ended and synced. Nothing is
    /// written before that succeeds. `former` has the files of the writer before.
    fn reopen(&self, was_idle: bool, former: Option<&OpenFile>) -> Result<(Connection, Option<OpenFile>)> {
        let doing = "reopen the database";
        if former.is_some_and(OpenFile::has_left_its_wal) {
            return Err(mixed());
        }
        let identify = || self.settings.path.as_deref().map(FileId::at).transpose().ok().flatten();
        let before = identify();
        if before.is_none()
            && let Some(path) = &self.settings.path
            && !files::exists(path)?
        {
            return Err(missing(path));
        }
        let explained = |error: Error| match error.kind() {
            // Readers that are open have an index of the lost WAL, which a new one does not match.
            ErrorKind::Io if self.is_astray.load(Ordering::Acquire) => moved().with_source(error),
            _ => error,
        };
        let connection = self.settings.reopen_writer().map_err(|error| explained(failed(doing)(error)))?;
        // If it turns out to be another file, closing the connection must not touch its WAL.
        let keep_wal = |keep| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep);
        keep_wal(true).map_err(failed(doing))?;
        self.check_owner(&Meta::read(&connection).map_err(explained)?)?;
        if self.settings.path.is_some() {
            // An operator may have changed it while no connection was open. Without a change it writes
            // nothing.
            settings::set_journal_mode(&connection, self.settings.options.mode)?;
            // Opens the WAL.
            self.check_owner(&Meta::read(&connection).map_err(explained)?)?;
        }
        let file = OpenFile::new(&self.settings, former)?;
        if file.as_ref().map(|file| file.database.id()) != before {
            // Another file was put in place meanwhile, and it is not known which one is open.
            return Err(moved());
        }
        keep_wal(false).map_err(failed(doing))?;
        if was_idle {
            return Ok((connection, file));
        }
        if self.settings.has_readers() {
            let busy: bool = connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map_err(failed("checkpoint the WAL after a failure"))?;
            if busy {
                let message = "could not checkpoint the WAL after a failure, because a reader still uses it; \
                               nothing has changed, and it can be tried again. Drop scans earlier";
                return Err(Error::new(ErrorKind::Busy, message));
            }
        } else {
            // A commit ends by ending its journal. If that could not be synced, the journal is back after a
            // power loss, and rolls the commit back. So a write that changes nothing begins and ends another
            // journal.
            let doing = "end the journal after a failure";
            settings::delete_old_journal(&connection).map_err(failed(doing))?;
            let version: i64 = connection
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .map_err(failed(doing))?;
            set(&connection, "user_version", version).map_err(failed(doing))?;
        }
        Ok((connection, file))
    }

    /// Replaces the database file by `replace`, with the writer closed. Reads in progress end on the old
    /// file; later reads use the new one.
    pub(crate) fn replace<T>(&self, replace: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut writer = self.lock_writer()?;
        if writer.closed {
            return Err(closed());
        }
        // The new file is treated as after a failure.
        writer.idle_size = None;
        if let Some(connection) = writer.take() {
            // Closing must not checkpoint the WAL into the damaged file.
            let closed = connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .and_then(|_| connection.close().map_err(|(_, error)| error))
                .map_err(failed("close the database"));
            writer.limit.writer_closed();
            closed?;
        }
        let replaced = replace();
        if replaced.is_ok() {
            writer.file = None;
            self.meter.clear_damage();
        }
        self.renew_pool();
        replaced
    }

    /// Returns the latest damage that an operation met, until a repair.
    pub(crate) fn damage(&self) -> Option<LastError> {
        self.meter.damage()
    }

    /// Returns how many connections are open, and how many of them are in use.
    pub(crate) fn open_and_active(&self) -> (u32, usize) {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        let readers = pool.as_ref().map_or(0, ReaderPool::open);
        (readers + u32::from(self.writer_is_open()), self.meter.active())
    }

    /// Does not wait for the writer: one in use is open.
    fn writer_is_open(&self) -> bool {
        match self.writer.try_lock() {
            Ok(writer) => writer.connection.is_some(),
            Err(TryLockError::Poisoned(writer)) => writer.into_inner().connection.is_some(),
            Err(TryLockError::WouldBlock) => true,
        }
    }

    /// Returns the size of the database. Does not reopen an idle writer.
    pub(crate) fn size(&self) -> Result<DatabaseSize> {
        if let Some(size) = self.lock_writer()?.idle_size {
            return Ok(size);
        }
        let read = |connection: &Connection| {
            DatabaseSize::read(connection).map_err(failed("read the size of the database"))
        };
        match self.is_owner {
            true => self.write(Operation::Stats, |connection| read(connection)),
            false => self.read(Operation::Stats, read),
        }
    }

    /// Returns the sizes of the database and of its WAL, in bytes, for gauges; `None` for a database in
    /// memory, and for a standby. Reads only memory.
    pub(crate) fn file_sizes(&self) -> Option<(u64, u64)> {
        (self.is_owner && self.settings.path.is_some()).then(|| self.sizes.get())
    }

    /// Returns the usage of the connections, for gauges. Does not wait. After a close, only connections that
    /// are still in use count.
    pub(crate) fn usage(&self) -> Usage {
        let readers = {
            let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
            pool.as_ref().map(ReaderPool::open)
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

    /// Replaces the pool, so that later reads open the file that has the name now. Reads in progress go on.
    pub(crate) fn renew_pool(&self) {
        // The readers in use keep the former guard. Files that were read without SQLite meanwhile are closed
        // with it, and not only with the store.
        let presence = {
            let mut presence = self.presence();
            *presence = presence.as_ref().map(|presence| Arc::new(presence.renew()));
            presence.clone()
        };
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if pool.is_some() {
            *pool = Some(ReaderPool::new(self.settings.clone(), Arc::clone(&self.limit), presence));
        }
    }

    /// Closes the idle readers.
    pub(crate) fn close_idle_readers(&self) {
        if let Some(pool) = &*self.pool.read().unwrap_or_else(PoisonError::into_inner) {
            pool.close_idle();
        }
    }

    /// Closes the idle readers and the writer. Waits for the operation that uses the writer.
    pub(crate) fn close_idle(&self) {
        self.close_idle_readers();
        // A call by an observer of an operation finds the writer in use.
        if self.settings.has_readers()
            && let Ok(mut writer) = self.lock_writer()
        {
            writer.close_idle();
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Closes all connections: idle ones now, and readers in use when they are returned. The writer goes
    /// last, so that it checkpoints the WAL.
    pub(crate) fn close(&self) -> Result<()> {
        self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        let closed = self.close_writer();
        self.presence().take();
        closed
    }

    /// Closes the writer for good, and idle readers, so that the WAL is in the database. Later reads open
    /// readers again.
    pub(crate) fn close_writer(&self) -> Result<()> {
        self.close_idle_readers();
        let mut writer = self.lock_writer()?;
        writer.closed = true;
        let checked = match writer.connection.is_some() {
            true => self.check_main_file(&mut writer),
            false => Ok(()),
        };
        let Some(connection) = writer.take() else { return Ok(()) };
        if self.settings.has_readers() {
            checkpoint_before_close(&connection);
        }
        let closed = connection.close().map_err(|(_, error)| failed("close the database")(error));
        writer.limit.writer_closed();
        match checked {
            // The database is another owner's.
            Err(error) if error.kind() == ErrorKind::Fenced => closed,
            checked => checked.and(closed),
        }
    }

    fn presence(&self) -> MutexGuard<'_, Option<Arc<Presence>>> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // A failure cannot be reported, and loses nothing: all commits are in the WAL.
        let _ = self.close();
    }
}

/// Schedules a check that closes the writer if it has been idle for `timeout`.
fn schedule_close(writer: Weak<Mutex<Writer>>, after: Duration, timeout: Duration) {
    idle::after(after, move || {
        let Some(shared) = writer.upgrade() else { return };
        // A locked writer is in use, perhaps on a disk that hangs. After a panic its next user discards it.
        let Ok(mut inner) = shared.try_lock() else { return schedule_close(writer, timeout, timeout) };
        match timeout.checked_sub(inner.last_used.elapsed()).filter(|left| !left.is_zero()) {
            Some(left) if inner.connection.is_some() => schedule_close(writer, left, timeout),
            _ => {
                inner.close_idle();
                inner.close_scheduled = false;
            }
        }
    });
}

/// Closes an idle writer for a read of another store. One that is locked is at work again, or a gauge looks
/// at it.
fn close_on_demand(writer: Weak<Mutex<Writer>>, attempts: u32) {
    let Some(shared) = writer.upgrade() else { return };
    match shared.try_lock() {
        Ok(mut inner) => inner.close_idle(),
        Err(_) if attempts > 0 => {
            idle::after(Duration::from_millis(10), move || close_on_demand(writer, attempts - 1));
        }
        Err(_) => {}
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed; open it again")
}

fn is_standby() -> Error {
    Error::new(
        ErrorKind::Standby,
        "this store is a standby and cannot write; nothing has changed. Promote it first",
    )
}

fn within_operation() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "an observer made this call within an operation that uses the connection that writes, and the call would wait \
         for that operation; nothing has changed. Make the call on another thread",
    )
}

fn moved() -> Error {
    Error::new(
        ErrorKind::Io,
        "the database file, or its -wal, was moved away or replaced while it was open; the commit is not in the file that \
         has its name now. Put the file back and try again; a write buffer does so itself, and keeps the \
         changes in memory",
    )
}

fn missing(path: &Path) -> Error {
    Error::new(
        ErrorKind::Io,
        format!(
            "the database file {} was deleted or moved away while it was open; nothing was written. Put it back with its \
             -wal, or repair the database, which rebuilds it from memory",
            path.display()
        ),
    )
}

fn mixed() -> Error {
    Error::new(
        ErrorKind::Io,
        "the database file was replaced while it was open, but its -wal was not, and the two do not belong together; \
         nothing was written. Put the right file back, or repair the database",
    )
}

fn replaced() -> Error {
    Error::new(
        ErrorKind::Io,
        "the database file was replaced by another database, or by an older copy; it is not read, because what this \
         store shows belongs to the one before. Put the right file back, or open the store again; a standby refreshes",
    )
}
