use super::super::sample::{handle, key};
use crate::{Handle, NewShape, Relation};

/// How many handles there are in the small world of the operations, so that they meet often.
pub const HANDLES: u8 = 6;
/// How many keys there are.
pub const KEYS: u8 = 5;
/// How many relations there are.
pub const RELATIONS: u8 = 4;

/// A shape of the small world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its handle.
    pub handle: u8,
    /// Its key.
    pub key: u8,
    /// Its relations, a bit each.
    pub relations: u8,
    /// What it builds on: keys, a bit each.
    pub dependencies: u8,
    /// The size of its definition, in steps of a hundred bytes, and whether it is indexed (if odd).
    pub size: u8,
}

impl Spec {
    /// The shape.
    pub fn shape(self) -> NewShape {
        let identity = key(u64::from(self.key % KEYS));
        NewShape {
            handle: op_handle(self.handle),
            key: identity,
            hash: identity.definition_hash(),
            relations: bits(self.relations, RELATIONS).map(relation).collect(),
            dependencies: bits(self.dependencies, KEYS).map(|number| key(number.into())).collect(),
            indexed: self.size % 2 == 1,
            definition: vec![self.size; usize::from(self.size) * 100].into(),
        }
    }
}

pub(super) fn op_handle(number: u8) -> Handle {
    handle((number % HANDLES).into())
}

pub(super) fn relation(number: u8) -> Relation {
    Relation::new(16_500 + u32::from(number))
}

/// The numbers below `world` whose bit is set.
pub(super) fn bits(bits: u8, world: u8) -> impl Iterator<Item = u8> {
    (0..world).filter(move |number| bits & (1 << number) != 0)
}
