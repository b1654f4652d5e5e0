use std::{collections::VecDeque, sync::Arc};

use shape_meta_core::{ErrorKind, Result, Scan, ScanItem, store_parts::LastReadSnapshot};
use tokio_postgres::Row;

use crate::{PostgresStore, connection::client::Client, format::row, read::snapshot::Snapshot};

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
    let mut scan = PagedScan {
        store,
        pages: RecordPages::new(&store.stack.statements.records_after),
        snapshot: None,
        last_reads,
        page: VecDeque::new(),
    };
    let more = scan.read_page(&mut snapshot)?;
    scan.snapshot = more.then_some(snapshot);
    Ok(Box::new(scan))
}

struct PagedScan<'s> {
    store: &'s PostgresStore,
    pages: RecordPages,
    /// `None` after the last page.
    snapshot: Option<Snapshot<'s>>,
    last_reads: LastReadSnapshot,
    page: VecDeque<Result<ScanItem>>,
}

impl PagedScan<'_> {
    /// Reads the next page. Returns whether there may be more.
    fn read_page(&mut self, snapshot: &mut Snapshot<'_>) -> Result<bool> {
        let (store, last_reads) = (self.store, &self.last_reads);
        let decode = |found: &Row| {
            store.noting(row::entry(found, |id| last_reads.last_read(id)).and_then(|entry| {
                let metadata = entry.metadata();
                let entry = Arc::new(entry);
                Ok(ScanItem { record: Arc::new(row::record(found, row::DEFINITION, entry)?), metadata })
            }))
        };
        let (items, more) = self.pages.read(snapshot, decode)?;
        self.page.extend(items);
        Ok(more)
    }
}

/// Reads the records of a stack page by page, each about as large as the last one lets expect.
pub(crate) struct RecordPages {
    /// `$1` is the stack, `$2` the id before the page, and `$3` its size. The first column is the id.
    statement: Arc<str>,
    after: i64,
    size: i64,
}

impl RecordPages {
    pub(crate) fn new(statement: &Arc<str>) -> Self {
        Self { statement: Arc::clone(statement), after: 0, size: FIRST_PAGE }
    }

    /// Returns the next page, and whether there may be more.
    ///
    /// A damaged row is returned as an error, and the pages go on: damage costs the shape that it is in.
    ///
    /// # Errors
    ///
    /// Those of the server.
    pub(crate) fn read(
        &mut self,
        snapshot: &mut Snapshot<'_>,
        decode: impl FnMut(&Row) -> Result<ScanItem>,
    ) -> Result<(Vec<Result<ScanItem>>, bool)> {
        self.read_sized(snapshot, decode, |item| item.record.memory())
    }

    /// The same for rows that are decoded to something else, which takes `size` bytes.
    pub(crate) fn read_sized<T>(
        &mut self,
        snapshot: &mut Snapshot<'_>,
        decode: impl FnMut(&Row) -> Result<T>,
        size: impl Fn(&T) -> usize,
    ) -> Result<(Vec<Result<T>>, bool)> {
        let number = snapshot.row.id;
        let params = vec![Box::new(number) as _, Box::new(self.after) as _, Box::new(self.size) as _];
        let rows = snapshot.query(&self.statement, params)?;
        self.decode(&rows, decode, size)
    }

    /// The same in a transaction that writes.
    pub(crate) async fn read_in<T>(
        &mut self,
        client: &mut Client,
        doing: &str,
        stack: i64,
        decode: impl FnMut(&Row) -> Result<T>,
        size: impl Fn(&T) -> usize,
    ) -> Result<(Vec<Result<T>>, bool)> {
        let rows = client.query(doing, &self.statement, &[&stack, &self.after, &self.size]).await?;
        self.decode(&rows, decode, size)
    }

    fn decode<T>(
        &mut self,
        rows: &[Row],
        mut decode: impl FnMut(&Row) -> Result<T>,
        size: impl Fn(&T) -> usize,
    ) -> Result<(Vec<Result<T>>, bool)> {
        let mut bytes = 0;
        let mut items = Vec::with_capacity(rows.len());
        for found in rows {
            self.after = row::int8(found, 0)?;
            let item = decode(found);
            if let Err(error) = &item
                && error.kind() != ErrorKind::Corrupt
            {
                return Err(error.clone());
            }
            bytes += item.as_ref().map_or(0, &size);
            items.push(item);
        }
        let more = rows.len() as i64 == self.size;
        let average = (bytes / rows.len().max(1)).max(1);
        self.size = i64::try_from(PAGE_BYTES / average).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
        Ok((items, more))
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
