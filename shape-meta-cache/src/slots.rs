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
    (slots * 8 / 7 + 1).next_power_of_two()
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
