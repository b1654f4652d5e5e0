//! Decoding of rows. Every row is verified where it is read, so that a damaged one is never served.

use std::sync::Arc;

use shape_meta_core::{
    DefinitionHash, Entry, Error, Handle, Key, Record, Relation, Relations, Result, Seq, SnapshotState,
    Timestamp, store_parts::checksum,
};
use tokio_postgres::{Row, types::FromSql};

use crate::error::damaged_row;

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
        "definition.dependencies, definition.body, definition.checksum"
    };
}
pub(crate) use definition_columns;

/// The position of the columns of `definition`, after those of `shape`.
pub(crate) const DEFINITION: usize = 9;
/// The number of [`definition_columns`].
pub(crate) const DEFINITION_COLUMNS: usize = 3;

/// Returns a column. The statements are constants, so a column of another type means that another program has
/// changed the tables.
fn column<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|source| {
        let name = row.columns().get(at).map_or("?", |column| column.name());
        damaged_row(&format!("column `{name}`"), "it has another type than the schema").with_source(source)
    })
}

pub(crate) fn int4(row: &Row, at: usize) -> Result<i32> {
    column(row, at)
}

pub(crate) fn int8(row: &Row, at: usize) -> Result<i64> {
    column(row, at)
}

pub(crate) fn boolean(row: &Row, at: usize) -> Result<bool> {
    column(row, at)
}

pub(crate) fn text(row: &Row, at: usize) -> Result<&str> {
    column(row, at)
}

pub(crate) fn optional_bytes(row: &Row, at: usize) -> Result<Option<&[u8]>> {
    column(row, at)
}

pub(crate) fn optional_text(row: &Row, at: usize) -> Result<Option<&str>> {
    column(row, at)
}

pub(crate) fn optional_int8(row: &Row, at: usize) -> Result<Option<i64>> {
    column(row, at)
}

pub(crate) fn optional_float8(row: &Row, at: usize) -> Result<Option<f64>> {
    column(row, at)
}

pub(crate) fn bytes(row: &Row, at: usize) -> Result<&[u8]> {
    column(row, at)
}

/// Returns the sequence number that is this id.
pub(crate) fn seq(id: i64) -> Seq {
    Seq::new(id.cast_unsigned())
}

/// Names a row of `shape` in an error.
pub(crate) fn shape_row(id: i64) -> String {
    format!("shape {id}")
}

fn damaged_shape(id: i64, defect: &str) -> Error {
    damaged_row(&shape_row(id), defect)
}

/// Returns the error of a shape without a row of `definition`. The two are written and deleted in one
/// transaction.
pub(crate) fn missing_definition(id: i64) -> Error {
    damaged_shape(id, "its definition is missing")
}

/// Returns the handle in this column of a row, which `place` names in an error.
pub(crate) fn handle(row: &Row, at: usize, place: impl Fn() -> String) -> Result<Handle> {
    Handle::new(text(row, at)?).map_err(|error| damaged_row(&place(), &format!("column `handle`: {error}")))
}

/// Returns the entry in a row of [`entry_columns`], with the last-read time that `last_read` returns for its
/// id.
pub(crate) fn entry(row: &Row, last_read: impl FnOnce(Seq) -> Option<Timestamp>) -> Result<Entry> {
    let id = int8(row, 0)?;
    let damaged = |defect: &str| damaged_shape(id, defect);
    let handle = handle(row, 1, || shape_row(id))?;
    let key = bytes(row, 2)?;
    let key =
        key.try_into().map_err(|_| damaged(&format!("column `key`: {} bytes instead of 32", key.len())))?;
    let state = match column::<i16>(row, 4)? {
        0 => SnapshotState::Pending,
        1 => SnapshotState::Started,
        3 => SnapshotState::Complete,
        state => return Err(damaged(&format!("column `state`: invalid value {state}"))),
    };
    let encoded = bytes(row, 6)?;
    let (oids, []) = encoded.as_chunks::<4>() else {
        return Err(damaged(&format!("column `relations`: {} bytes are no multiple of 4", encoded.len())));
    };
    let relations: Relations = oids.iter().map(|oid| Relation::new(u32::from_le_bytes(*oid))).collect();
    if relations.len() != oids.len() {
        return Err(damaged("column `relations`: a relation occurs twice"));
    }
    let hash = DefinitionHash::new(int8(row, 3)?.cast_unsigned());
    let entry = Entry::new(seq(id), handle, Key::new(key), hash, relations, boolean(row, 5)?)
        .with_created_at(created_at(int8(row, 8)?));
    if int8(row, 7)? != checksum::of_shape(&entry, state, &mut Vec::new()) {
        return Err(damaged("its checksum does not match"));
    }
    Ok(entry.with_state(state, last_read(seq(id))))
}

/// Returns the record of this entry, in a row with [`definition_columns`] from `at` on.
pub(crate) fn record(row: &Row, at: usize, entry: Arc<Entry>) -> Result<Record> {
    let id = entry.created().get().cast_signed();
    let damaged = |defect: &str| damaged_shape(id, &format!("its definition: {defect}"));
    let (Some(encoded), Some(body), Some(sum)) = (
        column::<Option<&[u8]>>(row, at)?,
        column::<Option<&[u8]>>(row, at + 1)?,
        column::<Option<i64>>(row, at + 2)?,
    ) else {
        return Err(missing_definition(id));
    };
    let (keys, []) = encoded.as_chunks::<32>() else {
        return Err(damaged(&format!(
            "column `dependencies`: {} bytes are no multiple of 32",
            encoded.len()
        )));
    };
    let dependencies: Box<[Key]> = keys.iter().map(|key| Key::new(*key)).collect();
    if sum != checksum::of_definition(entry.created(), entry.key(), &dependencies, body) {
        return Err(damaged("the checksum does not match"));
    }
    Ok(Record { entry, dependencies, definition: body.into() })
}

/// Decodes a time of creation; `None` if it is unknown.
fn created_at(column: i64) -> Option<Timestamp> {
    (column != 0).then(|| Timestamp::from_micros(column.cast_unsigned()))
}

/// Encodes a time of creation as [`entry`] decodes it.
pub(crate) fn encode_created_at(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::as_micros).cast_signed()
}

/// Encodes relations as [`entry`] decodes them.
pub(crate) fn encode_relations(relations: &[Relation], into: &mut Vec<u8>) {
    relations.iter().for_each(|one| into.extend_from_slice(&one.oid().to_le_bytes()));
}

/// Encodes dependencies as [`record`] decodes them.
pub(crate) fn encode_dependencies(keys: &[Key], into: &mut Vec<u8>) {
    keys.iter().for_each(|key| into.extend_from_slice(key.as_bytes()));
}
