use std::{collections::VecDeque, sync::Arc};

use rusqlite::Connection;
use shape_meta_core::{
    ErrorKind, Result, Scan, ScanItem,
    store_parts::{LastReadSnapshot, Recency, RemovedTimes},
};

use crate::{
    connection::{connections::Connections, meter::Lease, operation::Operation, pool::PooledReader},
    error::{failed, invalidates_connection},
    format::{block::BlockReader, meta::Meta, query::each, row, sql},
};

/// The maximum number of shapes, and of bytes, in a page of a scan.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// Scans all shapes as they are now, in the order of creation.
///
/// With a pool of readers, one reader keeps a read transaction open until the scan is dropped, and the scan
/// holds one page in memory. With a single connection, all shapes are read at once, since the connection
/// could not be used until the scan ends.
pub(crate) fn scan<'a>(connections: &'a Connections, recency: &Recency) -> Result<Scan<'a>> {
    match connections.reader(Operation::Scan)? {
        Some((reader, lease)) => Ok(Box::new(PagedScan::begin(reader, lease, recency)?)),
        None => {
            let all = connections.read(Operation::Scan, |connection| {
                let transaction = connection.unchecked_transaction().map_err(failed("begin a scan"))?;
                let mut all = Vec::new();
                read_page(&transaction, &recency.snapshot(&RemovedTimes::default()), 0, |_, item| {
                    all.push(item);
                    true
                })?;
                all.extend(Meta::read(&transaction)?.check_total(all.len() as u64).err().map(Err));
                Ok(all)
            })?;
            Ok(Box::new(all.into_iter()))
        }
    }
}

struct PagedScan<'a> {
    // Dropped before the reader is returned, so that the number of connections in use never exceeds the true
    // one.
    lease: Lease<'a>,
    reader: PooledReader,
    last_reads: LastReadSnapshot,
    page: VecDeque<Result<ScanItem>>,
    meta: Meta,
    /// The number of rows up to now, sound and damaged.
    rows: u64,
    after: i64,
    done: bool,
}

impl<'a> PagedScan<'a> {
    fn begin(mut reader: PooledReader, mut lease: Lease<'a>, recency: &Recency) -> Result<Self> {
        let opened = recency.read_consistently(|removed| {
            // SQLite fixes the snapshot of a transaction with its first read, not with `BEGIN`. So something
            // is read before the caller goes on.
            let connection = reader.connection();
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK").map_err(failed("begin a scan"))?;
            }
            connection.execute_batch("BEGIN").map_err(failed("begin a scan"))?;
            Ok((Meta::read(connection)?, recency.snapshot(removed)))
        });
        match opened {
            Ok((meta, last_reads)) => {
                let page = VecDeque::new();
                Ok(Self { reader, last_reads, page, meta, rows: 0, after: 0, done: false, lease })
            }
            Err(error) => {
                lease.record(&Err::<(), _>(error.clone()));
                // Its transaction may be open.
                reader.is_broken = true;
                Err(error)
            }
        }
    }

    fn record<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.lease.record(&outcome);
        outcome.inspect_err(|error| {
            self.done = true;
            self.reader.is_broken |= invalidates_connection(error.kind());
        })
    }

    fn read_next_page(&mut self) -> Result<()> {
        let mut page = VecDeque::with_capacity(PAGE);
        let (mut bytes, mut after) = (0, self.after);
        let read = read_page(self.reader.connection(), &self.last_reads, self.after, |id, item| {
            bytes += item.as_ref().map_or(0, |item| item.record.memory());
            page.push_back(item);
            after = id;
            page.len() < PAGE && bytes < PAGE_BYTES
        });
        self.done = self.record(read)?;
        self.rows += page.len() as u64;
        if self.done {
            // After all that were found: each of them is sound or damaged on its own.
            page.extend(self.meta.check_total(self.rows).err().map(Err));
        }
        (self.page, self.after) = (page, after);
        Ok(())
    }
}

impl Iterator for PagedScan<'_> {
    type Item = Result<ScanItem>;

    fn next(&mut self) -> Option<Result<ScanItem>> {
        if self.page.is_empty()
            && !self.done
            && let Err(error) = self.read_next_page()
        {
            return Some(Err(error));
        }
        self.page.pop_front().inspect(|item| self.lease.record(item))
    }
}

impl Drop for PagedScan<'_> {
    fn drop(&mut self) {
        // A reader that is returned inside a transaction would show an old snapshot to its next user.
        self.reader.is_broken |= self.reader.connection().execute_batch("COMMIT").is_err();
    }
}

/// Passes the shapes after this row id to `more`, each with its row id, until it returns false. Returns
/// whether these were all.
///
/// A damaged row is passed as an error, and the scan goes on: damage costs the shape that it is in.
fn read_page(
    connection: &Connection,
    last_reads: &LastReadSnapshot,
    after: i64,
    mut more: impl FnMut(i64, Result<ScanItem>) -> bool,
) -> Result<bool> {
    let (mut stopped, mut blocks) = (false, BlockReader::default());
    each(connection, sql::SCAN, [after], |row| {
        let id = row::integer(row, 0)?;
        let item: Result<_> = (|| {
            let entry = Arc::new(row::entry(row, |id| last_reads.last_read(id))?);
            let metadata = entry.metadata();
            Ok(ScanItem {
                record: Arc::new(row::record(row, row::DEFINITION, entry, &mut blocks)?),
                metadata,
            })
        })();
        if let Err(error) = &item
            && error.kind() != ErrorKind::Corrupt
        {
            return item.map(|_| false);
        }
        stopped = !more(id, item);
        Ok(!stopped)
    })?;
    Ok(!stopped)
}
