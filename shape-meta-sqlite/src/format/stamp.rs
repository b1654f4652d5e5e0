//! The table `stamp`: what the shapes of the database were made with.

use rusqlite::{Connection, params};
use shape_meta_core::{Result, Seq, Stamp, store_parts::checksum};

use crate::{
    error::{damaged_row, failed},
    format::{query::one, row, sql},
};

/// The row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StampRow {
    /// The stamp of the shapes; during a re-key, of those that have still to be re-keyed.
    pub(crate) stamp: Stamp,
    /// The re-key that has begun.
    pub(crate) rekey: Option<Rekeying>,
}

/// A re-key that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rekeying {
    /// The shapes up to this one have still to be re-keyed. Those after it are done.
    pub(crate) through: Seq,
    /// The stamp of those that are done.
    pub(crate) next: Stamp,
}

impl StampRow {
    /// Reads and verifies the row; `None` if the database has no stamp.
    pub(crate) fn read(connection: &Connection) -> Result<Option<Self>> {
        one(connection, sql::STAMP, [], |found| {
            let columns = Columns {
                version: row::integer(found, 0)?,
                source: &row::text(found, 1)?,
                rekey_through: row::integer(found, 2)?,
                next_version: row::integer(found, 3)?,
                next_source: &row::text(found, 4)?,
            };
            let is_sound = row::integer(found, 5)? == columns.checksum();
            is_sound
                .then(|| columns.decode())
                .ok_or_else(|| damaged_row("table `stamp`", "its checksum does not match"))
        })
    }

    /// The row for shapes whose stamp was damaged. It is that of no application.
    pub(crate) fn lost() -> Self {
        let stamp = Stamp::new(0, "unknown, because a repair has found the stamp of the database damaged");
        Self { stamp, rekey: None }
    }

    /// Writes the row, in the transaction of the caller.
    pub(crate) fn write(&self, connection: &Connection) -> Result<()> {
        let columns = Columns::of(self);
        let Columns { version, source, rekey_through, next_version, next_source } = columns;
        connection
            .execute(
                sql::SET_STAMP,
                params![version, source, rekey_through, next_version, next_source, columns.checksum()],
            )
            .map_err(failed("record the stamp"))?;
        Ok(())
    }
}

/// The columns of the row but for the checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'r> {
    pub(crate) version: i64,
    pub(crate) source: &'r str,
    pub(crate) rekey_through: i64,
    pub(crate) next_version: i64,
    pub(crate) next_source: &'r str,
}

impl<'r> Columns<'r> {
    fn of(row: &'r StampRow) -> Self {
        let rekey = row.rekey.as_ref();
        let number = |number: u64| number.cast_signed();
        Self {
            version: number(row.stamp.version()),
            source: row.stamp.source(),
            rekey_through: number(rekey.map_or(0, |rekey| rekey.through.get())),
            next_version: number(rekey.map_or(0, |rekey| rekey.next.version())),
            next_source: rekey.map_or("", |rekey| rekey.next.source()),
        }
    }

    pub(crate) fn decode(&self) -> StampRow {
        let stamp = |version: i64, source| Stamp::new(version.cast_unsigned(), source);
        let through = row::seq(self.rekey_through);
        let next = stamp(self.next_version, self.next_source);
        StampRow {
            stamp: stamp(self.version, self.source),
            rekey: (through > Seq::ZERO).then_some(Rekeying { through, next }),
        }
    }

    pub(crate) fn checksum(&self) -> i64 {
        let numbers = [self.version, self.rekey_through, self.next_version, self.source.len() as i64];
        let mut bytes = numbers.map(i64::to_le_bytes).as_flattened().to_vec();
        bytes.extend_from_slice(self.source.as_bytes());
        bytes.extend_from_slice(self.next_source.as_bytes());
        checksum::of(Seq::new(1), &bytes)
    }
}
