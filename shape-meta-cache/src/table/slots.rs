use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;
use shape_meta_core::{Entry, Key, Relation, Seq};

/// The position of an entry in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The slot's id: its key in the table.
    pub(crate) id: u64,
    /// Distinguishes the values of one slot. Compared before the entry is dereferenced.
    pub(crate) check: u32,
}

/// How shape keys are assigned to slots.
///
/// One slot for each key makes the table twice as large at a million shapes: 49 bytes for each slot, two
/// sides, half of the slots empty at worst. With four keys to a slot, a look-up by key takes one more memory
/// access. Each handle has its own slot, because handles are looked up on every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grouping {
    shift: u32,
}

impl Grouping {
    /// One slot for each key.
    pub(crate) const EXACT: Self = Self { shift: TAG_BITS };

    const MIN_GROUPS: u64 = 1024;

    /// Slots of about `per_slot` keys each, for this number of shapes.
    fn shared(shapes: u64, per_slot: u32) -> Self {
        let groups = (shapes / u64::from(per_slot)).next_power_of_two().max(Self::MIN_GROUPS);
        Self { shift: u64::BITS - groups.trailing_zeros() }
    }

    /// Returns the number of shared slots; `None` if each key has its own.
    fn groups(self) -> Option<u64> {
        (self != Self::EXACT).then(|| 1 << (u64::BITS - self.shift))
    }

    /// Returns the maximum number of slots that the keys of this number of shapes take.
    pub(crate) fn slots(self, shapes: usize) -> usize {
        self.groups().map_or(shapes, |groups| shapes.min(usize::try_from(groups).unwrap_or(usize::MAX)))
    }
}

/// Which grouping the key of each shape has. Published with the table, because readers must use the groupings
/// with which the table that they see was built.
///
/// After a change of the grouping, each batch moves the keys of some older shapes, so that none takes as
/// long as adding all keys again. Meanwhile a look-up that misses in the current grouping also looks in the
/// earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Groupings {
    current: Grouping,
    /// The earlier grouping, and the newest shape that still has it: the newest ones move first.
    earlier: Option<(Grouping, Seq)>,
}

impl Groupings {
    /// All keys have this grouping.
    pub(crate) fn settled(grouping: Grouping) -> Self {
        Self { current: grouping, earlier: None }
    }

    /// Changes the grouping of new shapes. Those up to `newest` have the current one until they move.
    pub(crate) fn change(&mut self, better: Grouping, newest: Seq) {
        *self = Self { current: better, earlier: Some((self.current, newest)) };
    }

    /// Records that the shapes after `newest` have moved; `None`: all of them.
    pub(crate) fn moved(&mut self, newest: Option<Seq>) {
        self.earlier = self.earlier.and_then(|(earlier, _)| Some((earlier, newest?)));
    }

    pub(crate) fn current(self) -> Grouping {
        self.current
    }

    pub(crate) fn earlier(self) -> Option<(Grouping, Seq)> {
        self.earlier
    }

    /// Returns the grouping of the shape with this `created`.
    pub(crate) fn of(self, created: Seq) -> Grouping {
        match self.earlier {
            Some((earlier, newest)) if created <= newest => earlier,
            _ => self.current,
        }
    }
}

/// Selects the grouping for a number of shapes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupingPolicy {
    per_slot: u32,
    /// The number of shapes up to which each key has its own slot.
    exact_up_to: u64,
}

impl GroupingPolicy {
    /// The policy of the options, for a table with capacity for `shapes`.
    ///
    /// A table has a power of two of slots. Where shared slots would not make it smaller, each key has its
    /// own slot until the table has to grow.
    pub(crate) fn new(per_slot: u32, exact_up_to: usize, shapes: usize) -> Self {
        let shared = shapes + Grouping::shared(shapes as u64, per_slot.max(1)).slots(shapes);
        let fits = buckets(2 * shapes) <= buckets(shared);
        let exact_up_to = if fits { exact_up_to.max(capacity(2 * shapes) / 2) } else { exact_up_to };
        Self { per_slot, exact_up_to: exact_up_to as u64 }
    }

