use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;
use shape_meta_core::{Entry, Result, Seq, store_parts::LastReadSnapshot};

use crate::{
    format::{meta::Meta, query::each, row, sql},
    read::last_reads,
};

/// The entries that a recovery has read, kept for the load of the cache above. So a boot reads and verifies
/// every row once; a second pass took a quarter of its time.
///
/// The first load takes them, if the database has not changed since. Operations that show that no load will
/// follow discard them.
#[derive(Debug, Default)]
pub(crate) struct Preload(Mutex<Option<(Meta, Vec<Arc<Entry>>)>>);

impl Preload {
    /// Keeps `entries`, all shapes of a database in the state `meta`.
    pub(crate) fn put(&self, meta: Meta, entries: Vec<Arc<Entry>>) {
        *self.lock() = Some((meta, entries));
    }

    /// Takes the entries, if the database is still in the state in which they were read: every batch and
    /// every opening changes it.
    pub(crate) fn take(&self, meta: &Meta) -> Option<(Seq, Vec<Arc<Entry>>)> {
        let (read_at, entries) = self.lock().take()?;
        (read_at == *meta).then_some((read_at.last_seq, entries))
    }

    /// Drops the entries.
    pub(crate) fn discard(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Meta, Vec<Arc<Entry>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All row ids.
pub(crate) const ALL: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// Passes every entry with a row id in `ids` to `visit`, in the order of creation. With `last_reads`, each
/// has its last-read time.
pub(crate) fn each_entry(
    connection: &Connection,
    ids: RangeInclusive<i64>,
    last_reads: Option<&LastReadSnapshot>,
    mut visit: impl FnMut(Entry),
) -> Result<()> {
    let mut saved = match last_reads {
        Some(_) => last_reads::cursor_statement(connection)?,
        None => None,
    };
    let mut cursor = last_reads::SavedReadCursor::open(saved.as_mut())?;
    each(connection, sql::LOAD_RANGE, [ids.start(), ids.end()], |found| {
        let saved = cursor.seek(row::seq(row::integer(found, 0)?))?;
        let entry = row::entry(found, |id| last_reads?.last_read_since(id, saved.map(|saved| saved.at)))?;
        if saved.is_some_and(|saved| saved.is_corrected) {
            entry.mark_read_dirty();
        }
        visit(entry);
        Ok(true)
    })
}
