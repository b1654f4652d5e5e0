use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use shape_meta_core::{Entry, Result, Seq};

use crate::{
    format::{meta::Meta, query::each, row, sql},
    read::{last_reads, recency::LastReadSnapshot},
};

/// The entries that a recovery has read, kept for the cache that is about to load them: so a boot reads and verifies every row
/// once and not twice, which was a quarter of it.
///
/// They go to whoever loads first, if the database is still where it was then. Whatever else shows that nobody is
/// about to load lets them go.
#[derive(Debug, Default)]
pub(crate) struct Preload(Mutex<Option<(Meta, Vec<Arc<Entry>>)>>);

impl Preload {
    /// These are all shapes of a database in this state.
    pub(crate) fn put(&self, meta: Meta, entries: Vec<Arc<Entry>>) {
        *self.lock() = Some((meta, entries));
    }

    /// Those that were put here, if that was in this state: every batch and every owner makes another one.
    pub(crate) fn take(&self, meta: &Meta) -> Option<(Seq, Vec<Arc<Entry>>)> {
        let (then, entries) = self.lock().take()?;
        (then == *meta).then_some((then.last_seq, entries))
    }

    /// Nobody needs them any more.
    pub(crate) fn discard(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Meta, Vec<Arc<Entry>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows every entry in the order of creation, each with the time of its last read if these are given.
pub(crate) fn each_entry(
    connection: &Connection,
    last_reads: Option<&LastReadSnapshot>,
    mut show: impl FnMut(Entry),
) -> Result<()> {
    let mut saved = match last_reads {
        Some(_) => last_reads::statement(connection)?,
        None => None,
    };
    let mut saved = last_reads::SavedReadCursor::begin(saved.as_mut())?;
    each(connection, sql::LOAD, [], |found| {
        let saved = saved.of(row::seq(row::integer(found, 0)?))?;
        show(row::entry(found, |id| last_reads?.last_read_since(id, saved))?);
        Ok(true)
    })
}
