//! Shapes that are made from numbers, for the checks and for further tests.

use crate::{DefinitionHash, Handle, Key, NewShape, Relation, Relations, Timestamp};

/// Returns the handle of the shape with this number.
pub fn handle(number: u64) -> Handle {
    text_handle(&format!("{number}-1768476874000000"))
}

/// Returns the key of the definition with this number. Keys are spread evenly, as the output of a hash is.
pub fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    for (part, chunk) in (0..).zip(bytes.chunks_exact_mut(8)) {
        chunk.copy_from_slice(&mix(number.wrapping_mul(4).wrapping_add(part)).to_le_bytes());
    }
    Key::new(bytes)
}

/// Returns the relations with these OIDs.
pub fn relations(oids: &[u32]) -> Relations {
    oids.iter().copied().map(Relation::new).collect()
}

/// Returns the shape with this number. It has the handle and the key of the number, one relation (the number
/// modulo 7) and no dependencies, is indexed if the number is even, and has its own time of creation.
pub fn shape(number: u64) -> NewShape {
    let key = key(number);
    NewShape {
        handle: handle(number),
        key,
        hash: key.definition_hash(),
        relations: relations(&[(number % 7) as u32]),
        dependencies: [].into(),
        indexed: number.is_multiple_of(2),
        definition: format!("definition {number}").into_bytes().into(),
        created_at: Some(Timestamp::from_micros(1_700_000_000_000_000 + number % 1_000_000_000)),
    }
}

/// Returns a handle with this text.
pub(super) fn text_handle(text: &str) -> Handle {
    Handle::new(text).expect("the text of a sample handle is valid")
}

/// A definition hash that no sample shape has.
pub(super) const OTHER_HASH: DefinitionHash = DefinitionHash::new(0x6f74_6865_7220_6861);

/// The finalizer of splitmix64. It is a bijection, so different numbers have different keys.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
