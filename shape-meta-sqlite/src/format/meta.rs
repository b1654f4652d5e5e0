use rusqlite::{Connection, OptionalExtension, Row, params};
use shape_meta_core::{
    Counts, Result, Seq,
    store_parts::{Identity, checksum},
};

use crate::{
    error::{damaged_row, failed},
    format::{compat, lineage::Lineage, migrate, row, schema, sql},
};

/// The row of the table `meta`: the state of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) last_seq: Seq,
    pub(crate) counts: Counts,
    pub(crate) epoch: u64,
    /// The identity of the database. `None` before its first opening in version 3, and in a copy or a rebuilt
    /// database until its next opening: that one makes a new identity.
    pub(crate) database: Option<Identity>,
    /// The identity of the latest opening.
    pub(crate) opening: Option<Identity>,
}

/// What distinguishes one ownership of one database from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ownership {
    pub(crate) database: Identity,
    pub(crate) opening: Identity,
    pub(crate) epoch: u64,
}

impl Ownership {
    /// Returns the ownership in this row; `None` before the first opening in version 3, and in a copy.
    pub(crate) fn of(meta: &Meta) -> Option<Self> {
        Some(Self { database: meta.database?, opening: meta.opening?, epoch: meta.epoch })
    }

    /// Returns the ownership of a new database with this epoch.
    pub(crate) fn of_rebuilt(epoch: u64) -> Result<Self> {
        Ok(Self { database: Identity::random()?, opening: Identity::random()?, epoch })
    }
}

