//! When shapes were last read, on disk.

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

/// How many openings are remembered. What was found before the oldest of them counts as found by it.
const OPENINGS: i64 = 1_000;

/// When owners have found the shapes up to a place in the order. Of the shapes that nobody has read since
/// they were made, eviction begins with those that were found first.
///
/// So few rows stand for all of them: writing one for each shape would cost an opening a second a million.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openings(Vec<(Seq, Timestamp)>);

impl Openings {
    /// Those in the database; none in a version that has none.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let mut openings = Vec::new();
        each(connection, sql::OPENINGS, [], |found| {
            let at = Timestamp::from_micros(row::integer(found, 1)?.cast_unsigned());
            openings.push((row::seq(row::integer(found, 0)?), at));
            Ok(true)
        })?;
        Ok(Self(openings))
    }

    /// Notes that an owner has found the shapes up to here, in a transaction that somebody else commits.
    pub(crate) fn record(connection: &Connection, through: Seq, at: Timestamp) -> Result<()> {
        let values = [through.get(), at.as_micros()].map(u64::cast_signed);
        connection
            .prepare_cached(sql::NOTE_OPENING)
            .and_then(|mut statement| statement.execute(values))
            .and_then(|_| connection.prepare_cached(sql::TRIM_OPENINGS)?.execute([OPENINGS]))
            .map_err(failed("note the opening"))?;
        Ok(())
    }

    /// As when a shape that nobody has read counts as read; not at all if no owner has found it.
    pub(crate) fn last_read(&self, id: Seq) -> Option<Timestamp> {
        let at = self.0.partition_point(|(through, _)| *through < id);
        self.0.get(at).map(|(_, at)| *at)
    }

    /// The last place that an owner has found.
    pub(crate) fn through(&self) -> Seq {
        self.0.last().map_or(Seq::ZERO, |(through, _)| *through)
    }
}

/// Saves these times, in a transaction that somebody else commits. In the order of ids, so that each page
/// is visited once; about a microsecond for each.
pub(crate) fn save(connection: &Connection, reads: &[(Seq, Timestamp)]) -> Result<()> {
    let mut statement = connection.prepare_cached(sql::SAVE_READ).map_err(failed("save the last reads"))?;
    for (id, at) in reads {
        statement
            .execute([id.get().cast_signed(), at.as_micros().cast_signed()])
            .map_err(failed("save the last reads"))?;
    }
    Ok(())
}

/// Shows all that are saved, in the order of ids.
pub(crate) fn saved(connection: &Connection, each_read: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
    each(connection, sql::SAVED_READS, [], |found| {
        let at = Timestamp::from_micros(row::integer(found, 1)?.cast_unsigned());
        each_read(row::seq(row::integer(found, 0)?), at);
        Ok(true)
    })
}

/// All of them, for a store that keeps them in memory.
pub(crate) fn all(connection: &Connection) -> Result<HashMap<Seq, Timestamp>> {
    let mut all = HashMap::new();
    saved(connection, &mut |id, at| {
        all.insert(id, at);
    })?;
    Ok(all)
}

/// Whether there are any. Most databases are asked by those who want to know when to walk along.
pub(crate) fn statement(connection: &Connection) -> Result<Option<Statement<'_>>> {
    if one(connection, sql::SAVED_READS, [], |_| Ok(()))?.is_none() {
        return Ok(None);
    }
    Ok(Some(connection.prepare(sql::SAVED_READS).map_err(failed("read the last reads"))?))
}

/// The saved times, beside a walk over the shapes in the same order.
pub(crate) struct SavedReadCursor<'s> {
    rows: Option<Rows<'s>>,
    next: Option<(Seq, Timestamp)>,
}

impl<'s> SavedReadCursor<'s> {
    pub(crate) fn begin(statement: Option<&'s mut Statement<'_>>) -> Result<Self> {
        let rows = match statement {
            Some(statement) => Some(statement.query([]).map_err(failed("read the last reads"))?),
            None => None,
        };
        let mut beside = Self { rows, next: None };
        beside.step()?;
        Ok(beside)
    }

    /// The time of this shape. Ids only ever go up.
    pub(crate) fn of(&mut self, id: Seq) -> Result<Option<Timestamp>> {
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
