use std::collections::HashSet;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use shape_meta_core::{Handle, Result, Seq, store_parts::CleanupTask};

use crate::{
    Durability, SqliteStore,
    connection::{operation::Operation, settings::set},
    error::{failed, failed_on},
    format::{
        cleanup::{self, TrustedAs},
        meta::Meta,
    },
    ownership::file_id::FileOrigin,
};

/// The cleanup tasks of a store (C12): shapes that are gone and whose stored data is not deleted yet. A task
/// is written in the transaction that removes the shape, and stays until it is acknowledged.
///
/// A task does not say that the handle is free: a newer shape may have it. The caller that deletes
/// stored data reserves the handles first: see
/// [`StoreControl::reserve_handles`](shape_meta_core::StoreControl::reserve_handles).
impl SqliteStore {
    /// Sets a function that is called whenever cleanup tasks were committed, on the thread that committed
    /// them: it must return soon, and must not call the store. Only the first call counts.
    pub fn on_cleanup_tasks(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.cleanup.on_committed(hook);
    }

    /// Returns the number of cleanup tasks, without reading the database.
    pub fn pending_cleanup_tasks(&self) -> u64 {
        self.cleanup.pending()
    }

    /// Returns up to `limit` cleanup tasks after this one, in a fixed order.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a row does not match its checksum, and the errors of a database that cannot be read.
    pub fn cleanup_tasks(&self, after: Option<&CleanupTask>, limit: usize) -> Result<Vec<CleanupTask>> {
        let after = after.map_or(i64::MIN, CleanupTask::id);
        self.connections.read(Operation::CleanupTasks, |connection| {
            let mut tasks = Vec::new();
            cleanup::tasks(connection, after, limit, |task| tasks.push(task))?;
            Ok(tasks)
        })
    }

