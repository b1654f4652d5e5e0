//! The tables `last_read` and `opening`: last-read times on disk.

use std::collections::HashMap;

use rusqlite::{Connection, Rows, Statement};
use shape_meta_core::{Result, Seq, Timestamp};

use crate::{
    error::failed,
    format::{
        query::{each, one},
        row, sql,
    },
};

/// The number of openings that are kept. Shapes from before the oldest of them count as first seen by it.
const OPENINGS: i64 = 1_000;

/// The times of openings, each with the last sequence number that its owner found. A shape without reads
/// counts as read at the first opening that found it, so eviction begins with the shapes that were found
/// first.
///
/// A row for each shape instead would cost an open a second for every million shapes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openings(Vec<(Seq, Timestamp)>);

impl Openings {
    /// Reads the openings. A database of version 1 has none.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let mut openings = Vec::new();
        each(connection, sql::OPENINGS, [], |found| {
            let at = Timestamp::from_micros(row::integer(found, 1)?.cast_unsigned());
            openings.push((row::seq(row::integer(found, 0)?), at));
            Ok(true)
        })?;
        Ok(Self(openings))
    }

    /// Records that an owner found the shapes up to `through`, in the transaction of the caller.
    pub(crate) fn record(connection: &Connection, through: Seq, at: Timestamp) -> Result<()> {
        let values = [through.get(), at.as_micros()].map(u64::cast_signed);
        connection
            .prepare_cached(sql::RECORD_OPENING)
            .and_then(|mut statement| statement.execute(values))
            .and_then(|_| connection.prepare_cached(sql::TRIM_OPENINGS)?.execute([OPENINGS]))
            .map_err(failed("record the opening"))?;
        Ok(())
    }

    /// Returns when an owner first found this shape, the last-read time of a shape without reads; `None` if
    /// no owner has found it yet.
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        let at = self.0.partition_point(|(through, _)| *through < id);
        self.0.get(at).map(|(_, at)| *at)
    }

    /// Returns the last sequence number that an owner found.
    pub(crate) fn through(&self) -> Seq {
        self.0.last().map_or(Seq::ZERO, |(through, _)| *through)
    }
}

/// Saves times, in the transaction of the caller. The caller passes them in the order of ids, so that each
/// page is written once. Takes about a microsecond for each.
pub(crate) fn save(connection: &Connection, reads: &[(Seq, Timestamp)]) -> Result<()> {
    let mut statement = connection.prepare_cached(sql::SAVE_READ).map_err(failed("save the last reads"))?;
    for (id, at) in reads {
        statement
            .execute([id.get().cast_signed(), at.as_micros().cast_signed()])
            .map_err(failed("save the last reads"))?;
    }
    Ok(())
}

/// Passes all saved times to `each_read`, in the order of ids.
pub(crate) fn saved(connection: &Connection, each_read: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
    each(connection, sql::SAVED_READS, [], |found| {
        let at = Timestamp::from_micros(row::integer(found, 1)?.cast_unsigned());
        each_read(row::seq(row::integer(found, 0)?), at);
        Ok(true)
    })
}

/// Returns all saved times, for a store that keeps them in memory.
pub(crate) fn all(connection: &Connection) -> Result<HashMap<Seq, Timestamp>> {
    let mut all = HashMap::new();
    saved(connection, &mut |id, at| {
        all.insert(id, at);
    })?;
    Ok(all)
}

/// Prepares a statement for a [`SavedReadCursor`]; `None` if no times are saved, so that a pass over all
/// shapes need not compare with them.
pub(crate) fn cursor_statement(connection: &Connection) -> Result<Option<Statement<'_>>> {
    if one(connection, sql::SAVED_READS, [], |_| Ok(()))?.is_none() {
        return Ok(None);
    }
    Ok(Some(connection.prepare(sql::SAVED_READS).map_err(failed("read the last reads"))?))
}

/// A cursor over the saved times that moves along with a pass over the shapes in the same order.
pub(crate) struct SavedReadCursor<'s> {
    rows: Option<Rows<'s>>,
    next: Option<(Seq, Timestamp)>,
}

impl<'s> SavedReadCursor<'s> {
    pub(crate) fn open(statement: Option<&'s mut Statement<'_>>) -> Result<Self> {
        let rows = match statement {
            Some(statement) => Some(statement.query([]).map_err(failed("read the last reads"))?),
            None => None,
        };
        let mut cursor = Self { rows, next: None };
        cursor.step()?;
        Ok(cursor)
    }

    /// Moves to a shape, and returns its saved time. Ids must ascend.
    pub(crate) fn seek(&mut self, id: Seq) -> Result<Option<Timestamp>> {
        while let Some((at_id, at)) = self.next {
            if at_id >= id {
                return Ok((at_id == id).then_some(at));
            }
            self.step()?;
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<()> {
        self.next = match &mut self.rows {
            None => None,
            Some(rows) => match rows.next().map_err(failed("read the last reads"))? {
                None => None,
                Some(found) => {
                    let at = Timestamp::from_micros(row::integer(found, 1)?.cast_unsigned());
                    Some((row::seq(row::integer(found, 0)?), at))
                }
            },
        };
        Ok(())
    }
}
