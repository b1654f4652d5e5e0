use std::{sync::Arc, time::Instant};

use shape_meta_core::{Activity, Counts, Entry, Handle, RecoveryStats, Result, Seq};

use crate::{
    Durability, PostgresStore,
    connection::{client::CommitError, operation::Operation},
    format::{row, stack_row::StackRow},
    write::{BatchWriter, NetChanges, change_log, transaction::WriteTransaction},
};

/// The result of [`PostgresStore::recover`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The number of complete shapes, which stay.
    pub valid: u64,
    /// The shapes that were removed because their snapshot was not complete, oldest first.
    pub removed: Vec<Handle>,
    /// The number of shapes whose stored data is not deleted yet: the removed ones, and earlier ones whose
    /// cleanup was not acknowledged. See [`PostgresStore::cleanup_tasks`].
    pub cleanup_tasks: u64,
}

const DOING: &str = "recover the stack";

impl PostgresStore {
    /// Removes the shapes whose snapshot is not complete. The same transaction makes cleanup tasks of them
    /// (C12).
    ///
    /// Call it once after the open and before any mutation. Then delete the stored data of the
    /// [`cleanup_tasks`](Self::cleanup_tasks), and acknowledge that with [`ack_cleanup`](Self::ack_cleanup).
    ///
    /// Reads only the rows of incomplete shapes. Others are verified when they are read: all of them, when a
    /// cache loads.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the row of an incomplete shape is damaged. Otherwise an error of the server; then nothing
    /// has changed, or only the answer was lost. Recovering again is harmless.
    pub fn recover(&self) -> Result<Recovery> {
        let started = Instant::now();
        let recovery = Activity::Recovery.observed(&*self.observer, || self.recover_once())?;
        self.observer.recovered(&RecoveryStats {
            valid: recovery.valid,
            removed: recovery.removed.len(),
            took: started.elapsed(),
        });
        Ok(recovery)
    }

    fn recover_once(&self) -> Result<Recovery> {
        let writer = self.lock_writer();
        let cleanup_tasks = self.cleanup.is_enabled();
        let work = move |transaction| remove_incomplete(transaction, cleanup_tasks);
        // A crash of the server must not undo it: this store knows nothing of the removed shapes any more,
        // and could not go on.
        let durability = self.options.durability.max(Durability::ServerCrash);
        let Removed { last_seq, counts, removed, tasks } =
            self.write_with(durability, Operation::Recover, DOING, work)?;
        self.stack.opening()?.confirm(last_seq, counts.total);
        self.set_cached_counts(counts);
        self.cleanup.set_pending(tasks);
        drop(writer);
        Ok(Recovery { valid: counts.total, removed, cleanup_tasks: tasks })
    }
}

struct Removed {
    last_seq: Seq,
    counts: Counts,
    removed: Vec<Handle>,
    tasks: u64,
}

async fn remove_incomplete(mut transaction: WriteTransaction, cleanup_tasks: bool) -> Result<Removed> {
    let (stack, row) = (Arc::clone(transaction.stack()), transaction.row);
    let number = stack.number;
    let client = transaction.client()?;
    let incomplete = client.query(DOING, &stack.statements.incomplete, &[&number]).await?;
    let incomplete: Vec<Arc<Entry>> =
        incomplete.iter().map(|found| Ok(Arc::new(row::entry(found, |_| None)?))).collect::<Result<_>>()?;
    let removed = incomplete.iter().map(|entry| entry.handle().clone()).collect();
    let net = NetChanges::removal(incomplete, row.last_seq);
    let written = BatchWriter::new(&stack, client, &row, cleanup_tasks, false).write(&net).await?;
    change_log::append(&stack, client, row.last_seq, &written.logged).await?;
    // The stored data of a live shape must not be cleaned, although its handle was once recorded.
    client.execute(DOING, &stack.statements.delete_superseded_by_complete, &[&number]).await?;
    let tasks = client.query_opt(DOING, &stack.statements.count_tasks, &[&number]).await?;
    let tasks = tasks.map_or(Ok(0), |found| row::int8(&found, 0))?.cast_unsigned();
    let new = StackRow { counts: written.counts, ..row };
    transaction.commit_as(new).await.map_err(CommitError::into_error)?;
    Ok(Removed { last_seq: new.last_seq, counts: new.counts, removed, tasks })
}
