use fastrand::Rng;

/// Which unsynced writes survive a power cut. The numbers are seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// None of them.
    Synced,
    /// All of them, as when the process is killed and the power stays on.
    Everything,
    /// Those before one random moment: a disk that writes in order.
    Prefix(u64),
    /// A random subset, each write whole.
    Any(u64),
    /// A random subset of the 512-byte sectors of the writes.
    Torn(u64),
}

pub(crate) const SECTOR: usize = 512;

/// Decides for each unsynced write whether it survives.
pub(crate) struct Survivors {
    cut: Cut,
    random: Rng,
    /// For a prefix: the number of the first write that is lost.
    through: u64,
    /// The percentage that survives. The choices include nearly none and nearly all.
    percent: u8,
}

impl Survivors {
    /// For unsynced writes and name changes with numbers from `from` to `through`.
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

    /// Returns whether the write with this number survives; for torn writes, whether the next sector does.
    pub(crate) fn survives(&mut self, order: u64) -> bool {
        match self.cut {
            Cut::Synced => false,
            Cut::Everything => true,
            Cut::Prefix(_) => order < self.through,
            Cut::Any(_) | Cut::Torn(_) => self.random.u8(..100) < self.percent,
        }
    }

    /// Returns whether writes may be torn.
    pub(crate) fn is_torn(&self) -> bool {
        matches!(self.cut, Cut::Torn(_))
    }

    /// Returns how many of the unsynced name changes survive. File systems keep them in order.
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
