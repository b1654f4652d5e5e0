use std::sync::Arc;

use shape_meta_core::{
    NoopObserver, Result, ScanItem, Timestamp,
    store_parts::{CleanupTasks, StoredTime},
};
use tokio_postgres::Row;

use crate::{
    DiskIndexes, PostgresOptions, PostgresPool, PostgresStore,
    connection::operation::Operation,
    error::damaged_row,
    format::row,
    read::{scan::RecordPages, snapshot::Snapshot},
    standby,
};

/// Read-only access to a stack without ownership, for tools.
///
/// Each call shows one moment of the stack, of one snapshot of the server, and writes nothing. A live owner
/// is not disturbed. The connection may lead to a standby server. While a call runs, the server cannot remove
/// dead rows; [`PostgresOptions::scan_timeout`] bounds that.
#[derive(Debug)]
pub struct PostgresInspector {
    pub(super) reader: PostgresStore,
}

impl PostgresInspector {
    /// Opens the stack with this name. Of the options only the schema and the scan time-out count.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such stack or database, `UnsupportedSchema` if another version of this crate
    /// has written the tables, `Corrupt` if the row of the stack is damaged, and those of the server.
    pub fn open(pool: &PostgresPool, stack: &str, options: PostgresOptions) -> Result<Self> {
        let options = options.disk_indexes(DiskIndexes::Omitted).last_reads(false);
        let standby::open::Found { stack: found, recency, report } =
            standby::open::open(pool, stack, &options)?;
        let (cleanup, observer) = (CleanupTasks::new(false, 0), Arc::new(NoopObserver));
        let reader = PostgresStore::new(pool, stack, found, recency, report, cleanup, options, observer);
        Ok(Self { reader })
    }

    /// Calls `each` with every shape and its definition, oldest first, until `each` returns `false`.
    ///
    /// A damaged shape is passed as an error, and the scan goes on. Shapes whose rows are missing are passed
    /// as one error at the end.
    ///
    /// # Errors
    ///
    /// An error if the scan cannot go on.
    pub fn scan(&self, mut each: impl FnMut(Result<ScanItem>) -> bool) -> Result<()> {
        let mut snapshot = self.snapshot()?;
        let now = Timestamp::now();
        let mut pages = RecordPages::new(&self.reader.stack.statements.inspected_after);
        let (mut rows, mut more) = (0, true);
        while more {
            let (items, goes_on) = pages.read(&mut snapshot, |found| item(found, now))?;
            more = goes_on;
            for item in items {
                rows += 1;
                if !each(item) {
                    return Ok(());
                }
            }
        }
        let counted = snapshot.row.counts.total;
        if rows != counted {
            let defect = format!("it has {rows} rows of the stack, and {counted} are counted");
            each(Err(damaged_row("table `shape`", &defect)));
        }
        Ok(())
    }

    /// Returns the shape with this handle. The server passes over all rows of the stack.
    ///
    /// # Errors
    ///
    /// An error if the server cannot be read or the shape is damaged.
    pub fn find(&self, handle: &str) -> Result<Option<ScanItem>> {
        let mut snapshot = self.snapshot()?;
        // No text of PostgreSQL contains this character.
        if handle.contains('\0') {
            return Ok(None);
        }
        let params = vec![Box::new(snapshot.row.id) as _, Box::new(handle.to_owned()) as _];
        let rows = snapshot.query(&self.reader.stack.statements.inspected_by_handle, params)?;
        rows.first().map(|found| item(found, Timestamp::now())).transpose()
    }

    /// Begins a snapshot.
    pub(super) fn snapshot(&self) -> Result<Snapshot<'_>> {
        Snapshot::begin(&self.reader, Operation::Scan, "read the stack")
    }
}

/// Decodes a row of a record and its saved last-read time.
fn item(found: &Row, now: Timestamp) -> Result<ScanItem> {
    let at = row::optional_int8(found, row::DEFINITION + row::DEFINITION_COLUMNS)?.filter(|at| *at != 0);
    let at = at.map(|at| StoredTime::new(Timestamp::from_micros(at.cast_unsigned()), now).at);
    let entry = Arc::new(row::entry(found, |_| at)?);
    let metadata = entry.metadata();
    Ok(ScanItem { record: Arc::new(row::record(found, row::DEFINITION, entry)?), metadata })
}
