//! The 64-bit forms of handles, keys and relations in the index tables. A part of the file format: they never
//! change without a migration.

use shape_meta_core::{Key, Relation};

/// Returns 64 bits of a handle: FNV-1a, with a finalizer that spreads its weak high bits.
///
/// Two handles may have the same bits, so a hit is compared with the row. Handles are chosen by the engine,
/// so this need not withstand an attacker, who could only make look-ups slow.
pub(crate) fn handle(text: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).cast_signed()
}

/// Returns 64 bits of a key, which is a cryptographic hash already.
pub(crate) fn key(key: &Key) -> i64 {
    key.prefix().cast_signed()
}

/// Returns the OID of a relation, which fits as it is.
pub(crate) fn relation(relation: Relation) -> i64 {
    relation.oid().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_never_change() {
        assert_eq!(handle(""), -1166397803181037274);
        assert_eq!(handle("54334872-1768476874000000"), 7078943681883571613);
        assert_eq!(key(&Key::new([0xff; 32])), -1);
        assert_eq!(relation(Relation::new(u32::MAX)), 4_294_967_295);
    }
}
