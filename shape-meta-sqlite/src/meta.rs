use rusqlite::{Connection, Row};
use shape_meta_core::{Counts, Error, ErrorKind, Result, Seq};

use crate::{error::failed, row, sql};

/// The one row of `meta`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) last_seq: Seq,
    pub(crate) counts: Counts,
    pub(crate) epoch: u64,
}

impl Meta {
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        Self::query(connection, sql::META)
    }

    /// Takes the next turn as the owner, in whatever transaction is open.
    pub(crate) fn take_ownership(connection: &Connection) -> Result<Self> {
        Self::query(connection, sql::TAKE_OWNERSHIP)
    }

    fn query(connection: &Connection, sql: &str) -> Result<Self> {
        let mut statement = connection.prepare_cached(sql).map_err(failed("read the state"))?;
        statement.query_row([], Self::of).map_err(failed("read the state"))
    }

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |at| row.get(at).map(i64::cast_unsigned);
        Ok(Self {
            last_seq: row::seq(row.get(0)?),
            counts: Counts { total: number(1)?, indexed: number(2)? },
            epoch: number(3)?,
        })
    }

    /// Writes back what a batch has changed: one statement a batch, where a trigger would be one a row
    /// (a quarter of the rate).
    pub(crate) fn write(&self, connection: &Connection) -> Result<()> {
        let values = [self.last_seq.get(), self.counts.total, self.counts.indexed].map(u64::cast_signed);
        connection
            .prepare_cached(sql::SET_META)
            .and_then(|mut statement| statement.execute(values))
            .map_err(failed("write the state"))?;
        Ok(())
    }

    /// Refuses to write if somebody else has taken a turn since (C11). Only an answer from inside of the
    /// transaction that writes is worth anything.
    pub(crate) fn check_owner(&self, epoch: u64) -> Result<()> {
        if self.epoch == epoch {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "another owner has taken the database over (its turn is {}, ours was {epoch}); nothing more \
                 is written from here. Reads go on; close this store and open it again to take it back",
                self.epoch
            ),
        ))
    }
}
