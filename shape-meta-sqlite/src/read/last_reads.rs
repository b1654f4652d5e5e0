//! The tables `last_read` and `opening`: last-read times on disk.

use rusqlite::{Connection, Row, Rows, Statement};
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
            openings.push((row::seq(row::integer(found, 0)?), row::integer(found, 1)?));
            Ok(true)
        })?;
        Ok(Self::of(openings))
    }

    /// The openings in these rows, in the order of sequence numbers. Their times ascend: one that is later
    /// than now, or than that of a later opening, comes from a clock that was ahead, and counts as the
    /// latter.
    pub(crate) fn of(rows: Vec<(Seq, i64)>) -> Self {
        let mut latest = Timestamp::now();
        let mut openings: Vec<_> = rows
            .into_iter()
            .rev()
            .map(|(through, at)| {
                latest = StoredTime::new(at, latest).at;
                (through, latest)
            })
            .collect();
        openings.reverse();
        Self(openings)
    }

    /// Returns the rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Seq, Timestamp)> {
        self.0.iter().copied()
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

/// A time that is on disk: a last read, or an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredTime {
    pub(crate) at: Timestamp,
    /// It was later than now on disk, and counts as now. It is saved again, so that the shape ages from now
    /// on.
    pub(crate) is_corrected: bool,
}

impl StoredTime {
    /// Decodes a column. A negative number is no time, and counts as now, too.
    pub(crate) fn new(column: i64, now: Timestamp) -> Self {
        let at = Timestamp::from_micros(column.cast_unsigned());
        Self { at: at.min(now), is_corrected: at > now }
    }

    fn of(row: &Row<'_>, now: Timestamp) -> Result<(Seq, Self)> {
        Ok((row::seq(row::integer(row, 0)?), Self::new(row::integer(row, 1)?, now)))
    }
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
        let (id, read) = StoredTime::of(found, now)?;
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
                Some(found) => Some(StoredTime::of(found, self.now)?),
            },
        };
        Ok(())
    }
}
