use std::sync::Arc;

use shape_meta_core::{
    Batch, ChangeLog, Counts, Entry, Error, ErrorKind, LastReadStore, RebuildStore, Record, Result, Seq,
    ShapeStore, Timestamp, Usage,
};
use tokio_postgres::error::SqlState;

use crate::{
    Durability, PostgresStore,
    connection::{client::CommitError, operation::Operation},
    error::code_of,
    format::{row, stack_row::StackRow},
    lease::Holding,
    stack::Stack,
    write::{BatchWriter, NetChanges, change_log, columns::Columns, transaction::WriteTransaction},
};

#[deny(clippy::missing_trait_methods)]
impl ShapeStore for PostgresStore {
    fn apply(&self, batch: &Batch) -> Result<()> {
        let commit = Commit {
            net: Arc::new(NetChanges::of(batch)?),
            durability: self.options.durability,
            cleanup_tasks: self.cleanup.is_enabled(),
        };
        let writer = self.lock_writer();
        let committed = self.write(Operation::Apply, DOING, move |transaction| commit.run(transaction))?;
        self.stack.opening()?.confirm(batch.through, committed.counts.total);
        if let Some(holding) = self.stack.holding() {
            holding.announce(self.stack.number, batch.through);
        }
        self.set_cached_counts(committed.counts);
        match committed.tasks {
            Tasks::Added(tasks) => self.cleanup.add_pending(tasks),
            Tasks::Counted(tasks) => self.cleanup.set_pending(tasks),
        }
        // Under the lock of the writer, so that batches are applied here in the order of their commits.
        self.recency.apply(batch);
        drop(writer);
        self.cleanup.announce();
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.apply(batch)
    }

    /// Does nothing: reads show what is committed.
    fn publish(&self, _: &Batch) {}

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        let loaded = self.load_all(each);
        self.noting(loaded)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        let Ok(id) = i64::try_from(entry.created().get()) else { return Ok(None) };
        let statements = &self.stack.statements;
        // The second one finds out whether a shape without a definition is live.
        for statement in [&statements.definition, &statements.definition_of_live] {
            let rows = self.read(Operation::RecordOf, "read a definition", statement, vec![Box::new(id)])?;
            if let Some(found) = rows.first() {
                return self.noting(row::record(found, 0, Arc::clone(entry))).map(|one| Some(Arc::new(one)));
            }
        }
        Ok(None)
    }

    fn claim_unread(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        self.recency.claim_unread(entry, since)
    }

    fn release_claim(&self, entry: &Arc<Entry>) {
        self.recency.release_claim(entry);
    }

    fn check_lease(&self) -> Result<()> {
        self.stack.holding().map_or(Ok(()), Holding::check)
    }

    fn resource_usage(&self) -> Usage {
        let mut usage = Usage::default();
        usage.shapes = Some(self.cached_counts());
        usage.connections = Some(self.pool.usage());
        usage.cleanup_tasks = Some(self.cleanup.pending());
        usage
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }

    /// The tables are repaired by the means of the server: a backup, or a standby server.
    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        None
    }
}

const DOING: &str = "commit a batch";

/// A batch that is to be committed in one transaction (I1).
#[derive(Clone)]
struct Commit {
    net: Arc<NetChanges>,
    durability: Durability,
    cleanup_tasks: bool,
}

struct Committed {
    counts: Counts,
    tasks: Tasks,
}

enum Tasks {
    Added(u64),
    /// The number of all tasks, where it is not known which attempt has written them.
    Counted(u64),
}

/// What to do after an attempt that has committed nothing for certain.
enum Failure {
    /// Reports the error.
    Report(Error),
    /// Tries again in the way that is always possible: a fast one is not supported, or a row is there
    /// already.
    Again,
    /// Finds out whether it has committed.
    Settle(Error),
}

impl Commit {
    async fn run(self, transaction: WriteTransaction) -> Result<Committed> {
        let stack = Arc::clone(transaction.stack());
        let failure = match self.attempt(transaction, true).await {
            Err(Failure::Again) => {
                let transaction = WriteTransaction::begin(&stack, self.durability, DOING).await?;
                self.attempt(transaction, false).await
            }
            outcome => outcome,
        };
        match failure {
            Ok(committed) => Ok(committed),
            Err(Failure::Settle(error)) => self.settle(&stack, error).await,
            Err(Failure::Report(error))
                if error.kind() == ErrorKind::Rejected && error.rejected_seq().is_none() =>
            {
                Err(self.name_rejected(&stack, error).await)
            }
            Err(Failure::Report(error)) => Err(error),
            Err(Failure::Again) => Err(Error::closed()),
        }
    }

