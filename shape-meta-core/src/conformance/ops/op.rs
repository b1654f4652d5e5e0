use super::Spec;

/// One operation on a small world of handles, keys and relations. Every number is taken modulo the size of
/// its world, so any numbers make an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds a shape.
    Add(Spec),
    /// Finds the shape with that key or adds it.
    GetOrAdd(Spec),
    /// Removes a shape.
    Remove {
        /// Its handle.
        handle: u8,
    },
    /// Removes a shape and adds it again at once, same handle and same key, with other relations.
    AddAgain {
        /// Its handle.
        handle: u8,
        /// The new relations, a bit each.
        relations: u8,
    },
    /// The snapshot has begun.
    MarkStarted {
        /// Whose.
        handle: u8,
    },
    /// The snapshot is whole.
    MarkComplete {
        /// Whose.
        handle: u8,
    },
    /// Notes a read.
    Touch {
        /// Of which handle.
        handle: u8,
        /// Microseconds after the last reopening.
        at: u8,
    },
    /// Asks who was not read for longest.
    Stalest {
        /// At most so many.
        n: u8,
        /// Handles to be passed over, a bit each.
        excluded: u8,
    },
    /// Makes a scan, removes this shape, flushes, and reads the scan to its end.
    ScanAcrossRemove {
        /// The handle to be removed.
        handle: u8,
    },
    /// Removes every shape.
    Reset,
    /// Makes all durable, unless paused.
    Flush,
    /// Holds flushing back.
    Pause,
    /// Ends the pause.
    Resume,
    /// Lets the store below fail for a while; see [`Fixture::disturb`](crate::conformance::Fixture::disturb).
    Disturb {
        /// In which way.
        way: u8,
    },
    /// Flushes, and is stopped half-way, unless paused; see
    /// [`Fixture::flush_in_part`](crate::conformance::Fixture::flush_in_part).
    FlushInPart {
        /// How far it gets.
        way: u8,
    },
    /// From now on the store below refuses all changes of a handle for good; see
    /// [`Fixture::refuse`](crate::conformance::Fixture::refuse).
    Refuse {
        /// Of which handle.
        handle: u8,
        /// Whether it says (if even) whose change it refuses.
        way: u8,
    },
    /// Ends all failures and refusals.
    Heal,
    /// Puts a fresh database in the place of the one that is open; see
    /// [`Fixture::repair`](crate::conformance::Fixture::repair).
    Repair,
    /// Looks at what somebody shows who reads the same database; see
    /// [`Fixture::beside`](crate::conformance::Fixture::beside).
    Refresh,
    /// Closes, and who reads the same database takes over, with recovery; see
    /// [`Fixture::promote`](crate::conformance::Fixture::promote).
    Promote,
    /// Closes and opens again, with recovery.
    Reopen,
    /// Loses what is not committed, and opens again, with recovery.
    Crash,
}

impl From<[u8; 6]> for Op {
    /// Any six bytes are an operation; smaller bytes are simpler ones. Adds, removals and marks are more
    /// frequent than what clears the table.
    fn from([kind, a, b, c, d, e]: [u8; 6]) -> Self {
        let spec = Spec { handle: a, key: b, relations: c, dependencies: d, size: e };
        match kind {
            0..46 => Self::Add(spec),
            46..74 => Self::GetOrAdd(spec),
            74..106 => Self::Remove { handle: a },
            106..130 => Self::AddAgain { handle: a, relations: b },
            130..144 => Self::MarkStarted { handle: a },
            144..168 => Self::MarkComplete { handle: a },
            168..182 => Self::Touch { handle: a, at: b },
            182..188 => Self::Stalest { n: a, excluded: b },
            188..194 => Self::ScanAcrossRemove { handle: a },
            194..197 => Self::Reset,
            197..209 => Self::Flush,
            209..213 => Self::Refresh,
            213..219 => Self::Pause,
            219..224 => Self::Resume,
            224..231 => Self::Disturb { way: a },
            231..237 => Self::FlushInPart { way: a },
            237..242 => Self::Refuse { handle: a, way: b },
            242..244 => Self::Heal,
            244 => Self::Repair,
            245..248 => Self::Reopen,
            248..250 => Self::Promote,
            250..=255 => Self::Crash,
        }
    }
}

impl Op {
    /// As many operations as asked for, the same ones for the same seed.
    pub fn random(seed: u64, count: usize) -> Vec<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let one = || {
            let mut bytes = [0; 6];
            random.fill(&mut bytes);
            Self::from(bytes)
        };
        std::iter::repeat_with(one).take(count).collect()
    }
}
