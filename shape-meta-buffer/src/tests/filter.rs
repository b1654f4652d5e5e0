use std::collections::HashSet;

use crate::{memtable::Filter, memtable::Hashing};

/// Some hashes as the overlay makes them.
fn hashes(number: u32) -> Vec<u64> {
    let hashing = Hashing::default();
    (0..number).map(|one| hashing.handle(&one.to_be_bytes())).collect()
}

/// A filter that always says "perhaps" is right too; every read would take the lock, and nothing else would show it.
#[test]
fn what_is_not_pending_is_mostly_told_without_the_lock() {
    let filter = Filter::for_shapes(1_000);
    let hashes = hashes(2_000);
    let (set, others) = hashes.split_at(1_000);
    assert!(!hashes.iter().any(|hash| filter.may_know(*hash)));
    set.iter().for_each(|hash| filter.set(*hash));
    assert!(set.iter().all(|hash| filter.may_know(*hash)));
    let in_vain = others.iter().filter(|hash| filter.may_know(**hash)).count();
    assert!(in_vain < 200, "an eighth of the bits is set, and {in_vain} of 1,000 look as if they were");
    filter.clear();
    assert!(!hashes.iter().any(|hash| filter.may_know(*hash)));
    filter.set_all();
    assert!(hashes.iter().all(|hash| filter.may_know(*hash)));
    filter.clear();
    assert!(!hashes.iter().any(|hash| filter.may_know(*hash)));
}

/// What is set twice stays set.
#[test]
fn c1_a_bit_is_set_until_all_are_cleared() {
    let filter = Filter::for_shapes(0);
    let hashes = hashes(100);
    for _ in 0..3 {
        hashes.iter().for_each(|hash| filter.set(*hash));
        assert!(hashes.iter().all(|hash| filter.may_know(*hash)));
    }
}

/// It takes as much memory as it is told, within bounds, and uses all of it.
#[test]
fn hashes_are_spread_over_all_bits_of_a_word_and_all_words() {
    let filled = |shapes, number: u32| {
        let filter = Filter::for_shapes(shapes);
        let one_each: HashSet<_> = hashes(number)
            .into_iter()
            .filter(|hash| {
                let is_new = !filter.may_know(*hash);
                filter.set(*hash);
                is_new
            })
            .collect();
        one_each.len()
    };
    assert_eq!(filled(0, 100_000), 1 << 12);
    assert_eq!(filled(1_000, 200_000), 1 << 13);
}
