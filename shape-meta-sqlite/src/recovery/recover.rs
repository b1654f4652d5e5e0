use std::{ops::RangeInclusive, sync::Arc, time::Instant};

use rusqlite::{Connection, TransactionBehavior};
use shape_meta_core::{
    Activity, Counts, Entry, ErrorKind, Handle, RecoveryStats, Repaired, Result, TrustedState,
    store_parts::{LastReadSnapshot, RemovedTimes, join},
};

use crate::{
    DiskIndexes, OnCorruption, SqliteStore,
    connection::{operation::Operation, settings},
    error::{damaged_row, failed, invalidates_connection},
    format::{cleanup, meta::Meta, query::one, row, sql},
    read::preload::{ALL, each_entry},
    write::{batch::BatchWriter, change_log},
};

/// Bytes of page cache for a scan of a table.
const SCAN_CACHE_BYTES: u64 = 256 << 10;
/// The number of shapes from which on they are read in two halves.
const IN_HALVES: u64 = 50_000;
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

/// The shapes that were read.
struct Scanned {
    found: FoundRows,
    incomplete: Vec<Entry>,
    /// The complete ones, if they are kept for the load of a cache.
    complete: Option<Vec<Arc<Entry>>>,
}

impl Scanned {
    /// Reads and verifies the shapes with these row ids, which are about `expected`. Keeps the complete ones
    /// if there are last reads for them.
    fn scan(
        connection: &Connection,
        ids: RangeInclusive<i64>,
        last_reads: Option<&LastReadSnapshot>,
        expected: u64,
    ) -> Result<Self> {
        let mut complete = last_reads.map(|_| Vec::new());
        if let Some(complete) = &mut complete {
            complete.reserve_exact(usize::try_from(expected).unwrap_or(0).min(MAX_RESERVED));
        }
        let mut scanned = Self { found: FoundRows::default(), incomplete: Vec::new(), complete };
        each_entry(connection, ids, last_reads, |entry| {
            scanned.found.add(&entry);
            match (entry.state().is_complete(), &mut scanned.complete) {
                (false, _) => scanned.incomplete.push(entry),
                (true, Some(complete)) => complete.push(Arc::new(entry)),
                (true, None) => {}
            }
        })?;
        Ok(scanned)
    }

    /// Returns these shapes and then the others.
    fn followed_by(mut self, rest: Self) -> Self {
        self.found.counts.total += rest.found.counts.total;
        self.found.counts.indexed += rest.found.counts.indexed;
        self.found.relations += rest.found.relations;
        self.incomplete.extend(rest.incomplete);
        if let Some(complete) = &mut self.complete {
            complete.extend(rest.complete.into_iter().flatten());
        }
        self
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

        // Reads all rows, not only incomplete ones, so that each is verified before any is served.
        let Scanned { incomplete, complete, .. } = self.scan_shapes(&transaction, &meta)?;
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
        if let Some(complete) = complete {
            self.preload.put(meta, complete);
        }
        let removed = incomplete.iter().map(|entry| entry.handle().clone()).collect();
        Ok(Recovery { valid: meta.counts.total, removed, cleanup_tasks: tasks, quarantined: None })
    }

    /// Reads all shapes and checks their numbers, in the transaction of the writer, before it writes.
    ///
    /// Many are read in two halves at the same time. The second one is read by a reader, if one is free: it
    /// sees the same rows, since nothing else can commit.
    fn scan_shapes(&self, transaction: &Connection, meta: &Meta) -> Result<Scanned> {
        let options = &self.connections.settings().options;
        // A cache above loads the entries from memory (`Preload`).
        let last_reads = (!options.last_reads).then(|| self.recency.snapshot(&RemovedTimes::default()));
        let last_reads = last_reads.as_ref();
        // Full scans would fill the page cache with pages that are read once, and SQLite never shrinks it.
        settings::set_cache(transaction, SCAN_CACHE_BYTES).map_err(failed("scan the shapes"))?;
        let total = meta.counts.total;
        let halves = match total {
            ..IN_HALVES => Ok(None),
            _ => one(transaction, sql::FIRST_AND_LAST, [], |ends| {
                Ok((row::integer(ends, 0)?, row::integer(ends, 1)?))
            }),
        };
        let halves = halves.map(|ends| Some((ends?, self.connections.spare_reader(Operation::Recover)?)));
        let scanned = halves.and_then(|halves| match halves {
            None => Scanned::scan(transaction, ALL, last_reads, total),
            Some(((first, last), (reader, mut lease))) => {
                let middle = first.midpoint(last);
                // A single row with the largest id is read twice. It is damage, since more are counted.
                let rest = middle.saturating_add(1)..=*ALL.end();
                let (here, (rest, mut reader)) = join(
                    "shape-meta-recover",
                    || Scanned::scan(transaction, *ALL.start()..=middle, last_reads, total),
                    move || (Scanned::scan(reader.connection(), rest, last_reads, 0), reader),
                );
                reader.is_broken = rest.as_ref().is_err_and(|error| invalidates_connection(error.kind()));
                // On this thread: an observer that calls the store is within an operation of it.
                lease.record(&rest);
                drop(lease);
                drop(reader);
                here.and_then(|here| Ok(here.followed_by(rest?)))
            }
        });
        let scanned = scanned.and_then(|scanned| {
            scanned.found.check(transaction, meta, self.disk_indexes())?;
            Ok(scanned)
        });
        settings::set_cache(transaction, options.cache_bytes).map_err(failed("scan the shapes"))?;
        scanned
    }
}