    /// Writes the batch. `fast` allows ways that fail if a shape is there already.
    async fn attempt(&self, mut transaction: WriteTransaction, fast: bool) -> Result<Committed, Failure> {
        let stack = Arc::clone(transaction.stack());
        let row = transaction.row;
        if self.net.through <= row.last_seq {
            // An earlier attempt, which seemed to fail, has committed it (I6).
            return self.confirm(transaction).await.map_err(|error| Failure::Settle(error.into_error()));
        }
        if fast && self.net.is_small_add(&row) {
            return self.add_at_once(transaction).await;
        }
        let written = async {
            let client = transaction.client()?;
            let writer = BatchWriter::new(&stack, client, &row, self.cleanup_tasks, fast);
            let written = writer.write(&self.net).await?;
            change_log::append(&stack, client, self.net.through, &written.logged).await?;
            Ok(written)
        };
        let written = match written.await {
            Ok(written) => written,
            Err(error) => {
                transaction.roll_back().await;
                return Err(if fast && fails_without_reason(&error) {
                    Failure::Again
                } else {
                    Failure::Report(error)
                });
            }
        };
        let new = StackRow { last_seq: self.net.through, counts: written.counts, ..row };
        match transaction.commit_as(new).await {
            Ok(()) => Ok(Committed { counts: written.counts, tasks: Tasks::Added(written.tasks) }),
            Err(CommitError::Refused(error)) => Err(Failure::Report(error)),
            Err(CommitError::Unknown(error)) => Err(Failure::Settle(error)),
        }
    }

    /// Writes a batch that only adds shapes by one statement, with which the commit is sent.
    async fn add_at_once(&self, transaction: WriteTransaction) -> Result<Committed, Failure> {
        let mut new = StackRow { last_seq: self.net.through, ..transaction.row };
        self.net.added.iter().for_each(|(record, _)| new.counts.add(record.entry.is_indexed()));
        match transaction.commit_adds(new, &Columns::of(&self.net.added)).await {
            Ok(()) => Ok(Committed { counts: new.counts, tasks: Tasks::Added(0) }),
            Err(CommitError::Refused(error)) if fails_without_reason(&error) => Err(Failure::Again),
            Err(CommitError::Refused(error)) => Err(Failure::Report(error)),
            Err(CommitError::Unknown(error)) => Err(Failure::Settle(error)),
        }
    }

    /// Finds out whether an attempt has committed whose answer is lost. The lock of the row waits until the
    /// server has ended the transaction of that attempt, so the answer is final.
    async fn settle(&self, stack: &Arc<Stack>, lost: Error) -> Result<Committed> {
        let Ok(mut transaction) = WriteTransaction::begin(stack, self.durability, "settle a commit").await
        else {
            // The caller tries again later, which settles it.
            return Err(lost);
        };
        if transaction.row.last_seq < self.net.through {
            transaction.roll_back().await;
            return Err(lost);
        }
        self.confirm(transaction).await.map_err(CommitError::into_error)
    }

    /// Confirms what an earlier attempt has committed. Its commit may not have waited for the disks: writing
    /// after it, with the same durability, does.
    async fn confirm(&self, mut transaction: WriteTransaction) -> Result<Committed, CommitError> {
        let (stack, row) = (Arc::clone(transaction.stack()), transaction.row);
        let counted = async {
            let client = transaction.client()?;
            let found = client.query_opt(DOING, &stack.statements.count_tasks, &[&stack.number]).await?;
            found.map_or(Ok(0), |found| row::int8(&found, 0))
        };
        let tasks = match counted.await {
            Ok(tasks) => Tasks::Counted(tasks.cast_unsigned()),
            Err(error) => return Err(CommitError::Refused(error)),
        };
        transaction.commit_as(row).await?;
        Ok(Committed { counts: row.counts, tasks })
    }

    /// Finds the first change that the server rejects, in transactions that are rolled back, and names it in
    /// the error. So the rest of the batch is still committed in one transaction (C8).
    async fn name_rejected(&self, stack: &Arc<Stack>, error: Error) -> Error {
        let (mut accepted, mut rejected) = (0, self.net.added.len());
        while accepted + 1 < rejected {
            let middle = accepted.midpoint(rejected);
            match self.probe(stack, middle).await {
                Ok(()) => accepted = middle,
                Err(error) if error.kind() == ErrorKind::Rejected => rejected = middle,
                Err(_) => return error,
            }
        }
        // The other changes alone may be the reason.
        if accepted == 0 && (rejected == 0 || self.probe(stack, 0).await.is_err()) {
            return error;
        }
        match self.net.added.get(rejected - 1) {
            Some((record, _)) => error.with_rejected_seq(record.entry.created()),
            None => error,
        }
    }

    /// Writes the batch with only the first `added` shapes, and rolls it back.
    async fn probe(&self, stack: &Arc<Stack>, added: usize) -> Result<()> {
        let net = NetChanges {
            reset: self.net.reset,
            added: self.net.added[..added].to_vec(),
            removed: self.net.removed.clone(),
            marked: self.net.marked.clone(),
            discarded: Vec::new(),
            through: self.net.through,
        };
        let mut transaction = WriteTransaction::begin(stack, self.durability, DOING).await?;
        let row = transaction.row;
        let client = transaction.client()?;
        let written = BatchWriter::new(stack, client, &row, false, false).write(&net).await;
        transaction.roll_back().await;
        written.map(drop)
    }
}

/// Whether a failure of a fast way to add shapes says nothing about the batch.
fn fails_without_reason(error: &Error) -> bool {
    code_of(error).is_some_and(|code| {
        [SqlState::UNIQUE_VIOLATION, SqlState::FEATURE_NOT_SUPPORTED, SqlState::SYNTAX_ERROR].contains(code)
    })
}
