use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use shape_meta_core::{Result, Timestamp};

use crate::{
    SqliteOpenReport,
    error::failed,
    format::{meta::Meta, migrate},
    open::migrated::MigratedDatabase,
    ownership::owner,
    read::last_reads::Openings,
};

/// Step 5: a database whose epoch is ours. Every commit of a former owner fails from now on.
pub(super) struct OwnedDatabase {
    connection: Connection,
    report: SqliteOpenReport,
}

impl OwnedDatabase {
    /// Bumps the epoch and records the owner and the time of the opening, in one transaction.
    pub(super) fn take_ownership(migrated: MigratedDatabase) -> Result<Self> {
        let (mut connection, version_before, disk_indexes_before) = migrated.into_parts();
        let doing = "take ownership";
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
        let (meta, now) = (Meta::take_ownership(&transaction)?, Timestamp::now());
        owner::record(&transaction, now)?;
        Openings::record(&transaction, meta.last_seq, now)?;
        transaction.commit().map_err(failed(doing))?;
        // 0x10002 also analyzes tables that this connection has not queried yet. Nothing depends on the
        // result, and finding damage is the job of the integrity check.
        let _ = connection.execute_batch("PRAGMA optimize = 0x10002");

        let created = version_before == 0;
        let report = SqliteOpenReport {
            created,
            quarantined: None,
            migrated_from: (!created && version_before < migrate::CURRENT).then_some(version_before),
            disk_indexes_before: disk_indexes_before.filter(|_| !created),
            counts: meta.counts,
            last_seq: meta.last_seq,
            epoch: meta.epoch,
            took: Duration::ZERO,
        };
        Ok(Self { connection, report })
    }

    /// Returns the writer and the report, in which `quarantined` and `took` are left to the caller.
    pub(super) fn into_parts(self) -> (Connection, SqliteOpenReport) {
        (self.connection, self.report)
    }
}
