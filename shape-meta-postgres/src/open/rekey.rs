//! Re-keys all shapes of a stack.

use std::sync::Arc;

use shape_meta_core::{
    Batch, Change, Entry, Record, Rekey, Result, Seq, Stamp, StampOutcome, Timestamp,
    store_parts::{RekeyPass, SavedReads, StoredTime},
};
use tokio_postgres::{Row, types::ToSql};

use crate::{
    PostgresStore,
    connection::{client::CommitError, operation::Operation},
    format::{row, stack_row::StackRow, stamp},
    read::scan::RecordPages,
    write::{BatchWriter, NetChanges, change_log, transaction::WriteTransaction},
};

const DOING: &str = "re-key the shapes";

impl PostgresStore {
    /// Gives each shape the definition that the application has for it now, and writes the stamp, in one
    /// transaction. If it does not commit, nothing has changed, and the next open begins anew: no process
    /// ever finds a part of it.
    ///
    /// The transaction locks the row of the stack, so no process becomes the owner meanwhile. The lease is
    /// renewed on another connection, which does not wait for that lock. The function of the application runs
    /// on this thread, between two statements.
    pub(super) fn rekey_shapes(&mut self, found: Stamp, next: Stamp, rekey: &Rekey) -> Result<()> {
        let writer = self.lock_writer();
        let (transaction, mut checkout) = self.begin_write(Operation::Recover, DOING)?;
        let set_locked = |is_locked| self.stack.holding().map(|holding| holding.set_locked(is_locked));
        set_locked(true);
        let outcome = self.run_pass(transaction, RekeyPass::new(found, rekey), next);
        set_locked(false);
        let (done, outcome) = self.noting(outcome.inspect_err(|error| checkout.failed(error)))?;
        drop((checkout, writer));
        let Done { row, tasks, reads } = done;
        self.stack.opening()?.confirm(row.last_seq, row.counts.total);
        if let Some(holding) = self.stack.holding() {
            holding.announce(self.stack.number, row.last_seq);
        }
        self.recency.restart(row.last_seq, reads);
        self.set_cached_counts(row.counts);
        self.cleanup.add_pending(tasks);
        (self.report.counts, self.report.last_seq) = (row.counts, row.last_seq);
        self.report.stamp = outcome;
        Ok(())
    }

    fn run_pass(
        &self,
        transaction: WriteTransaction,
        mut decisions: RekeyPass<'_>,
        next: Stamp,
    ) -> Result<(Done, StampOutcome)> {
        let runtime = self.runtime()?;
        let mut pass = Pass {
            pages: RecordPages::new(&self.stack.statements.inspected_after),
            through: transaction.row.last_seq,
            row: transaction.row,
            cleanup_tasks: self.cleanup.is_enabled(),
            tasks: 0,
            transaction,
        };
        let (mut reads, now) = (SavedReads::default(), Timestamp::now());
        loop {
            let (read, shapes, more) = runtime.run(pass.read())?;
            pass = read;
            // A shape without a saved time counts as read at the opening that found it first.
            let first_seen_at = |id| self.recency.first_seen_at(id);
            let page = match Page::of(shapes, &mut decisions, pass.row.last_seq, first_seen_at) {
                Ok(page) => page,
                Err(error) => {
                    runtime.run(pass.roll_back())?;
                    return Err(error);
                }
            };
            reads.extend(page.reads.iter().map(|(id, at)| (*id, StoredTime::new(*at, now))));
            pass = runtime.run(pass.write(page))?;
            if !more {
                break;
            }
        }
        let (row, tasks) = runtime.run(pass.commit(next))?;
        Ok((Done { row, tasks, reads }, decisions.into_outcome()))
    }
}

/// What a pass has committed.
struct Done {
    row: StackRow,
    /// The number of new cleanup tasks.
    tasks: u64,
    reads: SavedReads,
}

/// A shape as it was, with its saved last-read time.
struct OldShape {
    record: Record,
    last_read: Option<Timestamp>,
}

/// What becomes of a page of shapes.
struct Page {
    /// The removals of old shapes, and the adds of those in their places.
    replaced: Vec<Change>,
    removed: Vec<Arc<Entry>>,
    /// The last-read times of new shapes.
    reads: Vec<(Seq, Timestamp)>,
    /// The sequence number of the last new shape.
    through: Seq,
}

impl Page {
    fn of(
        shapes: Vec<OldShape>,
        decisions: &mut RekeyPass<'_>,
        last_seq: Seq,
        first_seen_at: impl Fn(Seq) -> Option<Timestamp>,
    ) -> Result<Self> {
        let (mut replaced, mut removed, mut reads, mut through) =
            (Vec::new(), Vec::new(), Vec::new(), last_seq);
        for OldShape { record, last_read } in shapes {
            let entry = Arc::clone(&record.entry);
            let created = Seq::new(through.get() + 1);
            let Some(new) = decisions.replacement(&record, created)? else {
                removed.push(entry);
                continue;
            };
            through = created;
            if let Some(at) = last_read.or_else(|| first_seen_at(entry.created())) {
                reads.push((created, at));
            }
            let state = entry.state();
            replaced.extend([Change::Remove { entry }, Change::Add { record: Arc::new(new), state }]);
        }
        Ok(Self { replaced, removed, reads, through })
    }
}

