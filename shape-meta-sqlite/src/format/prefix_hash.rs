//! The narrow forms under which the index tables know things: a part of the file format, so they never
//! change without a migration.

use shape_meta_core::{Key, Relation};

/// 64 bits of a handle: FNV-1a, with a finalizer that spreads its weak high bits. Two handles may share
/// them; a hit is checked against the row. Handles are the engine's to choose, so this need not withstand
/// an attacker: one who could choose them would only make look-ups slow.
pub(crate) fn handle(text: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).cast_signed()
}

/// 64 bits of a key. It is a cryptographic hash already.
pub(crate) fn key(key: &Key) -> i64 {
    key.prefix().cast_signed()
}

/// A relation is narrow as it is.
pub(crate) fn relation(relation: Relation) -> i64 {
    relation.oid().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_the_same_for_ever() {
        assert_eq!(handle(""), -1166397803181037274);
        assert_eq!(handle("54334872-1768476874000000"), 7078943681883571613);
        assert_eq!(key(&Key::new([0xff; 32])), -1);
        assert_eq!(relation(Relation::new(u32::MAX)), 4_294_967_295);
    }
}
