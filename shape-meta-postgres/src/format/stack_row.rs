//! The row of the table `stack`: the state of one stack.

use shape_meta_core::{
    Counts, Result, Seq,
    store_parts::{Identity, checksum},
};
use tokio_postgres::Row;

use crate::{error::damaged_row, format::row};

/// The columns of `stack` in the order that [`StackRow::decode`] expects.
macro_rules! stack_columns {
    () => {
        "last_seq, total, indexed, epoch, database_id, opening_id, checksum, has_lookups, id"
    };
}
pub(crate) use stack_columns;

/// The number of [`stack_columns`].
pub(crate) const STACK_COLUMNS: usize = 9;

/// The state of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackRow {
    /// The number of the stack.
    pub(crate) id: i64,
    pub(crate) last_seq: Seq,
    pub(crate) counts: Counts,
    pub(crate) owner: Ownership,
    pub(crate) has_lookups: bool,
}

/// What distinguishes one ownership of one stack from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// The identity of the stack.
    pub(crate) database: Identity,
    pub(crate) opening: Identity,
    pub(crate) epoch: u64,
}

impl StackRow {
    /// Decodes and verifies a row of [`stack_columns`].
    pub(crate) fn decode(found: &Row) -> Result<Self> {
        let id = row::int8(found, 8)?;
        let damaged = |defect: &str| damaged_row(&format!("stack {id}"), defect);
        let identity = |at| {
            let identity = Identity::from_bytes(row::bytes(found, at)?);
            identity.ok_or_else(|| damaged("an identity has a wrong length"))
        };
        let [last_seq, total, indexed, epoch] =
            [row::int8(found, 0)?, row::int8(found, 1)?, row::int8(found, 2)?, row::int8(found, 3)?];
        if [last_seq, total, indexed, epoch].into_iter().any(i64::is_negative) || epoch == i64::MAX {
            return Err(damaged("a number is out of range"));
        }
        let decoded = Self {
            id,
            last_seq: row::seq(last_seq),
            counts: Counts { total: total.cast_unsigned(), indexed: indexed.cast_unsigned() },
            owner: Ownership { database: identity(4)?, opening: identity(5)?, epoch: epoch.cast_unsigned() },
            has_lookups: row::boolean(found, 7)?,
        };
        match row::int8(found, 6)? == decoded.checksum() {
            true => Ok(decoded),
            false => Err(damaged("its checksum does not match")),
        }
    }

    pub(crate) fn checksum(&self) -> i64 {
        let Counts { total, indexed } = self.counts;
        let mut bytes = [self.last_seq.get(), total, indexed, self.owner.epoch]
            .map(u64::to_le_bytes)
            .as_flattened()
            .to_vec();
        bytes.extend_from_slice(self.owner.database.as_bytes());
        bytes.extend_from_slice(self.owner.opening.as_bytes());
        checksum::of(row::seq(self.id), &bytes)
    }
}
