//! The record of the key-value stores: hash, state, key, relations, definition.

use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::Facts;

use crate::Result;

/// The state of the shapes that fill a database: a complete snapshot.
pub(crate) const COMPLETE: u8 = 3;
const HEAD: usize = 8 + 1 + 32 + 1;

/// Encodes the value under the handle.
pub(crate) fn encode(shape: &NewShape, state: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + 4 * shape.relations.len() + shape.definition.len());
    bytes.extend_from_slice(&shape.hash.get().to_le_bytes());
    bytes.push(state);
    bytes.extend_from_slice(shape.key.as_bytes());
    bytes.push(shape.relations.len() as u8);
    shape.relations.iter().for_each(|relation| bytes.extend_from_slice(&relation.oid().to_le_bytes()));
    bytes.extend_from_slice(&shape.definition);
    bytes
}

pub(crate) fn facts(record: &[u8]) -> Result<Facts> {
    let hash = record.first_chunk().ok_or("a record has a hash")?;
    Ok(Facts { hash: u64::from_le_bytes(*hash), state: *record.get(8).ok_or("a record has a state")? })
}

pub(crate) fn key(record: &[u8]) -> Result<Key> {
    let bytes: [u8; 32] = record.get(9..41).ok_or("a record has a key")?.try_into()?;
    Ok(Key::new(bytes))
}

pub(crate) fn relations(record: &[u8]) -> Result<Vec<Relation>> {
    let count = usize::from(*record.get(41).ok_or("a record counts its relations")?);
    let bytes = record.get(HEAD..HEAD + 4 * count).ok_or("a record has its relations")?;
    let oids = bytes.chunks_exact(4).map(|oid| oid.try_into().map(u32::from_le_bytes));
    oids.map(|oid| Ok(Relation::new(oid?))).collect()
}

/// Returns a copy of the definition.
pub(crate) fn definition(record: &[u8]) -> Result<Vec<u8>> {
    let count = usize::from(*record.get(41).ok_or("a record counts its relations")?);
    Ok(record.get(HEAD + 4 * count..).ok_or("a record has a definition")?.to_vec())
}

pub(crate) fn handle(bytes: &[u8]) -> Result<Handle> {
    Ok(Handle::new(std::str::from_utf8(bytes)?)?)
}

/// Returns relation and handle as one key that sorts by relation.
pub(crate) fn pair(relation: Relation, handle: &str) -> Vec<u8> {
    [&relation.oid().to_be_bytes(), handle.as_bytes()].concat()
}

/// Removes duplicates.
pub(crate) fn distinct(mut handles: Vec<Handle>, relations: usize) -> Vec<Handle> {
    if relations > 1 {
        handles.sort_unstable();
        handles.dedup();
    }
    handles
}
