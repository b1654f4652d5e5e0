use std::{collections::VecDeque, sync::Arc};

use shape_meta_core::{ErrorKind, Result, Scan, ScanItem, store_parts::LastReadSnapshot};
use tokio_postgres::Row;

use crate::{PostgresStore, format::row, read::snapshot::Snapshot};

/// The number of shapes of the first page, whose definitions may be of any size.
const FIRST_PAGE: i64 = 32;
/// The aim for the size of a page, in bytes, and the largest number of shapes.
const PAGE_BYTES: usize = 1 << 20;
const LARGEST_PAGE: i64 = 4_096;

/// Scans all shapes as they are now, in the order of creation.
///
/// A bounded snapshot: one read transaction, from which the shapes are read page by page. Pages alone, each
/// from its own moment, would not show one state (C1): a removal deletes rows. What a snapshot costs, it
/// holds back the server's vacuum, is bounded by the scan time-out. A stack that fits into the first page
/// holds it for one round trip.
pub(crate) fn scan(store: &PostgresStore) -> Result<Scan<'_>> {
    let (mut snapshot, last_reads) = store.recency.read_consistently(|removed| {
        let snapshot = Snapshot::begin_scan(store)?;
        Ok((snapshot, store.recency.snapshot(removed)))
    })?;
    let number = snapshot.row.id;
    let mut scan = PagedScan {
        store,
        number,
        statement: Arc::clone(&store.stack.statements.records_after),
        snapshot: None,
        last_reads,
        page: VecDeque::new(),
        after: 0,
        size: FIRST_PAGE,
    };
    let more = scan.read_page(&mut snapshot)?;
    scan.snapshot = more.then_some(snapshot);
    Ok(Box::new(scan))
}

struct PagedScan<'s> {
    store: &'s PostgresStore,
    number: i64,
    statement: Arc<str>,
    /// `None` after the last page.
    snapshot: Option<Snapshot<'s>>,
    last_reads: LastReadSnapshot,
    page: VecDeque<Result<ScanItem>>,
    after: i64,
    size: i64,
}

impl PagedScan<'_> {
    /// Reads the next page. Returns whether there may be more.
    fn read_page(&mut self, snapshot: &mut Snapshot<'_>) -> Result<bool> {
        let params = vec![Box::new(self.number) as _, Box::new(self.after) as _, Box::new(self.size) as _];
        let rows = snapshot.query(&self.statement, params)?;
        let mut bytes = 0;
        for found in &rows {
            self.after = row::int8(found, 0)?;
            let item = self.store.noting(self.item(found));
            if let Err(error) = &item
                && error.kind() != ErrorKind::Corrupt
            {
                return item.map(|_| false);
            }
            bytes += item.as_ref().map_or(0, |item| item.record.memory());
            // A damaged row is passed as an error, and the scan goes on: damage costs the shape that it is
            // in.
            self.page.push_back(item);
        }
        let more = rows.len() as i64 == self.size;
        let average = (bytes / rows.len().max(1)).max(1);
        self.size = i64::try_from(PAGE_BYTES / average).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
        Ok(more)
    }

    fn item(&self, found: &Row) -> Result<ScanItem> {
        let entry = Arc::new(row::entry(found, |id| self.last_reads.last_read(id))?);
        let metadata = entry.metadata();
        Ok(ScanItem { record: Arc::new(row::record(found, row::DEFINITION, entry)?), metadata })
    }
}

impl Iterator for PagedScan<'_> {
    type Item = Result<ScanItem>;

    fn next(&mut self) -> Option<Result<ScanItem>> {
        if self.page.is_empty()
            && let Some(mut snapshot) = self.snapshot.take()
        {
            match self.read_page(&mut snapshot) {
                Ok(true) => self.snapshot = Some(snapshot),
                Ok(false) => {}
                Err(error) => {
                    self.page.clear();
                    return Some(Err(error));
                }
            }
        }
        self.page.pop_front()
    }
}
