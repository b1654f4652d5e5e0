//! Rows to entries and back.

use std::sync::Arc;

use rusqlite::{Row, types::ValueRef};
use shape_meta_core::{
    DefinitionHash, Entry, Handle, Key, Record, Relation, Relations, Result, Seq, SnapshotState, Timestamp,
};

use crate::error::{failed, not_of_ours};

/// The columns of `shape` as [`entry`] wants them.
macro_rules! entry_columns {
    () => {
        "shape.id, shape.handle, shape.key, shape.hash, shape.state, shape.indexed, shape.relations"
    };
}
pub(crate) use entry_columns;

/// Where the columns of `definition` stand if they follow those of `shape`.
pub(crate) const DEPENDENCIES: usize = 7;

fn column<'r>(row: &'r Row<'_>, at: usize) -> Result<ValueRef<'r>> {
    row.get_ref(at).map_err(failed("read a row"))
}

fn blob<'r>(row: &'r Row<'_>, id: i64, at: usize, what: &str) -> Result<&'r [u8]> {
    column(row, at)?.as_blob().map_err(|_| not_of_ours(what, id))
}

pub(crate) fn integer(row: &Row<'_>, at: usize) -> Result<i64> {
    row.get(at).map_err(failed("read a row"))
}

/// A place in the order, as a row id.
pub(crate) fn seq(id: i64) -> Seq {
    Seq::new(id.cast_unsigned())
}

pub(crate) fn handle(row: &Row<'_>, id: i64, at: usize) -> Result<Handle> {
    let text = column(row, at)?.as_str().map_err(|_| not_of_ours("its handle is no text", id))?;
    Handle::new(text).map_err(|_| not_of_ours("its handle is not printable", id))
}

/// The entry in a row of [`entry_columns`].
pub(crate) fn entry(row: &Row<'_>, last_read: impl FnOnce(Seq) -> Option<Timestamp>) -> Result<Entry> {
    let id = integer(row, 0)?;
    let key: [u8; 32] = blob(row, id, 2, "its key is no blob")?
        .try_into()
        .map_err(|_| not_of_ours("its key is not 32 bytes long", id))?;
    let state = SnapshotState::from_bits((integer(row, 4)? & 3) as u8);
    let entry = Entry::new(
        seq(id),
        handle(row, id, 1)?,
        Key::new(key),
        DefinitionHash::new(integer(row, 3)?.cast_unsigned()),
        relations(blob(row, id, 6, "its relations are no blob")?),
        integer(row, 5)? != 0,
    );
    Ok(entry.with(state, last_read(seq(id))))
}

/// The record of this entry, in a row that has the columns of `definition` from `at`.
pub(crate) fn record(row: &Row<'_>, at: usize, entry: Arc<Entry>) -> Result<Record> {
    let id = entry.created().get().cast_signed();
    let (keys, _) = blob(row, id, at, "its dependencies are no blob")?.as_chunks::<32>();
    let definition = blob(row, id, at + 1, "its definition is no blob")?.into();
    Ok(Record { entry, dependencies: keys.iter().map(|key| Key::new(*key)).collect(), definition })
}

fn relations(bytes: &[u8]) -> Relations {
    let (oids, _) = bytes.as_chunks::<4>();
    oids.iter().map(|oid| Relation::new(u32::from_le_bytes(*oid))).collect()
}

/// Writes relations as [`relations`] reads them.
pub(crate) fn encode_relations(relations: &[Relation], into: &mut Vec<u8>) {
    into.clear();
    relations.iter().for_each(|one| into.extend_from_slice(&one.oid().to_le_bytes()));
}

/// Writes dependencies as [`record`] reads them.
pub(crate) fn encode_dependencies(keys: &[Key], into: &mut Vec<u8>) {
    into.clear();
    keys.iter().for_each(|key| into.extend_from_slice(key.as_bytes()));
}
