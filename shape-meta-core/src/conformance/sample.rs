//! Shapes that are made from numbers, for the checks and for further tests.

use std::convert::Infallible;

use crate::{
    Definition, DefinitionHash, Handle, Key, NewShape, OnOtherStamp, Record, Rekey, Relation, Relations,
    Timestamp,
};

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

/// The definition of a sample shape with this number, as version 2 of an application has it: another key,
/// encoding, relation (100 to 102) and index flag.
#[derive(Clone, Copy, Debug)]
pub struct SecondVersion(pub u64);

impl SecondVersion {
    /// Returns the definition of a shape that version 1 has encoded.
    pub fn of(record: &Record) -> Self {
        let text = str::from_utf8(&record.definition).expect("it is a sample shape");
        let number = text.strip_prefix("definition ").and_then(|number| number.parse().ok());
        Self(number.expect("version 1 has encoded it"))
    }

    /// Returns the re-key of all shapes from version 1.
    pub fn rekey() -> OnOtherStamp {
        OnOtherStamp::Rekey(Rekey::new(|_, record| Ok::<_, Infallible>(Some(Self::of(record)))))
    }
}

impl Definition for SecondVersion {
    type Error = Infallible;

    fn key(&self) -> Key {
        key(self.0 + 1_000_000)
    }

    fn relations(&self) -> Vec<Relation> {
        vec![Relation::new(100 + (self.0 % 3) as u32)]
    }

    fn is_indexed(&self) -> bool {
        true
    }

    fn encode(&self) -> Vec<u8> {
        format!("second {}", self.0).into_bytes()
    }

    fn decode(_: &[u8]) -> Result<Self, Infallible> {
        Ok(Self(0))
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
