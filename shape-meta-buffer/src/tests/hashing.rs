use std::collections::HashSet;

use shape_meta_core::{Key, Relation, conformance::key};

use crate::memtable::Hashing;

/// Colliding hashes would still be correct, since every hit is compared.
#[test]
fn different_values_have_different_hashes() {
    let hashing = Hashing::default();
    let different = |hash: &dyn Fn(u32) -> u64| (0..1_000).map(hash).collect::<HashSet<_>>().len();
    assert_eq!(different(&|number| hashing.handle(&number.to_le_bytes())), 1_000);
    assert_eq!(different(&|number| hashing.key(&key(number.into()))), 1_000);
    assert_eq!(different(&|number| hashing.relation(Relation::new(number))), 1_000);
    assert_ne!(hashing.key(&key(1)), Hashing::default().key(&key(1)), "the seed is random");
}

/// Once, keys were hashed by their first eight bytes, so that 16,000 with equal prefixes were one bucket.
#[test]
fn c14_keys_with_equal_prefixes_have_different_hashes() {
    let hashing = Hashing::default();
    for differing in [8, 16, 24] {
        let key = |number: u32| {
            let mut bytes = [7; 32];
            bytes[differing..differing + 4].copy_from_slice(&number.to_le_bytes());
            Key::new(bytes)
        };
        let hashes: HashSet<u64> = (0..16_000).map(|number| hashing.key(&key(number))).collect();
        assert_eq!(hashes.len(), 16_000, "keys that differ from byte {differing} on");
    }
}
