use std::collections::HashSet;

use crate::{memtable::Filter, memtable::Hashing};

/// Returns this many hashes of handles.
fn hashes(number: u32) -> Vec<u64> {
    let hashing = Hashing::default();
    (0..number).map(|one| hashing.handle(&one.to_be_bytes())).collect()
}

/// A filter that always answers "may contain" is correct too, but every read would take the lock.
#[test]
fn few_hashes_that_were_not_set_look_set() {
    let filter = Filter::for_shapes(1_000);
    let hashes = hashes(2_000);
    let (set, others) = hashes.split_at(1_000);
    assert!(!hashes.iter().any(|hash| filter.may_contain(*hash)));
    set.iter().for_each(|hash| filter.set(*hash));
    assert!(set.iter().all(|hash| filter.may_contain(*hash)));
    let false_positives = others.iter().filter(|hash| filter.may_contain(**hash)).count();
    assert!(false_positives < 200, "an eighth of the bits is set, but {false_positives} of 1,000 look set");
    filter.clear();
    assert!(!hashes.iter().any(|hash| filter.may_contain(*hash)));
    filter.set_all();
    assert!(hashes.iter().all(|hash| filter.may_contain(*hash)));
    filter.clear();
    assert!(!hashes.iter().any(|hash| filter.may_contain(*hash)));
}

/// A bit that is set twice stays set.
#[test]
fn c1_a_bit_is_set_until_all_are_cleared() {
    let filter = Filter::for_shapes(0);
    let hashes = hashes(100);
    for _ in 0..3 {
        hashes.iter().for_each(|hash| filter.set(*hash));
        assert!(hashes.iter().all(|hash| filter.may_contain(*hash)));
    }
}

/// The filter has the requested size, within bounds, and uses all of it.
#[test]
fn hashes_are_spread_over_all_words_and_all_their_bits() {
    let filled = |shapes, number: u32| {
        let filter = Filter::for_shapes(shapes);
        let one_each: HashSet<_> = hashes(number)
            .into_iter()
            .filter(|hash| {
                let is_new = !filter.may_contain(*hash);
                filter.set(*hash);
                is_new
            })
            .collect();
        one_each.len()
    };
    assert_eq!(filled(0, 100_000), 1 << 12);
    assert_eq!(filled(1_000, 200_000), 1 << 13);
}
