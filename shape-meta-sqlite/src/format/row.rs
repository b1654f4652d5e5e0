//! Decoding of rows. Every row is verified where it is read, so that a damaged one is never served.

use std::{borrow::Cow, sync::Arc};

use rusqlite::{Row, types::ValueRef};
use shape_meta_core::{
    DefinitionHash, Entry, Error, Handle, Key, Record, Relation, Relations, Result, Seq, SnapshotState,
    Timestamp, store_parts::checksum,
};

use crate::{
    error::{damaged_row, failed},
    format::block::{Block, BlockReader, StoredDefinition},
};

/// The columns of `shape` in the order that [`entry`] expects.
macro_rules! entry_columns {
    () => {
        "shape.id, shape.handle, shape.key, shape.hash, shape.state, shape.indexed, shape.relations, \
         shape.checksum, shape.created_at"
    };
}
pub(crate) use entry_columns;

/// The columns of `definition` in the order that [`record`] expects.
macro_rules! definition_columns {
    () => {
        "definition.id, definition.dependencies, definition.body, definition.checksum, definition.first"
    };
}
pub(crate) use definition_columns;

/// The position of the columns of `definition`, after those of `shape`.
pub(crate) const DEFINITION: usize = 9;
/// The position of the last-read time, after the columns of `shape`.
pub(crate) const LAST_READ: usize = 9;
/// The position of the id of a look-up, after the columns of `shape`.
const LOOKUP: usize = 9;
/// The position of the columns of `definition`, after that id.
pub(crate) const LOOKED_UP_DEFINITION: usize = 10;
/// The number of columns of `definition`.
pub(crate) const DEFINITION_COLUMNS: usize = 5;

/// The reason why a row does not verify.
pub(crate) type Defect = Cow<'static, str>;

/// A row of `shape`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShapeRow<'r> {
    pub(crate) id: i64,
    pub(crate) handle: &'r [u8],
    pub(crate) key: &'r [u8],
    pub(crate) hash: i64,
    pub(crate) state: i64,
    pub(crate) indexed: i64,
    pub(crate) relations: &'r [u8],
    /// `None` in a row of version 1.
    pub(crate) checksum: Option<i64>,
    /// Microseconds; 0 in a row of versions 1 to 3.
    pub(crate) created_at: i64,
}

impl ShapeRow<'_> {
    /// Returns the entry in this row, without a last-read time.
    pub(crate) fn entry(&self) -> Result<Entry, Defect> {
        let handle = str::from_utf8(self.handle).map_err(|_| "column `handle`: not UTF-8")?;
        let handle = Handle::new(handle).map_err(|error| format!("column `handle`: {error}"))?;
        let key = self
            .key
            .try_into()
            .map_err(|_| format!("column `key`: {} bytes instead of 32", self.key.len()))?;
        let state = match self.state {
            0 => SnapshotState::Pending,
            1 => SnapshotState::Started,
            3 => SnapshotState::Complete,
            state => return Err(format!("column `state`: invalid value {state}").into()),
        };
        let indexed = match self.indexed {
            0 => false,
            1 => true,
            indexed => return Err(format!("column `indexed`: invalid value {indexed}").into()),
        };
        let (oids, []) = self.relations.as_chunks::<4>() else {
            let length = self.relations.len();
            return Err(format!("column `relations`: {length} bytes are no multiple of 4").into());
        };
        let relations: Relations = oids.iter().map(|oid| Relation::new(u32::from_le_bytes(*oid))).collect();
        if relations.len() != oids.len() {
            return Err("column `relations`: a relation occurs twice".into());
        }
        let hash = DefinitionHash::new(self.hash.cast_unsigned());
        let entry = Entry::new(seq(self.id), handle, Key::new(key), hash, relations, indexed)
            .with_created_at(created_at(self.created_at));
        if self.checksum.is_some_and(|sum| sum != checksum::of_shape(&entry, state, &mut Vec::new())) {
            return Err("its checksum does not match".into());
        }
        Ok(entry.with_state(state, None))
    }
}