/// A pass over the shapes, in the order of creation, which the new ones keep.
struct Pass {
    transaction: WriteTransaction,
    pages: RecordPages,
    /// The last sequence number of an old shape.
    through: Seq,
    /// The state of the stack after the pages so far.
    row: StackRow,
    /// Whether removed shapes leave cleanup tasks (C12).
    cleanup_tasks: bool,
    tasks: u64,
}

impl Pass {
    /// Returns the next page of old shapes, and whether there may be more.
    async fn read(mut self) -> Result<(Self, Vec<OldShape>, bool)> {
        match self.next_page().await {
            Ok((shapes, more)) => Ok((self, shapes, more)),
            Err(error) => self.fail(error).await,
        }
    }

    /// Writes what becomes of a page.
    async fn write(mut self, page: Page) -> Result<Self> {
        match self.write_page(page).await {
            Ok(()) => Ok(self),
            Err(error) => self.fail(error).await,
        }
    }

    /// Writes the stamp and commits. Returns the state of the stack, and the number of new cleanup tasks.
    async fn commit(mut self, next: Stamp) -> Result<(StackRow, u64)> {
        if let Err(error) = self.write_stamp(&next).await {
            return self.fail(error).await;
        }
        let Self { transaction, row, tasks, .. } = self;
        transaction.commit_as(row).await.map_err(CommitError::into_error)?;
        Ok((row, tasks))
    }

    async fn roll_back(mut self) -> Result<()> {
        self.transaction.roll_back().await;
        Ok(())
    }

    async fn fail<T>(mut self, error: shape_meta_core::Error) -> Result<T> {
        self.transaction.roll_back().await;
        Err(error)
    }

    async fn next_page(&mut self) -> Result<(Vec<OldShape>, bool)> {
        let (stack, through) = (self.transaction.stack().number, self.through);
        let decode = |found: &Row| {
            // The new shapes come after the old ones.
            if row::seq(row::int8(found, 0)?) > through {
                return Ok(None);
            }
            let entry = Arc::new(row::entry(found, |_| None)?);
            let record = row::record(found, row::DEFINITION, entry)?;
            let last_read = row::optional_int8(found, row::DEFINITION + row::DEFINITION_COLUMNS)?;
            let last_read = last_read.map(|at| Timestamp::from_micros(at.cast_unsigned()));
            Ok(Some(OldShape { record, last_read }))
        };
        let size = |old: &Option<OldShape>| old.as_ref().map_or(0, |old| old.record.memory());
        let client = self.transaction.client()?;
        let (page, more) = self.pages.read_in(client, DOING, stack, decode, size).await?;
        let rows = page.len();
        let shapes: Vec<_> = page.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
        let more = more && shapes.len() == rows;
        Ok((shapes, more))
    }

    async fn write_page(&mut self, page: Page) -> Result<()> {
        let Page { replaced, removed, reads, through } = page;
        if !replaced.is_empty() {
            // Without cleanup tasks: the stored data belongs to the handle, which the new shape has.
            let net = NetChanges::of(&Batch { changes: replaced, through })?;
            self.write_net(&net, false).await?;
        }
        if !removed.is_empty() {
            self.write_net(&NetChanges::removal(removed, through), self.cleanup_tasks).await?;
        }
        if !reads.is_empty() {
            let stack = Arc::clone(self.transaction.stack());
            let now = Timestamp::now();
            let id_and_time =
                |(id, at): (Seq, Timestamp)| (id.get().cast_signed(), at.min(now).as_micros().cast_signed());
            let (ids, times): (Vec<i64>, Vec<i64>) = reads.into_iter().map(id_and_time).unzip();
            let now = now.as_micros().cast_signed();
            let params: [&(dyn ToSql + Sync); 4] = [&stack.number, &ids, &times, &now];
            self.transaction.client()?.execute(DOING, &stack.statements.save_reads, &params).await?;
        }
        Ok(())
    }

    async fn write_net(&mut self, net: &NetChanges, cleanup_tasks: bool) -> Result<()> {
        let stack = Arc::clone(self.transaction.stack());
        let client = self.transaction.client()?;
        let written = BatchWriter::new(&stack, client, &self.row, cleanup_tasks, false).write(net).await?;
        change_log::append(&stack, client, net.through, &written.logged).await?;
        self.row = StackRow { last_seq: net.through, counts: written.counts, ..self.row };
        self.tasks += written.tasks;
        Ok(())
    }

    async fn write_stamp(&mut self, next: &Stamp) -> Result<()> {
        let stack = Arc::clone(self.transaction.stack());
        stamp::write(self.transaction.client()?, &stack.statements, stack.number, next).await
    }
}
