use std::{collections::VecDeque, sync::Arc};

use rusqlite::Connection;
use shape_meta_core::{Result, Scan, ScanItem};

use crate::{
    connection::{connections::Connections, meter::Lease, operation::Operation, pool::Pooled},
    error::{failed, invalidates_connection},
    format::{meta::Meta, query::each, row, sql},
    read::recency::{LastReadSnapshot, Recency},
};

/// A page ends after so many shapes, or so many bytes of definitions.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// All shapes as they are now, in the order of creation.
///
/// Where readers have connections of their own, one of them keeps a read transaction open until the scan
/// is dropped, and holds a page in memory at a time. Where there is a single connection, nobody else could
/// use it for that long; so there everything is read at once.
pub(crate) fn scan<'a>(connections: &'a Connections, recency: &Recency) -> Result<Scan<'a>> {
    match connections.reader(Operation::Scan)? {
        Some((reader, lease)) => Ok(Box::new(Pages::begin(reader, lease, recency)?)),
        None => {
            let all = connections.read(Operation::Scan, |connection| {
                let mut all = Vec::new();
                read_page(connection, &recency.snapshot(), 0, |listed| {
                    all.push(Ok(listed));
                    true
                })?;
                Ok(all)
            })?;
            Ok(Box::new(all.into_iter()))
        }
    }
}

struct Pages<'a> {
    // Told back before the connection is, so that the number in use is never above the truth.
    lease: Lease<'a>,
    reader: Pooled,
    last_reads: LastReadSnapshot,
    page: VecDeque<ScanItem>,
    after: i64,
    done: bool,
}

impl<'a> Pages<'a> {
    fn begin(mut reader: Pooled, mut lease: Lease<'a>, recency: &Recency) -> Result<Self> {
        let fixed = recency.read_consistently(|| {
            // A read transaction sees the moment of its first read, not that of its beginning. So
            // something is read before the caller goes on.
            let connection = reader.connection();
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK").map_err(failed("begin a scan"))?;
            }
            connection.execute_batch("BEGIN").map_err(failed("begin a scan"))?;
            Meta::read(connection)?;
            Ok(recency.snapshot())
        });
        match fixed {
            Ok(last_reads) => {
                Ok(Self { reader, last_reads, page: VecDeque::new(), after: 0, done: false, lease })
            }
            Err(error) => {
                lease.note(&Err::<(), _>(error.clone()));
                // Whatever it was, its transaction may be open.
                reader.broken = true;
                Err(error)
            }
        }
    }

    fn note<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.lease.note(&outcome);
        outcome.inspect_err(|error| {
            self.done = true;
            self.reader.broken |= invalidates_connection(error.kind());
        })
    }

    fn turn(&mut self) -> Result<()> {
        let mut page = VecDeque::with_capacity(PAGE);
        let mut bytes = 0;
        let read = read_page(self.reader.connection(), &self.last_reads, self.after, |listed| {
            bytes += listed.record.memory();
            page.push_back(listed);
            page.len() < PAGE && bytes < PAGE_BYTES
        });
        let whole = self.note(read)?;
        self.done = whole;
        if let Some(last) = page.back() {
            self.after = last.metadata.created.get().cast_signed();
        }
        self.page = page;
        Ok(())
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<ScanItem>;

    fn next(&mut self) -> Option<Result<ScanItem>> {
        if self.page.is_empty()
            && !self.done
            && let Err(error) = self.turn()
        {
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        // A connection that went back inside of a transaction would show old shapes to whoever gets it.
        self.reader.broken |= self.reader.connection().execute_batch("COMMIT").is_err();
    }
}

/// Shows the shapes after this row id until `more` has enough, and says whether these were all.
fn read_page(
    connection: &Connection,
    last_reads: &LastReadSnapshot,
    after: i64,
    mut more: impl FnMut(ScanItem) -> bool,
) -> Result<bool> {
    let mut enough = false;
    each(connection, sql::SCAN, [after], |row| {
        let entry = Arc::new(row::entry(row, |id| last_reads.last_read(id))?);
        let metadata = entry.metadata();
        let record = Arc::new(row::record(row, row::DEFINITION, entry)?);
        enough = !more(ScanItem { record, metadata });
        Ok(!enough)
    })?;
    Ok(!enough)
}
