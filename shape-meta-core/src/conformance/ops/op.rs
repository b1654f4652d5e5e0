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
    /// Closes and opens again, with recovery.
    Reopen,
}

impl From<[u8; 6]> for Op {
    /// Any six bytes are an operation; smaller bytes are simpler ones. Adds, removals and marks are more
    /// frequent than what clears the table.
    fn from([kind, a, b, c, d, e]: [u8; 6]) -> Self {
        let spec = Spec { handle: a, key: b, relations: c, dependencies: d, size: e };
        match kind {
            0..48 => Self::Add(spec),
            48..80 => Self::GetOrAdd(spec),
            80..116 => Self::Remove { handle: a },
            116..140 => Self::AddAgain { handle: a, relations: b },
            140..156 => Self::MarkStarted { handle: a },
            156..180 => Self::MarkComplete { handle: a },
            180..196 => Self::Touch { handle: a, at: b },
            196..204 => Self::Stalest { n: a, excluded: b },
            204..210 => Self::ScanAcrossRemove { handle: a },
            210..213 => Self::Reset,
            213..230 => Self::Flush,
            230..236 => Self::Pause,
            236..242 => Self::Resume,
            242..250 => Self::Disturb { way: a },
            250..=255 => Self::Reopen,
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
