use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use shape_meta_core::{Entry, Key, Relation};

/// Where an entry stands in the table, and by what it is told from others that stand there too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The key of the table.
    pub(crate) place: u64,
    /// Compared before the entry itself is looked at.
    pub(crate) check: u32,
}

/// How keys are gathered into slots; published with the table, since readers must use the one with which
/// the table that they see was made.
///
/// A slot of its own for every key makes the table twice as large at a million shapes (49 bytes for each slot, two
/// sides, half of the slots empty at worst). With four to a slot, a look-up by key takes one more step in
/// memory. Handles have a slot each: they are asked for on every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grouping {
    shift: u32,
}

impl Grouping {
    /// A slot for each key.
    pub(crate) const EXACT: Self = Self { shift: TAG_BITS };

    const FEWEST: u64 = 1024;

    /// About `per_slot` keys to a slot when there are so many shapes.
    fn shared(shapes: u64, per_slot: u32) -> Self {
        let groups = (shapes / u64::from(per_slot)).next_power_of_two().max(Self::FEWEST);
        Self { shift: u64::BITS - groups.trailing_zeros() }
    }

    /// The number of slots; none where every key has its own.
    pub(crate) fn groups(self) -> Option<u64> {
        (self != Self::EXACT).then(|| 1 << (u64::BITS - self.shift))
    }

    /// How many slots the keys of so many shapes take, at most.
    pub(crate) fn slots(self, shapes: usize) -> usize {
        self.groups().map_or(shapes, |groups| shapes.min(usize::try_from(groups).unwrap_or(usize::MAX)))
    }

    /// The place of a group, to empty it.
    pub(crate) fn place(group: u64) -> u64 {
        group << TAG_BITS | KEY
    }
}

/// How keys are to be gathered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathering {
    per_slot: u32,
    /// Up to so many shapes, each key has a slot of its own.
    apart: u64,
}

impl Gathering {
    /// As the options say, in a table for so many shapes. Where keys that share would not make the table smaller,
    /// since it has a power of two of slots in any case, each has its own for as long as the table need not grow.
    pub(crate) fn new(per_slot: u32, apart: usize, shapes: usize) -> Self {
        let shared = shapes + Grouping::shared(shapes as u64, per_slot.max(1)).slots(shapes);
        let fits = buckets(2 * shapes) <= buckets(shared);
        let apart = if fits { apart.max(capacity(2 * shapes) / 2) } else { apart };
        Self { per_slot, apart: apart as u64 }
    }

    /// The one that suits so many shapes.
    pub(crate) fn of(self, shapes: u64) -> Grouping {
        match self.per_slot {
            ..=1 => Grouping::EXACT,
            _ if shapes <= self.apart => Grouping::EXACT,
            per_slot => Grouping::shared(shapes, per_slot),
        }
    }

    /// The one that suits so many shapes better than this one, if it is worth the trouble: with keys that share, only
    /// when there are twice as many to a slot as there should be. It never goes back, since the table does not shrink.
    pub(crate) fn better(self, grouping: Grouping, shapes: u64) -> Option<Grouping> {
        let most = grouping.groups().map_or(self.apart, |groups| groups * 2 * u64::from(self.per_slot));
        (shapes > most).then(|| self.of(shapes)).filter(|better| *better != grouping)
    }
}

/// How many buckets a table has that was made for so many slots.
pub(crate) fn buckets(slots: usize) -> usize {
    (slots * 8 / 7).next_power_of_two()
}

/// How many slots fit into it.
fn capacity(slots: usize) -> usize {
    buckets(slots) / 8 * 7
}

const TAG_BITS: u32 = 2;
const HANDLE: u64 = 0;
const KEY: u64 = 1;
const RELATION: u64 = 2;

