use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use shape_meta_core::{
    Batch, ChangeLog, Delta, Entry, LastReadStore, RebuildStore, Record, Repaired, Result, Seq, ShapeStore,
    SweepProgress, Timestamp, TrustedState, Usage,
};

use crate::{
    SqliteStore,
    connection::operation::Operation,
    error::failed,
    format::{block::BlockReader, cleanup, meta::Meta, query::one, row, sql},
    read::{
        last_reads,
        preload::{self, each_entry},
    },
    write::{batch::BatchWriter, change_log},
};

#[deny(clippy::missing_trait_methods)]
impl ShapeStore for SqliteStore {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.preload.discard();
        self.connections.write(Operation::Apply, |connection| {
            commit(self, connection, batch)?;
            // Under the lock of the writer, so that batches are applied here in the order of their commits.
            self.recency.apply(batch);
            Ok(())
        })?;
        self.connections.confirm(batch.through);
        self.testify(batch.through);
        self.cleanup.announce();
        self.maintain_hourly();
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        self.apply(batch)
    }

    /// Does nothing: reads show what is committed.
    fn publish(&self, _: &Batch) {}

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.load_at(each, |_, _| Ok(()))
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        let Ok(id) = i64::try_from(entry.created().get()) else { return Ok(None) };
        self.connections.read(Operation::RecordOf, |connection| {
            // A block may have removed shapes.
            let found = one(connection, sql::DEFINITION, [id], |found| {
                row::find_record(found, 0, Arc::clone(entry), &mut BlockReader::default())
            })?;
            // A removal deletes both rows, and no row id is given twice: a shape that is still there now was
            // there before.
            match found.flatten() {
                Some(record) => Ok(Some(Arc::new(record))),
                None if one(connection, sql::HAS_SHAPE, [id], |_| Ok(()))?.is_some() => {
                    Err(row::missing_definition(id))
                }
                None => Ok(None),
            }
        })
    }

    fn claim_unread(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        self.recency.claim_unread(entry, since)
    }

    fn release_claim(&self, entry: &Arc<Entry>) {
        self.recency.release_claim(entry);
    }

    /// The ownership has no lease.
    fn check_lease(&self) -> Result<()> {
        Ok(())
    }

    fn resource_usage(&self) -> Usage {
        let mut usage = Usage::default();
        usage.shapes = Some(self.cached_counts());
        usage.connections = Some(self.connections.usage());
        usage.cleanup_tasks = Some(self.cleanup.pending());
        (usage.database_bytes, usage.wal_bytes) = self.connections.file_sizes().unzip();
        usage
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self)
    }
}

impl ChangeLog for SqliteStore {
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        self.since_at(seq, |_, _| Ok(true))
    }
}

impl SqliteStore {
    /// Loads all shapes. `observe` is called with the state of the database in the same read transaction.
    pub(crate) fn load_at(
        &self,
        each: &mut dyn FnMut(Arc<Entry>),
        observe: impl Fn(&Connection, &Meta) -> Result<()>,
    ) -> Result<Seq> {
        self.connections.read(Operation::Load, |connection| {
            let transaction = connection.unchecked_transaction().map_err(failed("load the shapes"))?;
            let meta = Meta::read(&transaction)?;
            if let Some((last_seq, entries)) = self.preload.take(&meta) {
                observe(&transaction, &meta)?;
                entries.into_iter().for_each(each);
                return Ok(last_seq);
            }
            drop(transaction);
            let (transaction, meta, last_reads) = self.recency.read_consistently(|removed| {
                let transaction = connection.unchecked_transaction().map_err(failed("load the shapes"))?;
                let meta = Meta::read(&transaction)?;
                Ok((transaction, meta, self.recency.snapshot(removed)))
            })?;
            observe(&transaction, &meta)?;
            let mut rows = 0;
            each_entry(&transaction, preload::ALL, Some(&last_reads), |entry| {
                rows += 1;
                each(Arc::new(entry));
            })?;
            meta.check_total(rows)?;
            Ok(meta.last_seq)
        })
    }

    /// Returns the changes after `seq`, or `None` if `is_of_line`, which is called with the state of the
    /// database in the same read transaction, returns false.
    pub(crate) fn since_at(
        &self,
        seq: Seq,
        is_of_line: impl FnOnce(&Connection, &Meta) -> Result<bool>,
    ) -> Result<Option<Delta>> {
        self.preload.discard();
        // An owner recovers only at its open. A standby does not know when its owner was opened again.
        let recovers_later = self.connections.settings().standby || seq <= self.report.last_seq;
        let from = if recovers_later { seq } else { seq.next() };
        self.connections.read(Operation::ChangesSince, |connection| {
            let transaction = connection.unchecked_transaction().map_err(failed("read the change log"))?;
            match is_of_line(&transaction, &Meta::read(&transaction)?)? {
                true => change_log::since(&transaction, seq, from),
                false => Ok(None),
            }
        })
    }
}

impl LastReadStore for SqliteStore {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        let doing = "save the last reads";
        self.connections.write(Operation::SaveReads, |connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(failed(doing))?;
            self.connections.check_owner(&Meta::read(&transaction)?)?;
            last_reads::save(&transaction, reads)?;
            transaction.commit().map_err(failed(doing))
        })
    }

    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        self.connections.read(Operation::SavedReads, |connection| {
            last_reads::saved(connection, &mut |id, read| each(id, read.at))
        })
    }

    fn sweep(&self) -> Result<SweepProgress> {
        let (reads, more) = self.recency.take_unsaved();
        if !reads.is_empty() {
            self.save(&reads).inspect_err(|_| self.recency.mark_unsaved(&reads))?;
        }
        Ok(SweepProgress { shapes: reads.len(), more })
    }
}

impl RebuildStore for SqliteStore {
    fn rebuild(&self, trusted: TrustedState<'_>) -> Result<Repaired> {
        self.repair_for(None, trusted)
    }
}

/// Commits a batch in one transaction (I1).
fn commit(store: &SqliteStore, connection: &mut Connection, batch: &Batch) -> Result<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("begin a batch"))?;
    let mut meta = Meta::read(&transaction)?;
    store.connections.check_owner(&meta)?;
    if batch.through <= meta.last_seq {
        // An earlier attempt, which seemed to fail, has committed it (I6).
        store.set_cached_counts(meta.counts);
        store.cleanup.set_pending(cleanup::count(&transaction)?);
        return Ok(());
    }
    let mut writer = BatchWriter::new(&transaction, store.disk_indexes(), &meta)?
        .with_cleanup_tasks(store.cleanup.is_enabled());
    for change in &batch.changes {
        writer.apply(change)?;
    }
    let tasks = writer.tasks();
    let changed;
    (meta.counts, changed) = writer.finish()?;
    change_log::append(&transaction, batch.through, &changed, &store.change_log_size)?;
    meta.last_seq = batch.through;
    meta.write(&transaction)?;
    transaction.commit().map_err(failed("commit a batch"))?;
    store.cleanup.add_pending(tasks);
    store.set_cached_counts(meta.counts);
    Ok(())
}
