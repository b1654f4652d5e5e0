use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use shape_meta_core::{ApplyChanges, Batch, Entry, Known, Record, Repaired, Result, Seq, Usage};

use crate::{
    SqliteStore, error::failed, meta::Meta, operation::Operation, query::one, row, sql, write::Writing,
};

#[deny(clippy::missing_trait_methods)]
impl ApplyChanges for SqliteStore {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.connections.write(Operation::Apply, |connection| {
            commit(self, connection, batch)?;
            // While the connection is still ours, so that batches arrive here in their order.
            self.recency.apply(batch);
            Ok(())
        })?;
        self.maintain_hourly();
        Ok(())
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.connections.read(Operation::Load, |connection| {
            let (transaction, meta, last_reads) = self.recency.in_one_moment(|| {
                let transaction = connection.unchecked_transaction().map_err(failed("load the shapes"))?;
                let meta = Meta::read(&transaction)?;
                Ok((transaction, meta, self.recency.snapshot()))
            })?;
            let mut statement = transaction.prepare_cached(sql::LOAD).map_err(failed("load the shapes"))?;
            let mut rows = statement.query([]).map_err(failed("load the shapes"))?;
            while let Some(row) = rows.next().map_err(failed("load the shapes"))? {
                each(Arc::new(row::entry(row, |id| last_reads.last_read(id))?));
            }
            Ok(meta.last_seq)
        })
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        let Ok(id) = i64::try_from(entry.created().get()) else { return Ok(None) };
        self.connections.read(Operation::RecordOf, |connection| {
            one(connection, sql::DEFINITION, [id], |found| {
                Ok(Arc::new(row::record(found, 0, Arc::clone(entry))?))
            })
        })
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        usage.shapes = Some(self.counts_known());
        usage.connections = Some(self.connections.usage());
        usage
    }

    fn repair(&self, known: Known<'_>) -> Result<Repaired> {
        self.repair_for(None, known)
    }
}

/// One transaction for the whole batch (I1).
fn commit(store: &SqliteStore, connection: &mut Connection, batch: &Batch) -> Result<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("begin a batch"))?;
    let mut meta = Meta::read(&transaction)?;
    meta.check_owner(store.report.epoch)?;
    if batch.through <= meta.last_seq {
        // Committed already, by an attempt that seemed to fail (I6).
        store.note_counts(meta.counts);
        return Ok(());
    }
    let mut writing = Writing::new(&transaction, store.lookups(), meta.counts)?;
    for change in &batch.changes {
        writing.change(change)?;
    }
    meta.counts = writing.finish()?;
    meta.last_seq = batch.through;
    meta.write(&transaction)?;
    transaction.commit().map_err(failed("commit a batch"))?;
    store.note_counts(meta.counts);
    Ok(())
}