/// A row of `definition`: one definition, or a block of several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefinitionRow<'r> {
    pub(crate) id: i64,
    pub(crate) dependencies: &'r [u8],
    pub(crate) body: &'r [u8],
    /// `None` in a row of version 1. Not verified in a block, whose definitions have checksums of their own.
    pub(crate) checksum: Option<i64>,
    /// The first shape of a block; `None` if the row is one definition.
    pub(crate) first: Option<i64>,
}

impl DefinitionRow<'_> {
    /// Returns the record of this entry, with its definition in this row; `None` if the row is that of other
    /// shapes.
    pub(crate) fn record(
        &self,
        entry: Arc<Entry>,
        blocks: &mut BlockReader,
    ) -> Result<Option<Record>, Defect> {
        let id = entry.created().get().cast_signed();
        let found = match self.first {
            None if self.id != id => None,
            None => {
                let (dependencies, body, checksum) = (self.dependencies, self.body, self.checksum);
                Some(StoredDefinition { id, dependencies, body, checksum })
            }
            Some(first) if first > id => None,
            Some(first) => {
                let block = Block { id: self.id, first, list: self.dependencies, content: self.body };
                blocks.find(&block, id)?
            }
        };
        found.map(|found| found.record(entry)).transpose()
    }
}

impl StoredDefinition<'_> {
    fn record(&self, entry: Arc<Entry>) -> Result<Record, Defect> {
        let (keys, []) = self.dependencies.as_chunks::<32>() else {
            let length = self.dependencies.len();
            return Err(format!(
                "its definition: column `dependencies`: {length} bytes are no multiple of 32"
            )
            .into());
        };
        let dependencies: Box<[Key]> = keys.iter().map(|key| Key::new(*key)).collect();
        let sum = || checksum::of_definition(entry.created(), entry.key(), &dependencies, self.body);
        if self.checksum.is_some_and(|found| found != sum()) {
            return Err("its definition: the checksum does not match".into());
        }
        Ok(Record { entry, dependencies, definition: self.body.into() })
    }
}

fn column<'r>(row: &'r Row<'_>, at: usize) -> Result<ValueRef<'r>> {
    row.get_ref(at).map_err(failed("read a row"))
}

fn blob<'r>(row: &'r Row<'_>, id: i64, at: usize, name: &str) -> Result<&'r [u8]> {
    column(row, at)?.as_blob().map_err(|_| damaged_shape(id, &format!("{name} is not a blob")))
}

pub(crate) fn integer(row: &Row<'_>, at: usize) -> Result<i64> {
    row.get(at).map_err(failed("read a row"))
}

pub(crate) fn bytes(row: &Row<'_>, at: usize) -> Result<Vec<u8>> {
    row.get(at).map_err(failed("read a row"))
}

pub(crate) fn text(row: &Row<'_>, at: usize) -> Result<String> {
    row.get(at).map_err(failed("read a row"))
}

fn checksum_of(row: &Row<'_>, at: usize) -> Result<Option<i64>> {
    row.get(at).map_err(failed("read a row"))
}

/// Names a row of `shape` in an error.
pub(crate) fn shape_row(id: i64) -> String {
    format!("shape {id}")
}

fn damaged_shape(id: i64, defect: &str) -> Error {
    damaged_row(&shape_row(id), defect)
}

/// Decodes the column of a time of creation; `None` if it is unknown.
fn created_at(column: i64) -> Option<Timestamp> {
    (column != 0).then(|| Timestamp::from_micros(column.cast_unsigned()))
}

/// Encodes a time of creation as [`ShapeRow`] decodes it.
pub(crate) fn encode_created_at(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::as_micros).cast_signed()
}

/// Returns the sequence number that is this row id.
pub(crate) fn seq(id: i64) -> Seq {
    Seq::new(id.cast_unsigned())
}

