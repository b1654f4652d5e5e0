//! Sample records of 500 bytes: a handle of 25, a key of 32, the rest definition. Each has one relation.

use std::hash::BuildHasher;

use shape_meta::{Handle, Key, NewShape, Relation, Shape, TableName};

use super::definition;

/// The number of shapes that read one relation.
pub(crate) const PER_RELATION: u64 = 10_000;
const FIRST_TIME: u64 = 1_768_476_874_000_000;

/// The size of a definition in bytes.
pub(crate) const DEFINITION: usize = definition::SIZE;

/// The size of a record in bytes: definition, key, handle, hash, relation.
pub(crate) const RECORD: u64 = 500;

pub(crate) fn handle(number: u64) -> Handle {
    Handle::new(format!("{:08}-{:016}", mix(number) % 100_000_000, FIRST_TIME + number))
        .expect("digits are printable")
}

/// Returns the number of the shape with this handle.
pub(crate) fn number(handle: &str) -> Option<u64> {
    let (_, time) = handle.split_once('-')?;
    time.parse::<u64>().ok()?.checked_sub(FIRST_TIME)
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
    NewShape {
        handle: handle(number),
        key,
        hash: key.definition_hash(),
        relations: [relation(number)].into_iter().collect(),
        dependencies: [].into(),
        indexed: number.is_multiple_of(2),
        definition: definition::bytes(number),
        created_at: None,
    }
}

/// Returns a definition of 300 bytes.
pub(crate) fn definition(number: u64) -> Shape {
    Shape::new(TableName::new("public", "issues"), relation(number))
        .pk(["id"])
        .columns(["id", "title", "state", "body", "author_id", "created_at", "project_id", "updated_at"])
        .filter("project_id = $1 AND state <> 'done' AND author_id = $2")
        .param("1", format!("{number:012}"))
        .param("2", format!("{:021x}", u128::from(mix(number)) << 20))
}

/// Returns the shape with these relations.
pub(crate) fn reading(number: u64, relations: impl IntoIterator<Item = u32>) -> NewShape {
    let relations = relations.into_iter().map(Relation::new).collect();
    NewShape { relations, ..shape(number) }
}

/// Returns a pseudo-random number that is the same in every run.
pub(crate) fn mix(number: u64) -> u64 {
    foldhash::fast::FixedState::with_seed(7).hash_one(number)
}

#[cfg(test)]
mod tests {
    use shape_meta::Definition;

    use super::*;

    #[test]
    fn a_definition_has_the_documented_size() {
        assert_eq!(definition(1).encode().len(), 300);
    }

    #[test]
    fn a_record_has_the_documented_size() {
        let shape = shape(12_345);
        let relations = 4 * shape.relations.len();
        assert_eq!(shape.handle.len() + 32 + 8 + shape.definition.len() + relations, RECORD as usize);
        assert_eq!(number(&shape.handle), Some(12_345));
    }
}
