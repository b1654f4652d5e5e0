use rusqlite::{Connection, Row};
use shape_meta_core::{Counts, Error, ErrorKind, Result, Seq};

use crate::{
    error::{damaged_row, failed},
    format::{checksum, row, schema, sql},
};

/// The row of the table `meta`: the state of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) last_seq: Seq,
    pub(crate) counts: Counts,
    pub(crate) epoch: u64,
}

impl Meta {
    /// Reads and verifies the row.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare_cached(sql::META).map_err(failed("read the table `meta`"))?;
        let columns = |row: &Row<'_>| Ok(([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?], row.get(4)?));
        let (columns, checksum) =
            statement.query_row([], columns).map_err(failed("read the table `meta`"))?;
        Self::of(columns, checksum).map_err(|defect| damaged_row("table `meta`", defect))
    }

    /// Bumps the epoch, which fences the current owner, in the transaction of the caller. Works in a database
    /// of version 1, too.
    pub(crate) fn bump_epoch(connection: &Connection) -> Result<()> {
        if schema::version(connection).map_err(failed("read the schema version"))? >= 2 {
            return Self::take_ownership(connection).map(drop);
        }
        connection
            .execute("UPDATE meta SET epoch = epoch + 1", [])
            .map_err(failed("write the table `meta`"))?;
        Ok(())
    }

    /// Bumps the epoch and returns the new state, in the transaction of the caller.
    pub(crate) fn take_ownership(connection: &Connection) -> Result<Self> {
        let mut meta = Self::read(connection)?;
        meta.epoch += 1;
        meta.write(connection)?;
        Ok(meta)
    }

    /// Decodes and verifies the columns.
    pub(crate) fn of(
        [last_seq, total, indexed, epoch]: [i64; 4],
        checksum: Option<i64>,
    ) -> Result<Self, &'static str> {
        if [last_seq, total, indexed, epoch].into_iter().any(i64::is_negative) || epoch == i64::MAX {
            return Err("a number is out of range");
        }
        let counts = Counts { total: total.cast_unsigned(), indexed: indexed.cast_unsigned() };
        let meta = Self { last_seq: row::seq(last_seq), counts, epoch: epoch.cast_unsigned() };
        match checksum {
            Some(sum) if sum != meta.checksum() => Err("its checksum does not match"),
            _ => Ok(meta),
        }
    }

    fn checksum(&self) -> i64 {
        let bytes = self.columns().map(i64::to_le_bytes);
        checksum::of(Seq::new(1), bytes.as_flattened())
    }

    fn columns(&self) -> [i64; 4] {
        let Counts { total, indexed } = self.counts;
        [self.last_seq.get(), total, indexed, self.epoch].map(u64::cast_signed)
    }

    /// Writes the row: one statement for each batch. A trigger would run one for each row, at a quarter of
    /// the rate.
    pub(crate) fn write(&self, connection: &Connection) -> Result<()> {
        let [last_seq, total, indexed, epoch] = self.columns();
        connection
            .prepare_cached(sql::SET_META)
            .and_then(|mut statement| statement.execute([last_seq, total, indexed, epoch, self.checksum()]))
            .map_err(failed("write the table `meta`"))?;
        Ok(())
    }

    /// Returns `Fenced` if the stored epoch is not `epoch` (C11). Only valid inside the transaction that
    /// writes.
    pub(crate) fn check_owner(&self, epoch: u64) -> Result<()> {
        if self.epoch == epoch {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "fenced: a newer owner opened the database (epoch {}, ours {epoch}); this store can still \
                 read, but commits nothing any more. Close it, and open it again to take the database back",
                self.epoch
            ),
        ))
    }
}
