//! What an open does about the stamp of a stack.

use std::sync::Arc;

use shape_meta_core::{Batch, Change, Counts, OnOtherStamp, Rekey, Result, Stamp, StampCheck, StampOutcome};

use crate::{
    PostgresStore,
    connection::{
        client::{Client, CommitError},
        operation::Operation,
    },
    format::{stack_row::StackRow, stamp, statements::Statements},
    write::{BatchWriter, NetChanges, change_log, transaction::WriteTransaction},
};

const DOING: &str = "remove the shapes of another stamp";

/// What is to be done about the stamp that an open has found.
pub(crate) enum Plan {
    /// Nothing.
    Nothing,
    /// The stamp of the application is written. The stack has this one, or none.
    Record { found: Option<Stamp>, stamp: Stamp },
    /// All shapes are removed, which have this stamp.
    RemoveAll { found: Stamp, stamp: Stamp },
    /// All shapes are re-keyed, which have this stamp.
    Rekey { found: Stamp, stamp: Stamp, rekey: Rekey },
}

/// Reads the stamp, in the transaction that takes the ownership, and plans what to do about it.
///
/// # Errors
///
/// `OtherStamp` if the stack is refused, which then stays as it is.
pub(crate) async fn plan(
    client: &mut Client,
    statements: &Statements,
    stack: i64,
    check: Option<&StampCheck>,
) -> Result<Plan> {
    let Some(check) = check else { return Ok(Plan::Nothing) };
    let stamp = check.stamp().clone();
    let Some(found) = stamp::read(client, statements, stack).await? else {
        return Ok(Plan::Record { found: None, stamp });
    };
    match check.reaction(&found) {
        None => Ok(Plan::Nothing),
        Some(OnOtherStamp::Keep) => Ok(Plan::Record { found: Some(found), stamp }),
        Some(OnOtherStamp::RemoveAll) => Ok(Plan::RemoveAll { found, stamp }),
        Some(OnOtherStamp::Rekey(rekey)) => Ok(Plan::Rekey { found, stamp, rekey: rekey.clone() }),
        Some(_) => Err(check.refusal(&found)),
    }
}

impl PostgresStore {
    /// Does what was planned, in one transaction. After a crash the next open plans it again.
    pub(crate) fn apply_stamp(&mut self, plan: Plan) -> Result<()> {
        let (found, stamp, removes) = match plan {
            Plan::Nothing => return Ok(()),
            Plan::Record { found, stamp } => (found, stamp, false),
            Plan::RemoveAll { found, stamp } => (Some(found), stamp, true),
            Plan::Rekey { found, stamp, rekey } => return self.rekey_shapes(found, stamp, &rekey),
        };
        let cleanup_tasks = self.cleanup.is_enabled();
        let writer = self.lock_writer();
        let work = move |transaction| write_stamp(transaction, stamp, removes, cleanup_tasks);
        let (before, after, tasks) = self.write(Operation::Recover, DOING, work)?;
        self.stack.opening()?.confirm(self.report.last_seq, after.total);
        drop(writer);
        self.set_cached_counts(after);
        self.cleanup.add_pending(tasks);
        self.report.counts = after;
        self.report.stamp = match (found, removes) {
            (None, _) => StampOutcome::Recorded,
            (Some(found), false) => StampOutcome::Kept { found },
            (Some(found), true) => StampOutcome::RemovedAll { found, removed: before.total },
        };
        Ok(())
    }
}

/// Writes the stamp, and removes all shapes if that is wanted. Returns the counts before and after, and the
/// number of new cleanup tasks.
async fn write_stamp(
    mut transaction: WriteTransaction,
    stamp: Stamp,
    removes: bool,
    cleanup_tasks: bool,
) -> Result<(Counts, Counts, u64)> {
    let (stack, row) = (Arc::clone(transaction.stack()), transaction.row);
    let client = transaction.client()?;
    let (mut counts, mut tasks) = (row.counts, 0);
    if removes {
        let batch = Batch { changes: vec![Change::Reset], through: row.last_seq };
        let net = NetChanges::of(&batch)?;
        let written = BatchWriter::new(&stack, client, &row, cleanup_tasks, false).write(&net).await?;
        // As a recovery, it takes no sequence number.
        change_log::append(&stack, client, row.last_seq, &written.logged).await?;
        (counts, tasks) = (written.counts, written.tasks);
    }
    stamp::write(client, &stack.statements, stack.number, &stamp).await?;
    transaction.commit_as(StackRow { counts, ..row }).await.map_err(CommitError::into_error)?;
    Ok((row.counts, counts, tasks))
}
