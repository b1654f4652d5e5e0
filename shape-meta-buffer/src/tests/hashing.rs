use std::collections::HashSet;

use shape_meta_core::{Relation, conformance::key};

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
