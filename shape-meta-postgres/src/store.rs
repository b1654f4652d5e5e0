use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use shape_meta_core::{
    Activity, Counts, Error, ErrorKind, LastError, Observer, OpenStats, Result, Seq, Timestamp,
    store_parts::{CleanupTasks, Recency},
};
use tokio_postgres::{Row, types::ToSql};

use crate::{
    DiskIndexes, Durability, PostgresOpenReport, PostgresOptions, PostgresPool,
    connection::{operation::Operation, pool::Purpose, runtime::Runtime},
    format::stack_row::StackRow,
    meter::{Meter, Use},
    open::pipeline::{self, OpenedStack},
    read::snapshot::Param,
    stack::Stack,
    write::transaction::WriteTransaction,
};

/// A store of shapes in a stack of a PostgreSQL database, which it owns.
///
/// A stack has one owner, which keeps a lease on it ([`PoolOptions::lease`](crate::PoolOptions::lease)). The
/// store does not validate changes, which is left to the layer above; see the [crate] for an example.
///
/// Methods block the calling thread until the server has answered, or a time-out has passed. They can be
/// called from any thread, also from one of an asynchronous runtime, which they then block as well.
pub struct PostgresStore {
    pub(crate) pool: PostgresPool,
    pub(crate) stack: Arc<Stack>,
    pub(crate) options: PostgresOptions,
    pub(crate) recency: Recency,
    pub(crate) meter: Meter,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) cleanup: CleanupTasks,
    name: Arc<str>,
    pub(crate) report: PostgresOpenReport,
    /// Held by an operation that writes, until the memory shows what it has committed. No reader takes it
    /// (I5).
    writer: Mutex<()>,
    /// The counts after the latest commit of this store.
    cached_counts: Mutex<Counts>,
    /// Whether the ownership was given up: nothing is written any more.
    released: AtomicBool,
    closed: AtomicBool,
    /// The latest damage that was met.
    damage: Mutex<Option<(Error, Instant)>>,
}

impl PostgresStore {
    /// Opens the stack with this name as its owner. Creates the tables and the stack if they are missing.
    ///
    /// What happens if a live process owns it is chosen by
    /// [`PostgresOptions::on_live_owner`](crate::PostgresOptions::on_live_owner). One that is fenced commits
    /// nothing any more.
    ///
    /// # Errors
    ///
    /// With these [kinds](shape_meta_core::ErrorKind). Nothing is changed then.
    ///
    /// - `Configuration`: an option, the name, or the connection string is invalid, or the database is not in
    ///   UTF-8.
    /// - `AccessDenied`: the server refuses the login or a privilege.
    /// - `NotFound`: there is no such database.
    /// - `NotADatabase`: the schema has a table of another application with the name of one of ours.
    /// - `UnsupportedSchema`: a newer version of this crate has written the tables.
    /// - `Unsupported`: the server is older than PostgreSQL 13.
    /// - `OtherStamp`: the shapes were made with another stamp, and the options refuse it, or the re-key of
    ///   the application has failed.
    /// - `Corrupt`: the row of the stack is damaged.
    /// - `AlreadyOpen`: a live process owns it, or another store of this pool.
    /// - `Busy`: no connection became free, or another opening holds a lock for too long.
    /// - `ReadOnly`, `Io`, `StorageFull`, `Interrupted`: the server or the network fails.
    pub fn open(
        pool: &PostgresPool,
        stack: &str,
        options: PostgresOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let (started, path) = (Instant::now(), format!("{}/{stack}", pool.place()));
        let activity = Activity::Open { path: path.as_ref() };
        let store = activity.observed(&*observer, || {
            let OpenedStack { stack: opened, recency, report, tasks, stamp } =
                pipeline::open(pool, stack, &options)?;
            let cleanup = CleanupTasks::new(options.cleanup_tasks, tasks);
            let observer = Arc::clone(&observer);
            let mut store = Self::new(pool, stack, opened, recency, report, cleanup, options, observer);
            if let Err(error) = store.apply_stamp(stamp) {
                // So that another process need not wait for the end of the lease.
                store.close();
                return Err(error);
            }
            store.report.took = started.elapsed();
            Ok(store)
        })?;
        observer.opened(&OpenStats { shapes: store.report.counts.total, took: store.report.took });
        Ok(store)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an open, which are of as many kinds")]
    pub(crate) fn new(
        pool: &PostgresPool,
        name: &str,
        stack: Stack,
        recency: Recency,
        report: PostgresOpenReport,
        cleanup: CleanupTasks,
        options: PostgresOptions,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            pool: pool.clone(),
            stack: Arc::new(stack),
            recency,
            meter: Meter::new(Arc::clone(&observer)),
            cleanup,
            options,
            observer,
            name: name.into(),
            cached_counts: Mutex::new(report.counts),
            report,
            writer: Mutex::default(),
            released: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            damage: Mutex::default(),
        }
    }

