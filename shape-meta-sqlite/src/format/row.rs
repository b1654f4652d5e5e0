//! Rows to entries and back. Every row is verified where it is read, so that what is damaged is never served.

use std::sync::Arc;

use rusqlite::{Row, types::ValueRef};
use shape_meta_core::{
    DefinitionHash, Entry, Handle, Key, Record, Relation, Relations, Result, Seq, SnapshotState, Timestamp,
};

use crate::{
    error::{damaged_row, failed},
    format::checksum,
};

/// The columns of `shape` as [`entry`] wants them.
macro_rules! entry_columns {
    () => {
        "shape.id, shape.handle, shape.key, shape.hash, shape.state, shape.indexed, shape.relations, \
         shape.checksum"
    };
}
pub(crate) use entry_columns;

/// Where the columns of `definition` stand if they follow those of `shape`.
pub(crate) const DEFINITION: usize = 8;
/// Where the time of the last read stands if it follows them.
pub(crate) const LAST_READ: usize = 8;

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
    /// None in a row of version 1.
    pub(crate) checksum: Option<i64>,
}

impl ShapeRow<'_> {
    /// The entry in this row, or what is wrong with it.
    pub(crate) fn entry(&self) -> Result<Entry, &'static str> {
        let handle = str::from_utf8(self.handle).map_err(|_| "its handle is no text")?;
        let handle = Handle::new(handle).map_err(|_| "its handle is not printable")?;
        let key = self.key.try_into().map_err(|_| "its key is not 32 bytes long")?;
        let state = match self.state {
            0 => SnapshotState::Pending,
            1 => SnapshotState::Started,
            3 => SnapshotState::Complete,
            _ => return Err("its snapshot state is none"),
        };
        let indexed = match self.indexed {
            0 => false,
            1 => true,
            _ => return Err("it is neither indexed nor not"),
        };
        let (oids, []) = self.relations.as_chunks::<4>() else {
            return Err("its relations are not 4 bytes each");
        };
        let relations: Relations = oids.iter().map(|oid| Relation::new(u32::from_le_bytes(*oid))).collect();
        if relations.len() != oids.len() {
            return Err("it reads a relation twice");
        }
        let hash = DefinitionHash::new(self.hash.cast_unsigned());
        let entry = Entry::new(seq(self.id), handle, Key::new(key), hash, relations, indexed);
        if self.checksum.is_some_and(|sum| sum != checksum::of_shape(&entry, state, &mut Vec::new())) {
            return Err("its checksum does not fit it");
        }
        Ok(entry.with(state, None))
    }
}

/// A row of `definition`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefinitionRow<'r> {
    pub(crate) dependencies: &'r [u8],
    pub(crate) body: &'r [u8],
    /// None in a row of version 1.
    pub(crate) checksum: Option<i64>,
}

impl DefinitionRow<'_> {
    /// The record with this entry and the definition in this row, or what is wrong with the row.
    pub(crate) fn record(&self, entry: Arc<Entry>) -> Result<Record, &'static str> {
        let (keys, []) = self.dependencies.as_chunks::<32>() else {
            return Err("the dependencies of its definition are not 32 bytes each");
        };
        let dependencies: Box<[Key]> = keys.iter().map(|key| Key::new(*key)).collect();
        let sum = || checksum::of_definition(entry.created(), entry.key(), &dependencies, self.body);
        if self.checksum.is_some_and(|found| found != sum()) {
            return Err("the checksum of its definition does not fit it");
        }
        Ok(Record { entry, dependencies, definition: self.body.into() })
    }
}

fn column<'r>(row: &'r Row<'_>, at: usize) -> Result<ValueRef<'r>> {
    row.get_ref(at).map_err(failed("read a row"))
}

fn blob<'r>(row: &'r Row<'_>, id: i64, at: usize, what: &str) -> Result<&'r [u8]> {
    column(row, at)?.as_blob().map_err(|_| damaged_row(what, id))
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

/// A place in the order, as a row id.
pub(crate) fn seq(id: i64) -> Seq {
    Seq::new(id.cast_unsigned())
}

pub(crate) fn handle(row: &Row<'_>, id: i64, at: usize) -> Result<Handle> {
    let text = column(row, at)?.as_str().map_err(|_| damaged_row("its handle is no text", id))?;
    Handle::new(text).map_err(|_| damaged_row("its handle is not printable", id))
}

/// The entry in a row of [`entry_columns`].
pub(crate) fn entry(row: &Row<'_>, last_read: impl FnOnce(Seq) -> Option<Timestamp>) -> Result<Entry> {
    let id = integer(row, 0)?;
    let found = ShapeRow {
        id,
        handle: column(row, 1)?.as_bytes().map_err(|_| damaged_row("its handle is no text", id))?,
        key: blob(row, id, 2, "its key is no blob")?,
        hash: integer(row, 3)?,
        state: integer(row, 4)?,
        indexed: integer(row, 5)?,
        relations: blob(row, id, 6, "its relations are no blob")?,
        checksum: checksum_of(row, 7)?,
    };
    let entry = found.entry().map_err(|what| damaged_row(what, id))?;
    let state = entry.state();
    Ok(entry.with(state, last_read(seq(id))))
}

/// The record of this entry, in a row that has the columns of `definition` from `at`.
pub(crate) fn record(row: &Row<'_>, at: usize, entry: Arc<Entry>) -> Result<Record> {
    let id = entry.created().get().cast_signed();
    let found = DefinitionRow {
        dependencies: blob(row, id, at, "its dependencies are no blob")?,
        body: blob(row, id, at + 1, "its definition is no blob")?,
        checksum: checksum_of(row, at + 2)?,
    };
    found.record(entry).map_err(|what| damaged_row(what, id))
}

/// Writes relations as [`ShapeRow`] reads them.
pub(crate) fn encode_relations(relations: &[Relation], into: &mut Vec<u8>) {
    into.clear();
    relations.iter().for_each(|one| into.extend_from_slice(&one.oid().to_le_bytes()));
}

/// Writes dependencies as [`DefinitionRow`] reads them.
pub(crate) fn encode_dependencies(keys: &[Key], into: &mut Vec<u8>) {
    into.clear();
    keys.iter().for_each(|key| into.extend_from_slice(key.as_bytes()));
}