    /// Returns the grouping for this number of shapes.
    pub(crate) fn for_shapes(self, shapes: u64) -> Grouping {
        match self.per_slot {
            ..=1 => Grouping::EXACT,
            _ if shapes <= self.exact_up_to => Grouping::EXACT,
            per_slot => Grouping::shared(shapes, per_slot),
        }
    }

    /// Returns the grouping to change to when there are `shapes`, if the change is worth its cost: shared
    /// slots change only when they hold twice as many keys as intended.
    ///
    /// A grouping never changes back, because the table does not shrink.
    pub(crate) fn better(self, grouping: Grouping, shapes: u64) -> Option<Grouping> {
        let most = grouping.groups().map_or(self.exact_up_to, |groups| groups * 2 * u64::from(self.per_slot));
        (shapes > most).then(|| self.for_shapes(shapes)).filter(|better| *better != grouping)
    }
}

/// Returns the number of buckets of a table that was created with capacity for `slots`.
pub(crate) fn buckets(slots: usize) -> usize {
    (slots * 8 / 7).next_power_of_two()
}

/// Returns the number of slots that fit into such a table.
fn capacity(slots: usize) -> usize {
    buckets(slots) / 8 * 7
}

const TAG_BITS: u32 = 2;
const HANDLE: u64 = 0;
const KEY: u64 = 1;
const RELATION: u64 = 2;

