use std::{cmp::Reverse, collections::BinaryHeap};

use rusqlite::Connection;
use shape_meta_core::{
    Handle, HandleSet, LeastRecentlyUsed, Result, Seq, Timestamp,
    store_parts::{LastReadSnapshot, Recency, RemovedTimes},
};

use crate::{
    error::failed,
    format::{
        query::{each, one},
        row, sql,
    },
};

/// Returns the `n` least recently used shapes that are not excluded. Costs a pass over the times in memory,
/// and a read of as many rows as are examined.
///
/// Merges two lists in the order of time: the shapes with reads, and the shapes without, in the order of
/// creation: a shape that was created later was first seen by the same or a later opening.
pub(crate) fn least_recently_used(
    connection: &Connection,
    recency: &Recency,
    removed: &RemovedTimes,
    n: usize,
    excluded: &HandleSet,
) -> Result<LeastRecentlyUsed> {
    let transaction = connection.unchecked_transaction().map_err(failed("read"))?;
    // A copy, so that no lock is held while the disk is read (I5).
    let LastReadSnapshot { at_open, since } = recency.snapshot(removed);
    // A time in the future counts as now: the clock was set back since.
    let now = Timestamp::now();
    let with_reads = since.iter().map(|(id, at)| Reverse(((*at).min(now), *id))).collect();
    let mut selection = Selection {
        connection: &transaction,
        with_reads,
        excluded,
        n,
        shapes: Vec::new(),
        removed: Vec::new(),
    };
    if selection.wants_more() {
        each(&transaction, sql::SEEN_AT_OPEN, [at_open.through().get().cast_signed()], |found| {
            let row_id = row::integer(found, 0)?;
            let id = row::seq(row_id);
            if let (Some(at), false) = (at_open.last_read(id), since.contains_key(&id)) {
                let at = at.min(now);
                selection.take_with_reads_before(Some((at, id)))?;
                selection.take(row::handle(found, 1, || row::shape_row(row_id))?, at);
            }
            Ok(selection.wants_more())
        })?;
    }
    selection.take_with_reads_before(None)?;
    recency.remove(&selection.removed);
    Ok(LeastRecentlyUsed { shapes: selection.shapes })
}

/// The result while it is collected.
struct Selection<'a> {
    connection: &'a Connection,
    /// Shapes with reads that are not examined yet, the least recently used on top.
    with_reads: BinaryHeap<Reverse<(Timestamp, Seq)>>,
    excluded: &'a HandleSet,
    n: usize,
    shapes: Vec<(Handle, Timestamp)>,
    /// Shapes with a last-read time that are not live any more.
    removed: Vec<Seq>,
}

impl Selection<'_> {
    fn wants_more(&self) -> bool {
        self.shapes.len() < self.n
    }

    fn take(&mut self, handle: Handle, at: Timestamp) {
        if self.wants_more() && !self.excluded.contains(&handle) {
            self.shapes.push((handle, at));
        }
    }

    /// Takes the shapes with reads that come before `bound`, or all of them without a bound.
    fn take_with_reads_before(&mut self, bound: Option<(Timestamp, Seq)>) -> Result<()> {
        while self.wants_more()
            && let Some(Reverse((at, id))) = self.with_reads.peek().copied()
            && bound.is_none_or(|bound| (at, id) < bound)
        {
            self.with_reads.pop();
            let row_id = id.get().cast_signed();
            match one(self.connection, sql::HANDLE_OF, [row_id], |found| {
                row::handle(found, 1, || row::shape_row(row_id))
            })? {
                Some(handle) => self.take(handle, at),
                None => self.removed.push(id),
            }
        }
        Ok(())
    }
}