    /// Acknowledges that the stored data of these shapes is deleted. Their tasks are gone. Acknowledging
    /// twice is harmless (I6).
    ///
    /// # Errors
    ///
    /// If the database cannot be written. All of them are then still tasks.
    pub fn ack_cleanup(&self, tasks: &[CleanupTask]) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        self.write_tasks(Operation::AckCleanup, "acknowledge a cleanup", |transaction, _| {
            let deleted = tasks.iter().map(|task| cleanup::delete(transaction, task)).sum::<Result<u64>>()?;
            Ok(-deleted.cast_signed())
        })
    }

    /// Drops the tasks whose handle a newer shape has, given with the sequence number of its add: the stored
    /// data belongs to that shape now. A task stays if its newer shape is not in the database. Returns the
    /// number of tasks that were dropped.
    ///
    /// # Errors
    ///
    /// If the database cannot be written. All of them are then still tasks.
    pub fn drop_superseded_tasks(&self, tasks: &[(CleanupTask, Seq)]) -> Result<usize> {
        let mut dropped = 0;
        if tasks.is_empty() {
            return Ok(dropped);
        }
        self.write_tasks(Operation::AckCleanup, "drop cleanup tasks", |transaction, _| {
            let drop =
                |(task, newer): &(CleanupTask, Seq)| cleanup::drop_superseded(transaction, task, *newer);
            let deleted = tasks.iter().map(drop).sum::<Result<u64>>()?;
            dropped = usize::try_from(deleted).unwrap_or(usize::MAX);
            Ok(-deleted.cast_signed())
        })?;
        Ok(dropped)
    }

    /// Checks that this store still owns the database, and makes every removal so far as durable as a cleaner
    /// needs it: with [`PowerLossConsistent`](crate::Durability::PowerLossConsistent) a power loss would
    /// otherwise bring back shapes whose stored data is deleted. Call it before the stored data of tasks is
    /// deleted.
    ///
    /// # Errors
    ///
    /// `Fenced` if the store has lost ownership: its tasks are those of the new owner. Otherwise an error of
    /// the database.
    pub fn confirm_removals(&self) -> Result<()> {
        let options = &self.connections.settings().options;
        let must_sync = options.durability == Durability::PowerLossConsistent;
        let doing = "make removals durable";
        let last_seq = self.connections.write(Operation::AckCleanup, |connection| {
            if must_sync {
                set(connection, "synchronous", "FULL").map_err(failed(doing))?;
            }
            let confirmed = self.confirm_ownership(connection, must_sync);
            if must_sync {
                let usual = options.durability.synchronous(options.mode);
                set(connection, "synchronous", usual).map_err(failed(doing))?;
            }
            confirmed
        })?;
        self.testify(last_seq);
        Ok(())
    }

    /// Makes cleanup tasks of stored data without a shape.
    ///
    /// # Errors
    ///
    /// If the database cannot be written. None of them is then a task.
    pub fn add_orphans(&self, handles: &[Handle]) -> Result<()> {
        if handles.is_empty() {
            return Ok(());
        }
        self.write_tasks(Operation::AddOrphans, "record orphans", |transaction, _| {
            Ok(cleanup::insert_orphans(transaction, handles)?.cast_signed())
        })?;
        self.cleanup.announce();
        Ok(())
    }

    /// Returns those of these handles that have no task, each once. Passes over all tasks, one of them in
    /// memory at a time: ask for many handles at once.
    ///
    /// # Errors
    ///
    /// Those of [`cleanup_tasks`](Self::cleanup_tasks).
    pub fn without_task(&self, handles: Vec<Handle>) -> Result<Vec<Handle>> {
        if handles.is_empty() {
            return Ok(handles);
        }
        let mut known = HashSet::new();
        let asked: HashSet<&Handle> = handles.iter().collect();
        self.connections.read(Operation::CleanupTasks, |connection| {
            cleanup::tasks(connection, i64::MIN, usize::MAX, |task| {
                if asked.contains(task.handle()) {
                    known.insert(task.into_handle());
                }
            })
        })?;
        Ok(handles.into_iter().filter(|handle| known.insert(handle.clone())).collect())
    }

    /// Returns whether stored data without a shape is known to belong to this database, so that it can be
    /// deleted. False for a database that was just created, restored, or rebuilt after damage, until
    /// [`trust_storage`](Self::trust_storage). A file that was copied counts as restored, and so does one
    /// that is behind its lock file. One that was renamed does not.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn is_storage_trusted(&self) -> Result<bool> {
        let file = self.file_origin()?;
        self.connections.read(Operation::CleanupTasks, |connection| {
            let expected = TrustedAs::new(Meta::read(connection)?.database, &file);
            cleanup::is_storage_trusted(connection, expected.as_ref())
        })
    }

    /// Records that stored data without a shape belongs to this database. It is remembered until
    /// [`distrust_storage`](Self::distrust_storage), until the file is restored or rebuilt, or loses its lock
    /// file, and until a power loss undoes commits.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub fn trust_storage(&self) -> Result<()> {
        let (file, mut last_seq) = (self.file_origin()?, Seq::ZERO);
        let doing = "record that the stored data is trusted";
        self.write_tasks(Operation::TrustStorage, doing, |transaction, meta| {
            last_seq = meta.last_seq;
            if let Some(trusted) = TrustedAs::new(meta.database, &file) {
                cleanup::trust_storage(transaction, &trusted)?;
            }
            Ok(0)
        })?;
        // A repair has changed the opening.
        self.testify(last_seq);
        Ok(())
    }

    /// Ends the trust in the stored data: it cannot be what this database has stored.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub fn distrust_storage(&self) -> Result<()> {
        self.write_tasks(
            Operation::TrustStorage,
            "record that the stored data is not trusted",
            |transaction, _| {
                cleanup::distrust_storage(transaction)?;
                Ok(0)
            },
        )
    }

    fn file_origin(&self) -> Result<FileOrigin> {
        let Some(files) = &self.files else { return Ok(FileOrigin::default()) };
        let path = files.database();
        FileOrigin::at(&path).map_err(failed_on("look at", &path))
    }

    /// Reads how many tasks there are, after an open or a repair.
    pub(crate) fn recount_cleanup_tasks(&self, connection: &Connection) -> Result<()> {
        self.cleanup.set_pending(cleanup::count(connection)?);
        Ok(())
    }

    /// Runs `work` in a transaction of the owner. It returns by how much the number of tasks changes.
    fn write_tasks(
        &self,
        operation: Operation,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>, &Meta) -> Result<i64>,
    ) -> Result<()> {
        self.connections.write(operation, |connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(failed(doing))?;
            let meta = Meta::read(&transaction)?;
            self.connections.check_owner(&meta)?;
            let change = work(&transaction, &meta)?;
            transaction.commit().map_err(failed(doing))?;
            match u64::try_from(change) {
                Ok(added) => self.cleanup.add_pending(added),
                Err(_) => self.cleanup.remove_pending(change.unsigned_abs()),
            }
            Ok(())
        })
    }

    /// Checks the owner in a transaction. With `writes`, the transaction writes a page, so that its commit
    /// syncs the WAL with every commit before it. A row that is written as it was changes no page.
    fn confirm_ownership(&self, connection: &mut Connection, writes: bool) -> Result<Seq> {
        let doing = "check the ownership before a cleanup";
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
        let meta = Meta::read(&transaction)?;
        self.connections.check_owner(&meta)?;
        if writes {
            let version: i64 = transaction
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .map_err(failed(doing))?;
            set(&transaction, "user_version", version).map_err(failed(doing))?;
        }
        transaction.commit().map_err(failed(doing))?;
        Ok(meta.last_seq)
    }
}