/// Makes places of handles, keys and relations: all indexes share one table, and so are published in
/// one step (C1).
///
/// The seed is drawn anew for each cache, so nobody can choose handles that collide. Where two collide
/// all the same, both stand in one slot and are told apart by comparing them whole.
pub(crate) struct Slots {
    seed: RandomState,
    /// All ones; fewer in tests, to see many collisions.
    mask: u64,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { seed: RandomState::default(), mask: u64::MAX }
    }

    /// Slots of which there are few, so that nearly everything collides.
    #[cfg(test)]
    pub(crate) fn few(mask: u64) -> Self {
        Self { mask, ..Self::new() }
    }

    pub(crate) fn handle(&self, handle: &str) -> Slot {
        let mut hasher = self.seed.build_hasher();
        hasher.write(handle.as_bytes());
        let hash = hasher.finish() & self.mask;
        Slot { place: hash << TAG_BITS | HANDLE, check: (hash >> 32) as u32 }
    }

    pub(crate) fn key(&self, key: &Key, grouping: Grouping) -> Slot {
        let mut hasher = self.seed.build_hasher();
        // By words, which takes a third of the instructions that so many bytes do.
        let (words, _) = key.as_bytes().as_chunks::<8>();
        words.iter().for_each(|word| hasher.write_u64(u64::from_le_bytes(*word)));
        let hash = hasher.finish() & self.mask;
        Slot { place: Grouping::place(hash >> grouping.shift), check: hash as u32 }
    }

    pub(crate) fn relation(relation: Relation) -> u64 {
        u64::from(relation.oid()) << TAG_BITS | RELATION
    }

    /// The slot of an entry among those that read the relation: the check only spreads them there.
    pub(crate) fn reader(relation: Relation, entry: &Entry) -> Slot {
        Slot { place: Self::relation(relation), check: entry.created().get() as u32 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::tests::entry;

    #[test]
    fn a_table_has_room_for_what_the_standard_one_has() {
        for slots in [8, 13, 14, 15, 28, 29, 1_000, 28_671, 28_672, 28_673] {
            let table = std::collections::HashMap::<u64, u64>::with_capacity(slots);
            assert_eq!(capacity(slots), table.capacity(), "{slots}");
        }
        assert_eq!([0, 7, 8].map(buckets), [1, 8, 16]);
    }

    #[test]
    fn keys_that_share_are_about_so_many_to_a_slot() {
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
    fn keys_are_apart_where_that_is_asked_for_or_costs_nothing() {
        let apart = |apart, shapes| Gathering::new(4, apart, shapes).apart;
        // 14,096 slots fit into 16,384 buckets, and 20,000 do not.
        assert_eq!(apart(0, 10_000), 0);
        assert_eq!(apart(7, 10_000), 7);
        // 17,096 slots do not fit into 16,384 buckets, and so 26,000 have place as well, and 28,672.
        assert_eq!(apart(0, 13_000), 14_336);
        assert_eq!(apart(20_000, 13_000), 20_000);
        let [few, many] = [14_336, 14_337].map(|shapes| Gathering::new(4, 0, 13_000).of(shapes));
        assert_eq!((few, many), (Grouping::EXACT, Grouping::shared(14_337, 4)));
        assert_eq!(Gathering::new(1, 0, 10_000).of(1_000_000), Grouping::EXACT);
        assert_eq!(Gathering::new(0, 0, 10_000).of(1_000_000), Grouping::EXACT);
        assert_eq!(Gathering::new(2, 0, 10_000).of(20_000), Grouping::shared(20_000, 2));
    }

    #[test]
    fn keys_are_spread_anew_when_twice_as_many_share_as_should() {
        let gathering = Gathering::new(4, 0, 10_000);
        let grouping = gathering.of(10_000);
        assert_eq!(grouping.groups(), Some(4_096));
        assert_eq!(gathering.better(grouping, 32_768), None);
        assert_eq!(gathering.better(grouping, 32_769), Some(Grouping::shared(32_769, 4)));
        assert_eq!(gathering.better(grouping, 1), None, "it does not go back");
        let apart = Gathering::new(4, 500, 10_000);
        assert_eq!(apart.better(Grouping::EXACT, 500), None);
        assert_eq!(apart.better(Grouping::EXACT, 501), Some(Grouping::shared(501, 4)));
        assert_eq!(Gathering::new(1, 0, 10_000).better(Grouping::EXACT, 1_000_000), None);
    }

    /// Two that stand in one slot cost time, as do two with one check, and nothing else would show it.
    #[test]
    fn places_and_checks_are_spread_and_say_what_they_are_for() {
        let slots = Slots::new();
        let entries: Vec<_> = (1..=1_000).map(entry).collect();
        let spread = |slots: &[Slot], tag: u64, groups: usize| {
            assert!(slots.iter().all(|slot| slot.place % 4 == tag));
            let places: HashSet<_> = slots.iter().map(|slot| slot.place).collect();
            assert!(places.len() > groups / 2, "{} places", places.len());
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
        assert!(shared.iter().all(|slot| slot.place / 4 < 1_024));
        let readers: Vec<_> = entries.iter().map(|entry| Slots::reader(Relation::new(7), entry)).collect();
        spread(&readers, RELATION, 1);
        assert!(readers.iter().all(|slot| slot.place == Slots::relation(Relation::new(7))));
        assert_ne!(Slots::relation(Relation::new(7)), Slots::relation(Relation::new(8)));
    }
}