/// Returns the handle in this column of a row, which `place` names in an error.
pub(crate) fn handle(row: &Row<'_>, at: usize, place: impl Fn() -> String) -> Result<Handle> {
    let text =
        column(row, at)?.as_str().map_err(|_| damaged_row(&place(), "column `handle` is not a text"))?;
    Handle::new(text).map_err(|error| damaged_row(&place(), &format!("column `handle`: {error}")))
}

/// Returns the entry in a row of [`entry_columns`], with the last-read time that `last_read` returns for its
/// id.
pub(crate) fn entry(row: &Row<'_>, last_read: impl FnOnce(Seq) -> Option<Timestamp>) -> Result<Entry> {
    let id = integer(row, 0)?;
    let found = ShapeRow {
        id,
        handle: column(row, 1)?.as_bytes().map_err(|_| damaged_shape(id, "column `handle` is not a text"))?,
        key: blob(row, id, 2, "column `key`")?,
        hash: integer(row, 3)?,
        state: integer(row, 4)?,
        indexed: integer(row, 5)?,
        relations: blob(row, id, 6, "column `relations`")?,
        checksum: checksum_of(row, 7)?,
        created_at: integer(row, 8)?,
    };
    let entry = found.entry().map_err(|defect| damaged_shape(id, &defect))?;
    let state = entry.state();
    Ok(entry.with_state(state, last_read(seq(id))))
}

/// As [`entry`], for the row of a look-up.
///
/// # Errors
///
/// `Corrupt` if the row of the shape is missing: it is deleted in the same transaction as its look-ups.
pub(crate) fn looked_up(row: &Row<'_>, last_read: impl FnOnce(Seq) -> Option<Timestamp>) -> Result<Entry> {
    if column(row, 0)? == ValueRef::Null {
        return Err(damaged_shape(
            integer(row, LOOKUP)?,
            "its row is missing, and only a look-up leads to it",
        ));
    }
    entry(row, last_read)
}

/// Returns the error of a shape without a row of `definition`. The two are written and deleted in one
/// transaction.
pub(crate) fn missing_definition(id: i64) -> Error {
    damaged_shape(id, "its definition is missing")
}

/// Returns the record of this entry, in a row with the columns of `definition` from `at` on.
///
/// # Errors
///
/// `Corrupt` if the row has no definition of the shape, or a damaged one.
pub(crate) fn record(
    row: &Row<'_>,
    at: usize,
    entry: Arc<Entry>,
    blocks: &mut BlockReader,
) -> Result<Record> {
    let id = entry.created().get().cast_signed();
    find_record(row, at, entry, blocks)?.ok_or_else(|| missing_definition(id))
}

/// Whether a row with the columns of `definition` from `at` on is a block.
pub(crate) fn is_block(row: &Row<'_>, at: usize) -> Result<bool> {
    Ok(column(row, at + 4)? != ValueRef::Null)
}

/// As [`record`]; `None` if the row has no definition of the shape.
pub(crate) fn find_record(
    row: &Row<'_>,
    at: usize,
    entry: Arc<Entry>,
    blocks: &mut BlockReader,
) -> Result<Option<Record>> {
    let id = entry.created().get().cast_signed();
    if column(row, at)? == ValueRef::Null {
        return Ok(None);
    }
    let found = DefinitionRow {
        id: integer(row, at)?,
        dependencies: blob(row, id, at + 1, "column `dependencies`")?,
        body: blob(row, id, at + 2, "column `body`")?,
        checksum: checksum_of(row, at + 3)?,
        first: row.get(at + 4).map_err(failed("read a row"))?,
    };
    found.record(entry, blocks).map_err(|defect| damaged_shape(id, &defect))
}

/// Encodes relations as [`ShapeRow`] decodes them.
pub(crate) fn encode_relations(relations: &[Relation], into: &mut Vec<u8>) {
    into.clear();
    relations.iter().for_each(|one| into.extend_from_slice(&one.oid().to_le_bytes()));
}
