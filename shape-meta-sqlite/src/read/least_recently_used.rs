use std::{cmp::Reverse, collections::BinaryHeap};

use rusqlite::Connection;
use shape_meta_core::{Handle, HandleSet, LeastRecentlyUsed, Result, Seq, Timestamp};

use crate::{
    error::failed,
    format::{
        query::{each, one},
        row, sql,
    },
    read::recency::{LastReadSnapshot, Recency},
};

/// The shapes that were not read for longest. Costs a pass over the times that are known, and beyond that
/// as many rows as have to be looked at.
///
/// Two lists in the order of time are merged: the times that are known, and the shapes that an owner has
/// found and nobody has read, which come by their creation: those that were made later were found later.
pub(crate) fn least_recently_used(
    connection: &Connection,
    recency: &Recency,
    n: usize,
    excluded: &HandleSet,
) -> Result<LeastRecentlyUsed> {
    let transaction = connection.unchecked_transaction().map_err(failed("read"))?;
    // A copy, so that no lock is held while the disk is read (I5).
    let LastReadSnapshot { at_open, since } = recency.snapshot();
    let known = since.iter().map(|(id, at)| Reverse((*at, *id))).collect();
    let mut selection =
        Selection { connection: &transaction, known, excluded, n, shapes: Vec::new(), dead: Vec::new() };
    if selection.wants_more() {
        each(&transaction, sql::FOUND_AT_OPEN, [at_open.through().get().cast_signed()], |found| {
            let row_id = row::integer(found, 0)?;
            let id = row::seq(row_id);
            if let (Some(at), false) = (at_open.last_read(id), since.contains_key(&id)) {
                selection.take_known_before(Some((at, id)))?;
                selection.take(row::handle(found, row_id, 1)?, at);
            }
            Ok(selection.wants_more())
        })?;
    }
    selection.take_known_before(None)?;
    recency.forget(&selection.dead);
    Ok(LeastRecentlyUsed { shapes: selection.shapes })
}

/// The list as it grows.
struct Selection<'a> {
    connection: &'a Connection,
    /// What is known and was not looked at yet, the stalest on top.
    known: BinaryHeap<Reverse<(Timestamp, Seq)>>,
    excluded: &'a HandleSet,
    n: usize,
    shapes: Vec<(Handle, Timestamp)>,
    /// Known, and not live.
    dead: Vec<Seq>,
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

    /// Takes what is known and comes before this; all of it, if there is no such bound.
    fn take_known_before(&mut self, bound: Option<(Timestamp, Seq)>) -> Result<()> {
        while self.wants_more()
            && let Some(Reverse((at, id))) = self.known.peek().copied()
            && bound.is_none_or(|bound| (at, id) < bound)
        {
            self.known.pop();
            let row_id = id.get().cast_signed();
            match one(self.connection, sql::HANDLE_OF, [row_id], |found| row::handle(found, row_id, 1))? {
                Some(handle) => self.take(handle, at),
                None => self.dead.push(id),
            }
        }
        Ok(())
    }
}
