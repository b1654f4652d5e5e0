use std::{collections::HashSet, sync::Arc};

use shape_meta_core::{
    Handle, Result, Seq,
    store_parts::{CleanupTask, CleanupTasks},
};
use tokio_postgres::types::ToSql;

use crate::{
    PostgresStore,
    connection::{
        client::{Client, CommitError},
        operation::Operation,
    },
    format::{cleanup, row},
    read::snapshot::Snapshot,
    stack::Stack,
};

/// The cleanup tasks of a store (C12): shapes that are gone and whose stored data is not deleted yet. A task
/// is written in the transaction that removes the shape, and stays until it is acknowledged.
///
/// A task does not say that the handle is free: a newer shape may have it. A cleaner of stored data reserves
/// the handles first: see
/// [`StoreControl::reserve_handles`](shape_meta_core::StoreControl::reserve_handles).
impl PostgresStore {
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
    /// `Corrupt` if a row does not match its checksum, and the errors of a server that cannot be read.
    pub fn cleanup_tasks(&self, after: Option<&CleanupTask>, limit: usize) -> Result<Vec<CleanupTask>> {
        let after = after.map_or(i64::MIN, CleanupTask::id);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = &self.stack.statements.tasks_after;
        let params = vec![Box::new(after) as _, Box::new(limit) as _];
        let rows = self.read(Operation::CleanupTasks, "read the cleanup tasks", statement, params)?;
        rows.iter().map(cleanup::decode).collect()
    }

