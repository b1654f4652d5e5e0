use super::super::sample::{handle, key};
use crate::{Handle, NewShape, Relation, Timestamp};

/// The number of handles that operations use: few, so that operations often use the same one.
pub const HANDLES: u8 = 6;
/// The number of keys that operations use.
pub const KEYS: u8 = 5;
/// The number of relations that operations use.
pub const RELATIONS: u8 = 4;

/// The shape of an operation, as small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeSpec {
    /// The handle.
    pub handle: u8,
    /// The key.
    pub key: u8,
    /// The relations, one bit each.
    pub relations: u8,
    /// The keys that it depends on, one bit each.
    pub dependencies: u8,
    /// The size of the definition in units of 100 bytes. If odd, the shape is indexed.
    pub size: u8,
}

impl ShapeSpec {
    /// Returns the shape.
    pub fn shape(self) -> NewShape {
        let key_of_shape = key(u64::from(self.key % KEYS));
        NewShape {
            handle: op_handle(self.handle),
            key: key_of_shape,
            hash: key_of_shape.definition_hash(),
            relations: bits(self.relations, RELATIONS).map(relation).collect(),
            dependencies: bits(self.dependencies, KEYS).map(|number| key(number.into())).collect(),
            indexed: self.size % 2 == 1,
            definition: vec![self.size; usize::from(self.size) * 100].into(),
            created_at: Some(Timestamp::from_micros(1 + u64::from(self.size))),
        }
    }
}

pub(super) fn op_handle(number: u8) -> Handle {
    handle((number % HANDLES).into())
}

pub(super) fn relation(number: u8) -> Relation {
    Relation::new(16_500 + u32::from(number))
}

/// Returns the numbers below `count` whose bit is set.
pub(super) fn bits(bits: u8, count: u8) -> impl Iterator<Item = u8> {
    (0..count).filter(move |number| bits & (1 << number) != 0)
}
