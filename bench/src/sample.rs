//! Records of 500 bytes: a handle of 25, a key of 32, the rest definition. One relation each.

use std::{hash::BuildHasher, path::Path};

use shape_meta::{
    BufferOptions, CacheOptions, DefinitionHash, Handle, Key, Lookups, NewShape, NoData, Relation, ShapeMeta,
    SqliteOptions,
};

use crate::Result;

/// Shapes that read one relation.
pub(crate) const PER_RELATION: u64 = 10_000;
const DEFINITION: usize = 419;

/// Bytes of a record: definition, key, handle, hash, relation.
pub(crate) const RECORD: u64 = 500;

pub(crate) fn handle(number: u64) -> Handle {
    Handle::new(handle_text(number)).expect("digits are printable")
}

pub(crate) fn handle_text(number: u64) -> String {
    format!("{:08}-{:016}", mix(number) % 100_000_000, 1_768_476_874_000_000 + number)
}

pub(crate) fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    for (at, part) in bytes.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&mix(number * 4 + at as u64).to_le_bytes());
    }
    Key::new(bytes)
}

pub(crate) fn relation(number: u64) -> Relation {
    Relation::new(16_384 + (number / PER_RELATION) as u32)
}

pub(crate) fn shape(number: u64) -> NewShape {
    let key = key(number);
    let mut definition = vec![b'x'; DEFINITION];
    definition[..8].copy_from_slice(&number.to_le_bytes());
    NewShape {
        handle: handle(number),
        key,
        hash: DefinitionHash::new(mix(number)),
        relations: [relation(number)].into_iter().collect(),
        dependencies: [].into(),
        indexed: number.is_multiple_of(2),
        definition: definition.into(),
    }
}

/// A number that looks random and is the same every time.
pub(crate) fn mix(number: u64) -> u64 {
    foldhash::fast::FixedState::with_seed(7).hash_one(number)
}

/// The product, with room for a storm.
pub(crate) fn open(directory: &Path, lookups: Lookups, expected: usize) -> Result<ShapeMeta> {
    Ok(ShapeMeta::builder(NoData)
        .sqlite(SqliteOptions::default())
        .cached(CacheOptions::default().lookups(lookups).expected_shapes(expected))
        .buffered(buffer())
        .open(directory)?)
}

pub(crate) fn buffer() -> BufferOptions {
    BufferOptions::default().max_changes(200_000)
}
