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

/// Bytes of page cache for a scan of a table.
const SCAN_CACHE_BYTES: u64 = 256 << 10;
/// Limit on the capacity that is reserved from the stored count of shapes, which may be damaged.
const MAX_RESERVED: usize = 1 << 20;

/// Result of [`SqliteStore::recover`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Number of complete shapes, which stay.
    pub valid: u64,
    /// Shapes that were removed because their snapshot was not complete, oldest first.
    pub removed: Vec<Handle>,
    /// Shapes whose stored data is not yet cleaned: the removed ones, and those of earlier recoveries whose
    /// cleanup was not acknowledged.
    pub to_clean: Vec<Handle>,
    /// Report of the repair, if a damaged row was found and the options allow a quarantine.
    pub quarantined: Option<Repaired>,
}

impl SqliteStore {
    /// Removes the shapes whose snapshot is not complete. The same transaction records their handles for the
    /// cleaner.
    ///
    /// Call it once after the open and before any mutation. Then delete the stored data of
    /// [`Recovery::to_clean`], and acknowledge that with [`ack_cleanup`](Self::ack_cleanup). A removal frees
    /// its handle at once (C3), so add no shape before that data is deleted. If no shape is valid and nothing
    /// was quarantined, all stored data can be deleted.
    ///
    /// Reads and verifies all shape rows, but no definitions. Repairs the database if a row is damaged and
    /// the options allow it.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a row is damaged and the options refuse a repair. Otherwise an error of SQLite or the
    /// disk; then nothing has changed.
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
            // No check at open finds damage inside of a row. Without a repair, every later open would fail
            // here.
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
        self.connections.check_owner(&meta)?;

        let recorded: HashSet<Handle> = to_clean::all(&transaction)?.into_iter().collect();
        let mut incomplete = Vec::new();
        let mut complete = Vec::new();
        // Reads all rows, not only incomplete ones, so that each is verified before any is served. A cache
        // above then loads the entries from memory (`Preload`).
        let mut live = HashSet::new();
        let options = &self.connections.settings().options;
        let keeps_preload = !options.last_reads;
        if keeps_preload {
            complete.reserve_exact(usize::try_from(meta.counts.total).unwrap_or(0).min(MAX_RESERVED));
        }
        // A full scan would fill the page cache with pages that are read once, and SQLite never shrinks it.
        settings::set_cache(&transaction, SCAN_CACHE_BYTES).map_err(failed("scan the shapes"))?;
        let last_reads = keeps_preload.then(|| self.recency.snapshot());
        let scanned = each_entry(&transaction, last_reads.as_ref(), |entry| {
            if recorded.contains(entry.handle()) && entry.state().is_complete() {
                live.insert(entry.handle().clone());
            }
            match entry.state().is_complete() {
                false => incomplete.push(entry),
                true if keeps_preload => complete.push(Arc::new(entry)),
                true => {}
            }
        });
        settings::set_cache(&transaction, options.cache_bytes).map_err(failed("scan the shapes"))?;
        scanned?;
        let mut writer = BatchWriter::new(&transaction, self.disk_indexes(), &meta)?;
        for entry in &incomplete {
            writer.remove(entry)?;
            to_clean::insert(&transaction, entry.handle())?;
        }
        let changed;
        (meta.counts, changed) = writer.finish()?;
        change_log::append(&transaction, meta.last_seq, &changed, &self.change_log_size)?;
        meta.write(&transaction)?;

        // The stored data of a live shape must not be cleaned, although its handle was once recorded.
        for handle in &live {
            to_clean::delete(&transaction, handle)?;
        }
        let to_clean = to_clean::all(&transaction)?;
        transaction.commit().map_err(failed("commit the recovery"))?;
        self.set_cached_counts(meta.counts);
        if keeps_preload {
            self.preload.put(meta, complete);
        }
        let removed = incomplete.iter().map(|entry| entry.handle().clone()).collect();
        Ok(Recovery { valid: meta.counts.total, removed, to_clean, quarantined: None })
    }

    /// Acknowledges that the stored data of these shapes is deleted. Later recoveries do not return them
    /// again.
    ///
    /// # Errors
    ///
    /// An error if the database cannot be written. Then later recoveries return all of them again.
    pub fn ack_cleanup(&self, handles: &[Handle]) -> Result<()> {
        if handles.is_empty() {
            return Ok(());
        }
        self.connections.write(Operation::AckCleanup, |connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(failed("acknowledge a cleanup"))?;
            self.connections.check_owner(&Meta::read(&transaction)?)?;
            for handle in handles {
                to_clean::delete(&transaction, handle)?;
            }
            transaction.commit().map_err(failed("acknowledge a cleanup"))
        })
    }
}