    /// Returns the report of the open.
    pub fn report(&self) -> &PostgresOpenReport {
        &self.report
    }

    /// Returns the name of the stack.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the pool of this store.
    pub fn pool(&self) -> &PostgresPool {
        &self.pool
    }

    /// Returns which look-ups the database answers.
    pub fn disk_indexes(&self) -> DiskIndexes {
        self.options.disk_indexes
    }

    /// Returns when an owner first opened the stack with this shape in it: the last-read time of a shape
    /// without reads. `None` if the shape was created since this store was opened.
    pub fn first_seen_at(&self, created: Seq) -> Option<Timestamp> {
        self.recency.first_seen_at(created)
    }

    /// Returns the latest damage that a read or a write has met since the open. Does not read the database.
    pub fn latest_damage(&self) -> Option<LastError> {
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.as_ref().map(|(error, at)| LastError { error: error.clone(), ago: at.elapsed() })
    }

    /// Records the damage that an operation has met.
    pub(crate) fn noting<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| {
            if error.kind() == ErrorKind::Corrupt {
                let found = Some((error.clone(), Instant::now()));
                *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = found;
            }
        })
    }

    /// Writes nothing more, and releases the ownership. Reads go on, and show what the next owner writes.
    /// Waits for the write in progress.
    ///
    /// Another process can open the stack when it returns. Also if it fails: then after the lease has run
    /// out, and in this process at once.
    ///
    /// # Errors
    ///
    /// Those of the server. No commit is lost then.
    pub fn release(&self) -> Result<()> {
        let Some(release) = self.begin_release() else { return Ok(()) };
        self.pool.runtime().run(release)
    }

    /// Gives the ownership up in memory, once. Returns the rest of the work.
    fn begin_release(&self) -> Option<impl Future<Output = Result<()>> + Send + 'static> {
        let was_released = self.released.swap(true, Ordering::AcqRel);
        drop(self.lock_writer());
        if was_released || self.stack.holding().is_none() {
            return None;
        }
        let stack = Arc::clone(&self.stack);
        Some(async move {
            // The lease is kept until the row is written, and given up whatever becomes of that.
            let outcome = release_row(&stack).await;
            if let Some(holding) = stack.holding() {
                holding.give_up();
            }
            outcome
        })
    }

    /// Closes the store: all operations but open scans fail with `Closed` from now on. Waits for a write that
    /// is in progress. The connections belong to the pool.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // If it fails, the lease runs out.
        let _ = self.release();
    }

    /// Returns the thread of the connections.
    pub(crate) fn runtime(&self) -> Result<&Runtime> {
        match self.closed.load(Ordering::Acquire) {
            false => Ok(self.pool.runtime()),
            true => Err(Error::closed()),
        }
    }

    pub(crate) fn lock_writer(&self) -> MutexGuard<'_, ()> {
        // It guards no data, so a panic leaves none inconsistent.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counts after the latest commit, without reading the database.
    pub(crate) fn cached_counts(&self) -> Counts {
        *self.cached_counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_cached_counts(&self, counts: Counts) {
        *self.cached_counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Returns the rows of one statement, whose first parameter is the number of the stack, and the others
    /// `params`.
    pub(crate) fn read(
        &self,
        operation: Operation,
        doing: &'static str,
        statement: &Arc<str>,
        params: Vec<Param>,
    ) -> Result<Vec<Row>> {
        let waiting = self.meter.wait(operation);
        let (stack, statement) = (Arc::clone(&self.stack), Arc::clone(statement));
        let read = async move {
            let mut all: Vec<&(dyn ToSql + Sync)> = vec![&stack.number];
            all.extend(params.iter().map(|param| &**param as &(dyn ToSql + Sync)));
            Ok(stack.read(doing, &statement, &all).await)
        };
        match self.runtime().and_then(|runtime| runtime.run(read)) {
            Ok((outcome, queued, active)) if active > 0 => {
                let mut checkout = waiting.granted_after(queued, active);
                outcome.inspect_err(|error| checkout.failed(error))
            }
            Ok((Err(error), ..)) | Err(error) => Err(waiting.refused(error)),
            Ok((Ok(rows), ..)) => Ok(rows),
        }
    }

    /// Runs a transaction of the owner, with the durability of the options.
    pub(crate) fn write<T, W>(
        &self,
        operation: Operation,
        doing: &'static str,
        work: impl FnOnce(WriteTransaction) -> W + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        self.write_with(self.options.durability, operation, doing, work)
    }

    /// Runs a transaction of the owner.
    pub(crate) fn write_with<T, W>(
        &self,
        durability: Durability,
        operation: Operation,
        doing: &'static str,
        work: impl FnOnce(WriteTransaction) -> W + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        if self.released.load(Ordering::Acquire) {
            return Err(Error::closed());
        }
        let waiting = self.meter.wait(operation);
        let stack = Arc::clone(&self.stack);
        let began = Instant::now();
        let written = self.runtime().and_then(|runtime| {
            runtime.run(async move {
                let transaction = WriteTransaction::begin(&stack, durability, doing).await?;
                let (queued, active) = (began.elapsed(), transaction.active());
                Ok((work(transaction).await, queued, active))
            })
        });
        self.noting(match written {
            Ok((outcome, queued, active)) => {
                let mut checkout = waiting.granted_after(queued, active);
                outcome.inspect_err(|error| checkout.failed(error))
            }
            Err(error) => Err(waiting.refused(error)),
        })
    }

    /// Begins a transaction of the owner that the caller drives, step by step. Between two steps the caller
    /// may work for as long as the time-out of transactions.
    pub(crate) fn begin_write(
        &self,
        operation: Operation,
        doing: &'static str,
    ) -> Result<(WriteTransaction, Use<'_>)> {
        let waiting = self.meter.wait(operation);
        let (stack, durability) = (Arc::clone(&self.stack), self.options.durability);
        let begin = async move { WriteTransaction::begin(&stack, durability, doing).await };
        match self.runtime().and_then(|runtime| runtime.run(begin)) {
            Ok(transaction) => {
                let checkout = waiting.granted(transaction.active());
                Ok((transaction, checkout))
            }
            Err(error) => self.noting(Err(waiting.refused(error))),
        }
    }

    /// Returns the row of the stack.
    pub(crate) fn read_stack(&self, operation: Operation) -> Result<StackRow> {
        let rows = self.read(operation, "read the stack", &self.stack.statements.stack, Vec::new())?;
        self.stack.decode(rows.first())
    }
}

/// Writes that the stack has no owner.
async fn release_row(stack: &Stack) -> Result<()> {
    let ours = stack.opening()?.ours();
    let (number, epoch, opening) = (stack.number, ours.epoch.cast_signed(), ours.opening);
    let mut pooled = stack.connections().checkout(Purpose::Operation).await?;
    let params: [&(dyn ToSql + Sync); 3] = [&number, &epoch, &opening.as_bytes()];
    pooled.client()?.execute("release the stack", &stack.statements.release_stack, &params).await?;
    if let Some(holding) = stack.holding() {
        // A standby need not wait until it looks again.
        let notify = holding.member().channel.notification(&[(number, None)]);
        let _ = pooled.client()?.execute_all("announce the release", &notify).await;
    }
    Ok(())
}

/// Releases the ownership in the background, so that a drop on the thread of an executor does not block.
impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(release) = self.begin_release() {
            let _ = self.pool.runtime().spawn(async move {
                let _ = release.await;
            });
            // Memory says at once that the stack is not open here.
            if let Some(holding) = self.stack.holding() {
                holding.give_up();
            }
        }
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore")
            .field("name", &self.name)
            .field("pool", &self.pool)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}