    /// Acknowledges that the stored data of these shapes is deleted. Their tasks are gone. Acknowledging
    /// twice is harmless (I6).
    ///
    /// # Errors
    ///
    /// If the database cannot be written. All of them are then still tasks, unless only the answer was lost.
    pub fn ack_cleanup(&self, tasks: &[CleanupTask]) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        let (ids, handles) = columns(tasks.iter());
        let deleted = self.write_tasks(
            Operation::AckCleanup,
            "acknowledge a cleanup",
            move |stack, client| {
                Box::pin(async move {
                    let params: [&(dyn ToSql + Sync); 3] = [&stack.number, &ids, &handles];
                    client.execute("acknowledge a cleanup", &stack.statements.delete_tasks, &params).await
                })
            },
            |cleanup, deleted| cleanup.remove_pending(deleted),
        );
        deleted.map(drop)
    }

    /// Drops the tasks whose handle a newer shape has, given with the sequence number of its add: the stored
    /// data belongs to that shape now. A task stays if its newer shape is not in the database. Returns the
    /// number of tasks that were dropped.
    ///
    /// # Errors
    ///
    /// If the database cannot be written. All of them are then still tasks, unless only the answer was lost.
    pub fn drop_superseded_tasks(&self, tasks: &[(CleanupTask, Seq)]) -> Result<usize> {
        if tasks.is_empty() {
            return Ok(0);
        }
        let (ids, handles) = columns(tasks.iter().map(|(task, _)| task));
        let newer: Vec<_> = tasks.iter().map(|(_, newer)| newer.get().cast_signed()).collect();
        let dropped = self.write_tasks(
            Operation::AckCleanup,
            "drop cleanup tasks",
            move |stack, client| {
                Box::pin(async move {
                    let params: [&(dyn ToSql + Sync); 4] = [&stack.number, &ids, &handles, &newer];
                    client.execute("drop cleanup tasks", &stack.statements.delete_superseded, &params).await
                })
            },
            |cleanup, dropped| cleanup.remove_pending(dropped),
        )?;
        Ok(usize::try_from(dropped).unwrap_or(usize::MAX))
    }

    /// Checks that this store still owns the stack, and makes every removal so far as durable as a cleaner
    /// needs it: with [`ProcessCrash`](crate::Durability::ProcessCrash) a crash of the server would otherwise
    /// bring back shapes whose stored data is deleted. Call it before the stored data of tasks is deleted.
    ///
    /// # Errors
    ///
    /// `Fenced` if the store has lost ownership: its tasks are those of the new owner. Otherwise an error of
    /// the server.
    pub fn confirm_removals(&self) -> Result<()> {
        let _writer = self.lock_writer();
        let durability = self.options.durability.max(crate::Durability::ServerCrash);
        let doing = "make removals durable";
        self.write_with(durability, Operation::AckCleanup, doing, move |transaction| async move {
            // It writes what it has read, so that its commit waits for the disks, and for every commit
            // before.
            let row = transaction.row;
            transaction.commit_as(row).await.map_err(CommitError::into_error)
        })
    }

    /// Makes cleanup tasks of stored data without a shape.
    ///
    /// # Errors
    ///
    /// If the database cannot be written. None of them is then a task, unless only the answer was lost.
    pub fn add_orphans(&self, handles: &[Handle]) -> Result<()> {
        if handles.is_empty() {
            return Ok(());
        }
        let handles: Vec<String> = handles.iter().map(|handle| handle.as_str().to_owned()).collect();
        let doing = "record orphans";
        self.write_tasks(
            Operation::AddOrphans,
            doing,
            move |stack, client| {
                Box::pin(async move {
                    let number = stack.number;
                    let lowest = client.query_opt(doing, &stack.statements.lowest_task, &[&number]).await?;
                    let lowest = lowest.map_or(Ok(0), |found| row::int8(&found, 0))?.min(0);
                    let ids: Vec<_> = (1..=handles.len() as i64).map(|at| lowest - at).collect();
                    let sums: Vec<_> =
                        handles.iter().map(|handle| cleanup::checksum(handle.as_bytes())).collect();
                    let params: [&(dyn ToSql + Sync); 4] = [&number, &ids, &handles, &sums];
                    client.execute(doing, &stack.statements.insert_tasks, &params).await
                })
            },
            |cleanup, added| cleanup.add_pending(added),
        )?;
        self.cleanup.announce();
        Ok(())
    }

    /// Returns those of these handles that have no task, each once. Passes over all tasks, a page of them in
    /// memory at a time: ask for many handles at once.
    ///
    /// # Errors
    ///
    /// Those of [`cleanup_tasks`](Self::cleanup_tasks).
    pub fn without_task(&self, handles: Vec<Handle>) -> Result<Vec<Handle>> {
        if handles.is_empty() {
            return Ok(handles);
        }
        let asked: HashSet<&Handle> = handles.iter().collect();
        let mut known = HashSet::new();
        let mut snapshot = Snapshot::begin(self, Operation::CleanupTasks, "read the cleanup tasks")?;
        snapshot.pages(&self.stack.statements.tasks_after, i64::MIN, |found| {
            let task = cleanup::decode(found)?;
            if asked.contains(task.handle()) {
                known.insert(task.into_handle());
            }
            Ok(())
        })?;
        drop(snapshot);
        Ok(handles.into_iter().filter(|handle| known.insert(handle.clone())).collect())
    }

    /// Returns whether stored data without a shape is known to belong to this stack, so that it can be
    /// deleted. False for a stack that was just created, and for one in a dump that was restored, until
    /// [`trust_storage`](Self::trust_storage).
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub fn is_storage_trusted(&self) -> Result<bool> {
        let statement = &self.stack.statements.trusted_storage;
        let rows = self.read(Operation::CleanupTasks, "read the trusted storage", statement, Vec::new())?;
        let ours = self.stack.opening()?.ours().database;
        rows.first().map_or(Ok(false), |found| {
            Ok(row::bytes(found, 0)? == ours.as_bytes() && row::boolean(found, 1)?)
        })
    }

    /// Records that stored data without a shape belongs to this stack. It is remembered until
    /// [`distrust_storage`](Self::distrust_storage), and until the stack is dropped or restored from a dump.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub fn trust_storage(&self) -> Result<()> {
        let doing = "record that the stored data is trusted";
        let recorded = self.write_tasks(
            Operation::TrustStorage,
            doing,
            move |stack, client| {
                Box::pin(async move {
                    let database = stack.opening()?.ours().database;
                    let params: [&(dyn ToSql + Sync); 2] = [&stack.number, &database.as_bytes()];
                    client.execute(doing, &stack.statements.set_trusted_storage, &params).await
                })
            },
            |_, _| (),
        );
        recorded.map(drop)
    }

    /// Ends the trust in the stored data: it cannot be what this stack has stored.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub fn distrust_storage(&self) -> Result<()> {
        let doing = "record that the stored data is not trusted";
        let recorded = self.write_tasks(
            Operation::TrustStorage,
            doing,
            move |stack, client| {
                Box::pin(async move {
                    client.execute(doing, &stack.statements.delete_trusted_storage, &[&stack.number]).await
                })
            },
            |_, _| (),
        );
        recorded.map(drop)
    }

    /// Runs one statement in a transaction of the owner, and `record` after the commit with the number of
    /// rows that it has changed.
    fn write_tasks(
        &self,
        operation: Operation,
        doing: &'static str,
        work: impl for<'c> FnOnce(&'c Stack, &'c mut Client) -> Executed<'c> + Send + 'static,
        record: impl FnOnce(&CleanupTasks, u64),
    ) -> Result<u64> {
        let _writer = self.lock_writer();
        let changed = self.write(operation, doing, move |mut transaction| async move {
            let stack = Arc::clone(transaction.stack());
            let changed = work(&stack, transaction.client()?).await?;
            transaction.commit().await.map_err(CommitError::into_error)?;
            Ok(changed)
        })?;
        record(&self.cleanup, changed);
        Ok(changed)
    }
}

/// The number of rows that a statement has changed.
type Executed<'c> = std::pin::Pin<Box<dyn Future<Output = Result<u64>> + Send + 'c>>;

fn columns<'t>(tasks: impl Iterator<Item = &'t CleanupTask>) -> (Vec<i64>, Vec<String>) {
    tasks.map(|task| (task.id(), task.handle().as_str().to_owned())).unzip()
}