impl Meta {
    /// Reads and verifies the row.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare_cached(sql::META).map_err(failed("read the table `meta`"))?;
        let meta = statement.query_row([], Self::decode).map_err(failed("read the table `meta`"))?;
        meta.map_err(|defect| damaged_row("table `meta`", defect))
    }

    /// Decodes and verifies a row of [`sql::META`].
    fn decode(row: &Row<'_>) -> rusqlite::Result<Result<Self, &'static str>> {
        let numbers = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let [database, opening] = [row.get_ref(4)?, row.get_ref(5)?];
        let ids = database.as_blob().and_then(|database| Ok([database, opening.as_blob()?]));
        let ids = ids.map_err(|_| "an identity is no blob");
        Ok(ids.and_then(|ids| Self::of(numbers, ids, row.get(6).map_err(|_| "its checksum is no number")?)))
    }

    /// Bumps the epoch, which fences the current owner, in the transaction of the caller. Works in a database
    /// of an earlier version, too, whose owner knows epochs alone.
    pub(crate) fn fence(connection: &Connection) -> Result<()> {
        let version = schema::version(connection).map_err(failed("read the schema version"))?;
        if version >= 3 {
            return Self::take_ownership_in(connection, version).map(drop);
        }
        compat::shadow(connection, version).map_err(failed("read the table `meta`"))?;
        let meta = Self::read(connection)?;
        let next = Self { epoch: meta.epoch + 1, ..meta };
        let epoch = next.epoch.cast_signed();
        let written = match version {
            1 => connection.execute("UPDATE main.meta SET epoch = ?1", [epoch]),
            _ => {
                let sum = next.checksum_in(version);
                connection.execute("UPDATE main.meta SET epoch = ?1, checksum = ?2", [epoch, sum])
            }
        };
        written.map_err(failed("write the table `meta`"))?;
        Ok(())
    }

    /// Makes the caller the owner and returns the new state, in the transaction of the caller: bumps the
    /// epoch, and gives the opening an identity, and the database if it has none.
    pub(crate) fn take_ownership(connection: &Connection) -> Result<Self> {
        Self::take_ownership_in(connection, migrate::CURRENT)
    }

    /// As [`take_ownership`](Self::take_ownership), in a database of this version, which is 3 or later.
    fn take_ownership_in(connection: &Connection, version: u32) -> Result<Self> {
        let mut meta = Self::read(connection)?;
        meta.epoch += 1;
        meta.opening = Some(Identity::random()?);
        if meta.database.is_none() {
            meta.database = Some(Identity::random()?);
            Lineage::clear(connection)?;
        }
        meta.write_in(connection, version)?;
        Lineage::record(connection, &meta)?;
        Ok(meta)
    }

    /// Takes the identities off a copy, in the transaction of the caller: its next owner gives it new ones
    /// (C13). Does nothing to an earlier schema version, which has none.
    pub(crate) fn forget_identity(connection: &Connection) -> Result<()> {
        let version = schema::version(connection).map_err(failed("read the schema version"))?;
        if version < 3 {
            return Ok(());
        }
        let meta = Self::read(connection)?;
        Self { database: None, opening: None, ..meta }.write_in(connection, version)?;
        Lineage::clear(connection)
    }

    /// Returns `Corrupt` unless `shape` has as many rows as are counted: a row that is missing is no absence
    /// of a shape.
    pub(crate) fn check_total(&self, rows: u64) -> Result<()> {
        match self.counts.total == rows {
            true => Ok(()),
            false => Err(damaged_row(
                "table `shape`",
                &format!("it has {rows} rows, and {} are counted", self.counts.total),
            )),
        }
    }

    /// Decodes and verifies the columns.
    pub(crate) fn of(
        [last_seq, total, indexed, epoch]: [i64; 4],
        [database, opening]: [&[u8]; 2],
        checksum: Option<i64>,
    ) -> Result<Self, &'static str> {
        if [last_seq, total, indexed, epoch].into_iter().any(i64::is_negative) || epoch == i64::MAX {
            return Err("a number is out of range");
        }
        let counts = Counts { total: total.cast_unsigned(), indexed: indexed.cast_unsigned() };
        let meta = Self {
            last_seq: row::seq(last_seq),
            counts,
            epoch: epoch.cast_unsigned(),
            database: identity_of(database)?,
            opening: identity_of(opening)?,
        };
        match checksum {
            Some(sum) if meta.version_of(sum).is_none() => Err("its checksum does not match"),
            _ => Ok(meta),
        }
    }

    /// Returns the schema version of the database in which this row was written with this checksum; `None` if
    /// the row is damaged, or of a later version.
    ///
    /// So the version in the header, which has no checksum, has a witness: a later version writes its own one
    /// into the row, in the transaction that migrates.
    pub(crate) fn version_of(&self, checksum: i64) -> Option<u32> {
        let is_before_identities = self.database.is_none() && self.opening.is_none();
        let versions = if is_before_identities { 2..=migrate::CURRENT } else { 3..=migrate::CURRENT };
        versions.into_iter().find(|version| checksum == self.checksum_in(*version))
    }

    /// Returns the checksum of the row in a database of this version.
    pub(crate) fn checksum_in(&self, version: u32) -> i64 {
        let mut bytes = self.columns().map(i64::to_le_bytes).as_flattened().to_vec();
        bytes.extend_from_slice(identity_column(&self.database));
        bytes.extend_from_slice(identity_column(&self.opening));
        if version > 2 {
            bytes.extend_from_slice(&version.to_le_bytes());
        }
        checksum::of(Seq::new(1), &bytes)
    }

    /// Writes the checksum of this version, which is 3 or later, into the row, in the transaction that
    /// migrates to it. A damaged row stays as it is.
    pub(crate) fn migrate(connection: &Connection, version: u32) -> rusqlite::Result<()> {
        match connection.query_row(sql::META, [], Self::decode).optional()? {
            Some(Ok(meta)) => {
                let sum = meta.checksum_in(version);
                connection.execute("UPDATE meta SET checksum = ?1", [sum]).map(drop)
            }
            Some(Err(_)) | None => Ok(()),
        }
    }

    fn columns(&self) -> [i64; 4] {
        let Counts { total, indexed } = self.counts;
        [self.last_seq.get(), total, indexed, self.epoch].map(u64::cast_signed)
    }

    /// Writes the row: one statement for each batch. A trigger would run one for each row, at a quarter of
    /// the rate.
    pub(crate) fn write(&self, connection: &Connection) -> Result<()> {
        self.write_in(connection, migrate::CURRENT)
    }

    fn write_in(&self, connection: &Connection, version: u32) -> Result<()> {
        let [last_seq, total, indexed, epoch] = self.columns();
        connection
            .prepare_cached(sql::SET_META)
            .and_then(|mut statement| {
                let [database, opening] = [&self.database, &self.opening].map(identity_column);
                let sum = self.checksum_in(version);
                statement.execute(params![last_seq, total, indexed, epoch, database, opening, sum])
            })
            .map_err(failed("write the table `meta`"))?;
        Ok(())
    }
}
/// Decodes the column of an identity, which is empty if the database or the opening has none yet.
pub(crate) fn identity_of(column: &[u8]) -> Result<Option<Identity>, &'static str> {
    match (column, Identity::from_bytes(column)) {
        ([], _) => Ok(None),
        (_, None) => Err("an identity has a wrong length"),
        (_, identity) => Ok(identity),
    }
}

/// Returns the column of an identity.
pub(crate) fn identity_column(identity: &Option<Identity>) -> &[u8] {
    identity.as_ref().map_or(&[], Identity::as_bytes)
}
