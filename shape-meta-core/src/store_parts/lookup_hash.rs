//! The 64-bit forms of handles, keys and relations in the look-ups of a database. A part of the format of a
//! store: they never change without a migration.

use twox_hash::XxHash3_64;

use crate::{Key, Relation};

/// Returns 64 bits of a handle: FNV-1a, with a finalizer that spreads its weak high bits.
///
/// Two handles may have the same bits, so a hit is compared with the row. Handles are chosen by the engine,
/// so this need not withstand an attacker, who could only make look-ups slow.
pub fn handle(text: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).cast_signed()
}

/// Returns 64 bits of a key: XXH3-64 over all of it, since keys of a definition type of your own may share
/// any part of their bytes.
pub fn key(key: &Key) -> i64 {
    XxHash3_64::oneshot(key.as_bytes()).cast_signed()
}

/// Returns the OID of a relation, which fits as it is.
pub fn relation(relation: Relation) -> i64 {
    relation.oid().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_keys_with_equal_parts_have_different_hashes() {
        for differing in [0, 8, 16, 24, 28] {
            let hashes: std::collections::HashSet<i64> = (0..16_000_u32)
                .map(|number| {
                    let mut bytes = [7; 32];
                    bytes[differing..differing + 4].copy_from_slice(&number.to_le_bytes());
                    key(&Key::new(bytes))
                })
                .collect();
            assert_eq!(hashes.len(), 16_000, "keys that differ from byte {differing} on");
        }
    }

    #[test]
    fn the_values_never_change() {
        assert_eq!(handle(""), -1166397803181037274);
        assert_eq!(handle("54334872-1768476874000000"), 7078943681883571613);
        assert_eq!(key(&Key::new([0xff; 32])), 3_960_537_223_307_592_690);
        assert_eq!(relation(Relation::new(u32::MAX)), 4_294_967_295);
    }
}
