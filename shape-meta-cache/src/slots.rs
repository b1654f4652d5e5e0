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
/// A slot of its own for every key would cost 205 bytes a shape at a million (49 for each slot of the
/// table, two sides, half of the slots empty at worst). Four to a slot cost about 45, and a look-up by
/// key one more step in memory. Handles have a slot each: they are asked for on every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grouping {
    shift: u32,
}

impl Grouping {
    /// A slot for each key.
    pub(crate) const EXACT: Self = Self { shift: TAG_BITS };

    const FEWEST: u64 = 1024;

    /// About `keys_per_slot` to a slot when there are so many shapes.
    pub(crate) fn new(shapes: u64, keys_per_slot: u32) -> Self {
        if keys_per_slot <= 1 {
            return Self::EXACT;
        }
        let groups = (shapes / u64::from(keys_per_slot)).next_power_of_two().max(Self::FEWEST);
        Self { shift: u64::BITS - groups.trailing_zeros() }
    }

    /// The number of slots; none where every key has its own.
    pub(crate) fn groups(self) -> Option<u64> {
        (self != Self::EXACT).then(|| 1 << (u64::BITS - self.shift))
    }

    /// The place of a group, to empty it.
    pub(crate) fn place(group: u64) -> u64 {
        group << TAG_BITS | KEY
    }
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
        let hash = self.hash(handle.as_bytes());
        Slot { place: hash << TAG_BITS | HANDLE, check: (hash >> 32) as u32 }
    }

    pub(crate) fn key(&self, key: &Key, grouping: Grouping) -> Slot {
        let hash = self.hash(key.as_bytes());
        Slot { place: Grouping::place(hash >> grouping.shift), check: hash as u32 }
    }

    pub(crate) fn relation(relation: Relation) -> u64 {
        u64::from(relation.oid()) << TAG_BITS | RELATION
    }

    /// The slot of an entry among those that read the relation: the check only spreads them there.
    pub(crate) fn reader(relation: Relation, entry: &Entry) -> Slot {
        Slot { place: Self::relation(relation), check: entry.created().get() as u32 }
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(bytes);
        hasher.finish() & self.mask
    }
}
