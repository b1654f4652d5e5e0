use std::{sync::Arc, time::Instant};

use rusqlite::{Connection, TransactionBehavior};
use shape_meta_core::{
    Activity, Counts, Entry, ErrorKind, Handle, RecoveryStats, Repaired, Result, TrustedState,
    store_parts::RemovedTimes,
};

use crate::{
    DiskIndexes, OnCorruption, SqliteStore,
    connection::{operation::Operation, settings},
    error::{damaged_row, failed},
    format::{cleanup, meta::Meta, query::one, row, sql},
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
    /// Number of shapes whose stored data is not deleted yet: the removed ones, and earlier ones whose
    /// cleanup was not acknowledged. See [`SqliteStore::cleanup_tasks`].
    pub cleanup_tasks: u64,
    /// Report of the repair, if a damaged row was found and the options allow a quarantine.
    pub quarantined: Option<Repaired>,
}

/// The numbers of rows that were found.
#[derive(Default)]
struct FoundRows {
    counts: Counts,
    relations: u64,
}

impl FoundRows {
    fn add(&mut self, entry: &Entry) {
        self.counts.add(entry.is_indexed());
        self.relations += entry.relations().len() as u64;
    }

    /// Compares them with the stored counts and with the index tables.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a row is missing, or one too many: that is no absence of a shape.
    fn check(&self, connection: &Connection, meta: &Meta, disk_indexes: DiskIndexes) -> Result<()> {
        meta.check_total(self.counts.total)?;
        if meta.counts != self.counts {
            let (found, counted) = (self.counts.indexed, meta.counts.indexed);
            let defect = format!("it has {found} indexed shapes, and {counted} are counted");
            return Err(damaged_row("table `shape`", &defect));
        }
        if disk_indexes == DiskIndexes::Omitted {
            return Ok(());
        }
        let total = self.counts.total;
        for (table, sql, wanted) in [
            ("table `handle_lookup`", sql::COUNT_HANDLES, total),
            ("table `key_lookup`", sql::COUNT_KEYS, total),
            ("table `relation_lookup`", sql::COUNT_RELATIONS, self.relations),
        ] {
            let found = one(connection, sql, [], |row| row::integer(row, 0))?.unwrap_or(0).cast_unsigned();
            if found != wanted {
                return Err(damaged_row(table, &format!("it has {found} rows instead of {wanted}")));
            }
        }
        Ok(())
    }
}

impl SqliteStore {
    /// Removes the shapes whose snapshot is not complete. The same transaction makes cleanup tasks of them
    /// (C12).
    ///
    /// Call it once after the open and before any mutation. Then delete the stored data of the
    /// [`cleanup_tasks`](Self::cleanup_tasks), and acknowledge that with [`ack_cleanup`](Self::ack_cleanup).
    /// A removal frees its handle at once (C3): reserve a handle while its stored data is deleted.
    ///
    /// Reads and verifies all shape rows, but no definitions. Repairs the database if a row is damaged and
    /// the options allow it.
    ///
    /// # Errors
    ///
    /// `Corrupt` if a row is damaged and the options refuse a repair. Otherwise an error of SQLite or the
    /// disk; then nothing has changed.
    pub fn recover(&self) -> Result<Recovery> {
        let started = Instant::now();
        let recovery = Activity::Recovery.observed(&*self.observer, || self.recover_or_repair())?;
        self.observer.recovered(&RecoveryStats {
            valid: recovery.valid,
            removed: recovery.removed.len(),
            took: started.elapsed(),
        });
        Ok(recovery)
    }

    fn recover_or_repair(&self) -> Result<Recovery> {
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
        recovered
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

        let mut incomplete = Vec::new();
        let mut complete = Vec::new();
        // Reads all rows, not only incomplete ones, so that each is verified before any is served. A cache
        // above then loads the entries from memory (`Preload`).
        let options = &self.connections.settings().options;
        let keeps_preload = !options.last_reads;
        if keeps_preload {
            complete.reserve_exact(usize::try_from(meta.counts.total).unwrap_or(0).min(MAX_RESERVED));
        }
        // A full scan would fill the page cache with pages that are read once, and SQLite never shrinks it.
        settings::set_cache(&transaction, SCAN_CACHE_BYTES).map_err(failed("scan the shapes"))?;
        let last_reads = keeps_preload.then(|| self.recency.snapshot(&RemovedTimes::default()));
        let mut found = FoundRows::default();
        let scanned = each_entry(&transaction, last_reads.as_ref(), |entry| {
            found.add(&entry);
            match entry.state().is_complete() {
                false => incomplete.push(entry),
                true if keeps_preload => complete.push(Arc::new(entry)),
                true => {}
            }
        });
        settings::set_cache(&transaction, options.cache_bytes).map_err(failed("scan the shapes"))?;
        scanned?;
        found.check(&transaction, &meta, self.disk_indexes())?;
        let mut writer = BatchWriter::new(&transaction, self.disk_indexes(), &meta)?
            .with_cleanup_tasks(self.cleanup.is_enabled());
        for entry in &incomplete {
            writer.remove(entry)?;
        }
        let changed;
        (meta.counts, changed) = writer.finish()?;
        change_log::append(&transaction, meta.last_seq, &changed, &self.change_log_size)?;
        meta.write(&transaction)?;

        // No other check at open finds damage inside of these rows, and one damaged row would end the
        // cleanup.
        let tasks = cleanup::verify(&transaction)?;
        transaction.commit().map_err(failed("commit the recovery"))?;
        self.cleanup.set_pending(tasks);
        self.set_cached_counts(meta.counts);
        if keeps_preload {
            self.preload.put(meta, complete);
        }
        let removed = incomplete.iter().map(|entry| entry.handle().clone()).collect();
        Ok(Recovery { valid: meta.counts.total, removed, cleanup_tasks: tasks, quarantined: None })
    }
}
