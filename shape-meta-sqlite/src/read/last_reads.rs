//! The tables `last_read` and `opening`: last-read times on disk.

use rusqlite::{Connection, Row, Rows, Statement};
use shape_meta_core::{
    Result, Seq, Timestamp,
    store_parts::{Openings, Recency, SavedReads, StoredTime},
};

use crate::{
    error::failed,
    format::{
        query::{each, one},
        row, sql,
    },
};

/// The number of openings that are kept. Shapes from before the oldest of them count as first seen by it.
const OPENINGS: i64 = 1_000;

/// Reads the openings. A database of version 1 has none.
pub(crate) fn openings(connection: &Connection) -> Result<Openings> {
    let mut rows = Vec::new();
    each(connection, sql::OPENINGS, [], |found| {
        rows.push((row::seq(row::integer(found, 0)?), row::integer(found, 1)?));
        Ok(true)
    })?;
    Ok(openings_of(rows))
}

/// The openings in these rows, in the order of sequence numbers.
pub(crate) fn openings_of(rows: Vec<(Seq, i64)>) -> Openings {
    Openings::new(rows.into_iter().map(|(through, at)| (through, decoded(at))))
}

/// Records that an owner found the shapes up to `through`, in the transaction of the caller.
pub(crate) fn record_opening(connection: &Connection, through: Seq, at: Timestamp) -> Result<()> {
    let values = [through.get(), at.as_micros()].map(u64::cast_signed);
    connection
        .prepare_cached(sql::RECORD_OPENING)
        .and_then(|mut statement| statement.execute(values))
        .and_then(|_| connection.prepare_cached(sql::TRIM_OPENINGS)?.execute([OPENINGS]))
        .map_err(failed("record the opening"))?;
    Ok(())
}

/// Reads the times from a database that is at `last_seq`. Keeps none in memory if `keep` is false.
pub(crate) fn recency(connection: &Connection, last_seq: Seq, keep: bool) -> Result<Recency> {
    let mut reads = keep.then(SavedReads::default);
    if let Some(reads) = &mut reads {
        saved(connection, &mut |id, saved| reads.extend([(id, saved)]))?;
    }
    Ok(Recency::new(openings(connection)?, last_seq, reads))
}

/// Decodes a column. A negative number is no time, and is later than now.
fn decoded(column: i64) -> Timestamp {
    Timestamp::from_micros(column.cast_unsigned())
}

/// Decodes the column of a time that counts as now if it is later.
pub(crate) fn stored_time(column: i64, now: Timestamp) -> StoredTime {
    StoredTime::new(decoded(column), now)
}

fn saved_read(row: &Row<'_>, now: Timestamp) -> Result<(Seq, StoredTime)> {
    Ok((row::seq(row::integer(row, 0)?), stored_time(row::integer(row, 1)?, now)))
}

/// Saves times, in the transaction of the caller. The caller passes them in the order of ids, so that each
/// page is written once. Takes about a microsecond for each. No time is stored that is later than now.
pub(crate) fn save(connection: &Connection, reads: &[(Seq, Timestamp)]) -> Result<()> {
    let mut statement = connection.prepare_cached(sql::SAVE_READ).map_err(failed("save the last reads"))?;
    let now = Timestamp::now();
    for (id, at) in reads {
        let [at, now] = [*at.min(&now), now].map(|at| at.as_micros().cast_signed());
        statement.execute([id.get().cast_signed(), at, now]).map_err(failed("save the last reads"))?;
    }
    Ok(())
}

/// Passes all saved times to `each_read`, in the order of ids.
pub(crate) fn saved(connection: &Connection, each_read: &mut dyn FnMut(Seq, StoredTime)) -> Result<()> {
    let now = Timestamp::now();
    each(connection, sql::SAVED_READS, [], |found| {
        let (id, read) = saved_read(found, now)?;
        each_read(id, read);
        Ok(true)
    })
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
    now: Timestamp,
    next: Option<(Seq, StoredTime)>,
}

impl<'s> SavedReadCursor<'s> {
    pub(crate) fn open(statement: Option<&'s mut Statement<'_>>) -> Result<Self> {
        let rows = match statement {
            Some(statement) => Some(statement.query([]).map_err(failed("read the last reads"))?),
            None => None,
        };
        let mut cursor = Self { rows, now: Timestamp::now(), next: None };
        cursor.step()?;
        Ok(cursor)
    }

    /// Moves to a shape, and returns its saved time. Ids must ascend.
    pub(crate) fn seek(&mut self, id: Seq) -> Result<Option<StoredTime>> {
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
                Some(found) => Some(saved_read(found, self.now)?),
            },
        };
        Ok(())
    }
}
