use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use shape_meta_core::{ErrorKind, Result, StampOutcome, Timestamp};

use crate::{
    SqliteOpenReport,
    error::{damaged_row, failed, invalidates_connection},
    format::{cleanup, lineage::Lineage, meta::Meta, migrate},
    open::migrated::MigratedDatabase,
    ownership::{lock::OwnerLock, opening::Opening, owner, witness::Witness},
    read::last_reads,
};

/// Step 5: a database whose epoch is ours. Every commit of a former owner fails from now on.
pub(super) struct OwnedDatabase {
    connection: Connection,
    opening: Opening,
    report: SqliteOpenReport,
}

impl OwnedDatabase {
    /// Bumps the epoch, creates the identity of this opening, and records the owner and the time, all in one
    /// transaction. A database that the lock file does not vouch for may be an older copy: the same
    /// transaction ends the trust in its stored data (C12).
    pub(super) fn take_ownership(migrated: MigratedDatabase, lock: Option<&OwnerLock>) -> Result<Self> {
        let (mut connection, version_before, disk_indexes_before) = migrated.into_parts();
        let doing = "take ownership";
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
        let found = Meta::read(&transaction)?;
        let (meta, now) = (Meta::take_ownership(&transaction)?, Timestamp::now());
        let is_vouched = lock.and_then(OwnerLock::witness).is_some_and(|witness| witness.vouches_for(&found));
        if !is_vouched {
            cleanup::distrust_storage(&transaction)?;
        }
        owner::record(&transaction, now)?;
        last_reads::record_opening(&transaction, meta.last_seq, now)?;
        let lineage = Lineage::read(&transaction)?;
        let opening = Opening::new(meta, lineage).ok_or_else(|| {
            damaged_row("table `meta`", "the identities that were just written are missing")
        })?;
        // Whether the process dies before or after the commit: the lock file names the opening that is then
        // in the database.
        let before = found.opening.filter(|_| is_vouched);
        let testify = |openings, sync| {
            if let Some(lock) = lock {
                lock.testify(&Witness { openings, last_seq: found.last_seq }, sync);
            }
        };
        testify([meta.opening, before], true);
        transaction.commit().map_err(failed(doing))?;
        testify([meta.opening, None], false);
        // 0x10002 also analyzes tables that this connection has not queried yet. Nothing depends on the
        // result, and finding damage is the job of the integrity check. But after a failed write the
        // connection cannot be used.
        let optimized = connection.execute_batch("PRAGMA optimize = 0x10002").map_err(failed("optimize"));
        if let Err(error) = optimized
            && invalidates_connection(error.kind())
            && error.kind() != ErrorKind::Corrupt
        {
            return Err(error);
        }

        let created = version_before == 0;
        let report = SqliteOpenReport {
            created,
            quarantined: None,
            migrated_from: (!created && version_before < migrate::CURRENT).then_some(version_before),
            disk_indexes_before: disk_indexes_before.filter(|_| !created),
            counts: meta.counts,
            last_seq: meta.last_seq,
            epoch: meta.epoch,
            stamp: StampOutcome::Unchanged,
            took: Duration::ZERO,
        };
        Ok(Self { connection, opening, report })
    }

    /// Returns the writer, its opening, and the report. The next step fills in `stamp`, and the
    /// caller `quarantined` and `took`.
    pub(super) fn into_parts(self) -> (Connection, Opening, SqliteOpenReport) {
        (self.connection, self.opening, self.report)
    }
}
