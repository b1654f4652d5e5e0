use std::{collections::HashSet, sync::Arc, time::Instant};

use rusqlite::{Connection, TransactionBehavior};
use shape_meta_core::{Activity, ErrorKind, Handle, RecoveryStats, Repaired, Result, TrustedState};

use crate::{
    OnCorruption, SqliteStore,
    connection::{operation::Operation, settings},
    error::failed,
    format::{meta::Meta, to_clean},
    read::preload::each_entry,
    write::{batch::BatchWriter, change_log},
};

/// Bytes of pages that are enough to walk through a table.
const SCANNING: u64 = 256 << 10;
/// What the database says of the number of its shapes is believed up to here, before they are counted.
const MOST_AT_ONCE: usize = 1 << 20;

/// What [`SqliteStore::recover`] found and did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// How many shapes are valid, and stay.
    pub valid: u64,
    /// Those that were removed now, because their snapshot was not complete, in the order of creation.
    pub removed: Vec<Handle>,
    /// Those whose stored data has still to be deleted: the removed ones, and what an earlier recovery
    /// left because the process ended before its cleaner was done.
    pub to_clean: Vec<Handle>,
    /// The damaged database that was moved aside, and what was saved of it, if a row was found damaged and
    /// the options allow it.
    pub quarantined: Option<Repaired>,
}

impl SqliteStore {
    /// Removes the shapes whose snapshot is not complete, in one transaction that also notes that their
    /// stored data has still to be deleted. Call it once after opening, before anybody mutates; then
    /// delete the data of [`Recovery::to_clean`], and say so with [`ack_cleanup`](Self::ack_cleanup).
    ///
    /// A handle may be used again at once after a removal (C3): so let nobody add shapes before that data
    /// is gone. If no shape is valid, all stored data can go.
    ///
    /// # Errors
    ///
    /// If the database fails; nothing has changed then.
    pub fn recover(&self) -> Result<Recovery> {
        let span = self.observer.begin(Activity::Recovery);
        let started = Instant::now();
        let mut recovered = self.recover_once();
        let options = &self.connections.settings().options;
        if let Err(error) = &recovered
            && error.kind() == ErrorKind::Corrupt
            && options.on_corruption == OnCorruption::Quarantine
            && self.files.is_some()
        {
            // Damage inside of a row, which no check at open sees. Or else every opening would end here.
            recovered = self
                .repair_for(Some(error.clone()), TrustedState::default())
                .and_then(|repaired| Ok(Recovery { quarantined: Some(repaired), ..self.recover_once()? }));
        }
        if let Some(span) = span {
            span.end(recovered.as_ref().err());
        }
        let recovery = recovered?;
        self.observer.recovered(&RecoveryStats {
            valid: recovery.valid,
            removed: recovery.removed.len(),
            took: started.elapsed(),
        });
        Ok(recovery)
    }

    fn recover_once(&self) -> Result<Recovery> {
        self.connections.write(Operation::Recover, |connection| self.remove_incomplete(connection))
    }

    fn remove_incomplete(&self, connection: &mut Connection) -> Result<Recovery> {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed("begin the recovery"))?;
        let mut meta = Meta::read(&transaction)?;
        meta.check_owner(self.report.epoch)?;

        let noted: HashSet<Handle> = to_clean::all(&transaction)?.into_iter().collect();
        let mut incomplete = Vec::new();
        let mut complete = Vec::new();
        // All rows rather than those that say that they are not complete: so each is verified before any is
        // served. And if a cache above is about to load them, this was it.
        let mut live = HashSet::new();
        let options = &self.connections.settings().options;
        let for_a_cache = !options.last_reads;
        if for_a_cache {
            complete.reserve_exact(usize::try_from(meta.counts.total).unwrap_or(0).min(MOST_AT_ONCE));
        }
        // What goes by once is not worth keeping, and what SQLite once keeps it keeps for good.
        settings::set_cache(&transaction, SCANNING).map_err(failed("go through the shapes"))?;
        let last_reads = for_a_cache.then(|| self.recency.snapshot());
        let scanned = each_entry(&transaction, last_reads.as_ref(), |entry| {
            if noted.contains(entry.handle()) && entry.state().is_complete() {
                live.insert(entry.handle().clone());
            }
            match entry.state().is_complete() {
                false => incomplete.push(entry),
                true if for_a_cache => complete.push(Arc::new(entry)),
                true => {}
            }
        });
        settings::set_cache(&transaction, options.cache_bytes).map_err(failed("go through the shapes"))?;
        scanned?;
        let mut writing = BatchWriter::new(&transaction, self.disk_indexes(), &meta)?;
        for entry in &incomplete {
            writing.remove(entry)?;
            to_clean::insert(&transaction, entry.handle())?;
        }
        let changed;
        (meta.counts, changed) = writing.finish()?;
        change_log::append(&transaction, meta.last_seq, &changed, &self.change_log_size)?;
        meta.write(&transaction)?;

        // One that has its handle back is not to be touched.
        for handle in &live {
            to_clean::delete(&transaction, handle)?;
        }
        let to_clean = to_clean::all(&transaction)?;
        transaction.commit().map_err(failed("commit the recovery"))?;
        self.set_cached_counts(meta.counts);
        if for_a_cache {
            self.preload.put(meta, complete);
        }
        let removed = incomplete.iter().map(|entry| entry.handle().clone()).collect();
        Ok(Recovery { valid: meta.counts.total, removed, to_clean, quarantined: None })
    }

    /// The stored data of these shapes has been deleted; they are not handed out again.
    ///
    /// # Errors
    ///
    /// If the database fails; all of them will be handed out again then.
    pub fn ack_cleanup(&self, handles: &[Handle]) -> Result<()> {
        if handles.is_empty() {
            return Ok(());
        }
        self.connections.write(Operation::AckCleanup, |connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(failed("note what was cleaned"))?;
            Meta::read(&transaction)?.check_owner(self.report.epoch)?;
            for handle in handles {
                to_clean::delete(&transaction, handle)?;
            }
            transaction.commit().map_err(failed("note what was cleaned"))
        })
    }
}
