use fastrand::Rng;

/// What a power cut leaves of what was not synced. The numbers are seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Nothing of it.
    Synced,
    /// All of it, as when the process is killed and the power stays on.
    Everything,
    /// What came before one moment: a disk that writes in order.
    Prefix(u64),
    /// Any of the writes, each whole.
    Any(u64),
    /// Any of the sectors of 512 bytes of any of the writes.
    Torn(u64),
}

pub(crate) const SECTOR: usize = 512;

/// Decides, write for write.
pub(crate) struct Keep {
    cut: Cut,
    random: Rng,
    /// For a prefix: how far, in the order of all that is not synced.
    through: u64,
    /// How many of a hundred are kept: also nearly none and nearly all.
    percent: u8,
}

impl Keep {
    /// For so many writes and names that are not synced.
    pub(crate) fn new(cut: Cut, from: u64, through: u64) -> Self {
        let seed = match cut {
            Cut::Synced | Cut::Everything => 0,
            Cut::Prefix(seed) | Cut::Any(seed) | Cut::Torn(seed) => seed,
        };
        let mut random = Rng::with_seed(seed);
        let through = random.u64(from..=through.max(from));
        let percent = random.choice([2, 25, 50, 75, 98]).unwrap_or(50);
        Self { cut, random, through, percent }
    }

    /// Whether the write with this number is kept, if it is kept as a whole.
    pub(crate) fn whole(&mut self, order: u64) -> bool {
        match self.cut {
            Cut::Synced => false,
            Cut::Everything => true,
            Cut::Prefix(_) => order < self.through,
            Cut::Any(_) | Cut::Torn(_) => self.random.u8(..100) < self.percent,
        }
    }

    /// Whether writes may be torn.
    pub(crate) fn tears(&self) -> bool {
        matches!(self.cut, Cut::Torn(_))
    }

    /// How many of so many new and ended names are kept. File systems keep those in order.
    pub(crate) fn names(&mut self, orders: impl ExactSizeIterator<Item = u64>) -> usize {
        let all = orders.len();
        match self.cut {
            Cut::Synced => 0,
            Cut::Everything => all,
            Cut::Prefix(_) => orders.take_while(|order| *order < self.through).count(),
            Cut::Any(_) | Cut::Torn(_) => self.random.usize(..=all),
        }
    }
}