/// Maps handles, keys and relations to slots. All indexes share one table, so that they are published in one
/// step (C1).
///
/// The seed is random for each cache, so clients cannot choose handles that collide. Values that collide
/// share a slot, and a look-up distinguishes them by comparing the whole handle or key.
pub(crate) struct Slots {
    seed: RandomState,
    /// All ones; fewer in tests, to cause collisions.
    mask: u64,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { seed: RandomState::default(), mask: u64::MAX }
    }

    /// Slots whose hashes are masked, so that nearly all collide.
    #[cfg(test)]
    pub(crate) fn with_mask(mask: u64) -> Self {
        Self { mask, ..Self::new() }
    }

    pub(crate) fn handle(&self, handle: &str) -> Slot {
        let mut hasher = self.seed.build_hasher();
        hasher.write(handle.as_bytes());
        let hash = hasher.finish() & self.mask;
        Slot { id: hash << TAG_BITS | HANDLE, check: (hash >> 32) as u32 }
    }

    pub(crate) fn key(&self, key: &Key, grouping: Grouping) -> Slot {
        let mut hasher = self.seed.build_hasher();
        // By words, which takes a third of the instructions of hashing the bytes.
        let (words, _) = key.as_bytes().as_chunks::<8>();
        words.iter().for_each(|word| hasher.write_u64(u64::from_le_bytes(*word)));
        let hash = hasher.finish() & self.mask;
        Slot { id: hash >> grouping.shift << TAG_BITS | KEY, check: hash as u32 }
    }

    /// Returns the id of the slot with all shapes that read the relation.
    pub(crate) fn relation_id(relation: Relation) -> u64 {
        u64::from(relation.oid()) << TAG_BITS | RELATION
    }

    /// Returns the slot of an entry in a relation. The check only distributes the entries within the slot.
    pub(crate) fn relation(relation: Relation, entry: &Entry) -> Slot {
        Slot { id: Self::relation_id(relation), check: entry.created().get() as u32 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::tests::entry;

    #[test]
    fn capacity_equals_that_of_the_standard_hash_map() {
        for slots in [8, 13, 14, 15, 28, 29, 1_000, 28_671, 28_672, 28_673] {
            let table = std::collections::HashMap::<u64, u64>::with_capacity(slots);
            assert_eq!(capacity(slots), table.capacity(), "{slots}");
        }
        assert_eq!([0, 7, 8].map(buckets), [1, 8, 16]);
    }

    #[test]
    fn shared_slots_hold_about_the_configured_number_of_keys() {
        let groups = |shapes, per_slot| Grouping::shared(shapes, per_slot).groups();
        assert_eq!(
            [0, 4_099, 4_100, 8_195, 8_196].map(|shapes| groups(shapes, 4)),
            [1_024, 1_024, 2_048, 2_048, 4_096].map(Some)
        );
        assert_eq!(groups(4_096, 2), Some(2_048));
        assert_eq!(Grouping::EXACT.groups(), None);
        assert_eq!([5, 5_000].map(|shapes| Grouping::shared(10_000, 4).slots(shapes)), [5, 4_096]);
        assert_eq!(Grouping::EXACT.slots(5_000), 5_000);
    }

    #[test]
    fn keys_have_own_slots_where_configured_or_without_cost() {
        let exact_up_to = |limit, shapes| GroupingPolicy::new(4, limit, shapes).exact_up_to;
        // 14,096 slots fit into 16,384 buckets, and 20,000 do not.
        assert_eq!(exact_up_to(0, 10_000), 0);
        assert_eq!(exact_up_to(7, 10_000), 7);
        // 17,096 slots need 32,768 buckets, which have capacity for 26,000 slots as well, and for 28,672.
        assert_eq!(exact_up_to(0, 13_000), 14_336);
        assert_eq!(exact_up_to(20_000, 13_000), 20_000);
        let [few, many] = [14_336, 14_337].map(|shapes| GroupingPolicy::new(4, 0, 13_000).for_shapes(shapes));
        assert_eq!((few, many), (Grouping::EXACT, Grouping::shared(14_337, 4)));
        assert_eq!(GroupingPolicy::new(1, 0, 10_000).for_shapes(1_000_000), Grouping::EXACT);
        assert_eq!(GroupingPolicy::new(0, 0, 10_000).for_shapes(1_000_000), Grouping::EXACT);
        assert_eq!(GroupingPolicy::new(2, 0, 10_000).for_shapes(20_000), Grouping::shared(20_000, 2));
    }

    #[test]
    fn keys_are_regrouped_at_twice_the_configured_number() {
        let policy = GroupingPolicy::new(4, 0, 10_000);
        let grouping = policy.for_shapes(10_000);
        assert_eq!(grouping.groups(), Some(4_096));
        assert_eq!(policy.better(grouping, 32_768), None);
        assert_eq!(policy.better(grouping, 32_769), Some(Grouping::shared(32_769, 4)));
        assert_eq!(policy.better(grouping, 1), None, "a grouping never changes back");
        let exact = GroupingPolicy::new(4, 500, 10_000);
        assert_eq!(exact.better(Grouping::EXACT, 500), None);
        assert_eq!(exact.better(Grouping::EXACT, 501), Some(Grouping::shared(501, 4)));
        assert_eq!(GroupingPolicy::new(1, 0, 10_000).better(Grouping::EXACT, 1_000_000), None);
    }

    /// Shared slots and equal checks only cost time, so no other test would detect them.
    #[test]
    fn slot_ids_and_checks_are_distributed_and_ids_are_tagged() {
        let slots = Slots::new();
        let entries: Vec<_> = (1..=1_000).map(entry).collect();
        let spread = |slots: &[Slot], tag: u64, groups: usize| {
            assert!(slots.iter().all(|slot| slot.id % 4 == tag));
            let ids: HashSet<_> = slots.iter().map(|slot| slot.id).collect();
            assert!(ids.len() > groups / 2, "{} ids", ids.len());
            let checks: HashSet<_> = slots.iter().map(|slot| slot.check).collect();
            assert!(checks.len() > 990, "{} checks", checks.len());
        };
        let of_handles: Vec<_> = entries.iter().map(|entry| slots.handle(entry.handle())).collect();
        spread(&of_handles, HANDLE, 1_998);
        let exact: Vec<_> = entries.iter().map(|entry| slots.key(entry.key(), Grouping::EXACT)).collect();
        spread(&exact, KEY, 1_998);
        let grouping = Grouping::shared(4_096, 4);
        let shared: Vec<_> = entries.iter().map(|entry| slots.key(entry.key(), grouping)).collect();
        spread(&shared, KEY, 1_024);
        assert!(shared.iter().all(|slot| slot.id / 4 < 1_024));
        let relation: Vec<_> = entries.iter().map(|entry| Slots::relation(Relation::new(7), entry)).collect();
        spread(&relation, RELATION, 1);
        assert!(relation.iter().all(|slot| slot.id == Slots::relation_id(Relation::new(7))));
        assert_ne!(Slots::relation_id(Relation::new(7)), Slots::relation_id(Relation::new(8)));
    }
}
