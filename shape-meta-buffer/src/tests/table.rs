use crate::memtable::Table;

/// Returns a hash that is spread and the same in each run.
fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// No insertion moves more than a part of a large table: writers wait for it.
#[test]
fn c14_a_large_table_grows_in_parts() {
    let mut table = Table::with_capacity(10_000);
    let mut longest = 0;
    for number in 0..100_000 {
        let before = table.capacity();
        let hash = hash(number);
        table.part_mut(hash).insert_unique(hash, number, |number| self::hash(*number));
        longest = longest.max(table.capacity() - before);
    }
    assert!((1..100_000 / 32).contains(&longest), "grows by {longest} at once");
    assert!(
        (0..100_000).all(|number| table.part(hash(number)).find(hash(number), |it| *it == number).is_some())
    );
}

/// One of many stores keeps one small table.
#[test]
fn a_small_table_has_one_part() {
    let mut table = Table::default();
    assert_eq!(table.capacity(), 0);
    table.part_mut(hash(1)).insert_unique(hash(1), 1, |number| hash(*number));
    assert_eq!(table.capacity(), table.part(hash(2)).capacity());
}
