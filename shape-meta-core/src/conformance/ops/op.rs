use super::ShapeSpec;

/// One operation on a small set of handles, keys and relations. Each number is taken modulo the size of its
/// set, so any numbers are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds a shape.
    Add(ShapeSpec),
    /// Gets the shape with that key, or adds it.
    GetOrAdd(ShapeSpec),
    /// Removes a shape.
    Remove {
        /// The handle.
        handle: u8,
    },
    /// Removes a shape and adds it again at once, with the same handle and key and other relations.
    Replace {
        /// The handle.
        handle: u8,
        /// The new relations, one bit each.
        relations: u8,
    },
    /// Marks the snapshot as started.
    MarkStarted {
        /// The handle.
        handle: u8,
    },
    /// Marks the snapshot as complete.
    MarkComplete {
        /// The handle.
        handle: u8,
    },
    /// Sets the last-read time.
    Touch {
        /// The handle.
        handle: u8,
        /// Microseconds after the last reopen.
        at: u8,
    },
    /// Reads the least recently used shapes.
    LeastRecentlyUsed {
        /// How many at most.
        n: u8,
        /// The handles to exclude, one bit each.
        excluded: u8,
    },
    /// Starts a scan, removes this shape, flushes, and reads the scan to its end.
    ScanDuringRemove {
        /// The handle of the shape to remove.
        handle: u8,
    },
    /// Removes every shape.
    Reset,
    /// Makes every accepted mutation durable, unless paused.
    Flush,
    /// Pauses flushing.
    Pause,
    /// Ends the pause.
    Resume,
    /// Injects a temporary fault; see
    /// [`CompositionFixture::inject_fault`](crate::conformance::CompositionFixture::inject_fault).
    InjectFault {
        /// Selects the fault.
        kind: u8,
    },
    /// Flushes in part, unless paused; see
    /// [`CompositionFixture::partial_flush`](crate::conformance::CompositionFixture::partial_flush).
    PartialFlush {
        /// Selects how far the flush gets.
        kind: u8,
    },
    /// Makes the store below reject all changes of a handle; see
    /// [`CompositionFixture::reject_handle`](crate::conformance::CompositionFixture::reject_handle).
    RejectHandle {
        /// The handle.
        handle: u8,
        /// If even, the rejection reports the sequence number of the shape.
        kind: u8,
    },
    /// Ends all faults and rejections.
    ClearFaults,
    /// Replaces the database by a repaired one; see
    /// [`CompositionFixture::repair`](crate::conformance::CompositionFixture::repair).
    Repair,
    /// Refreshes the standby and compares what it serves; see
    /// [`CompositionFixture::standby_view`](crate::conformance::CompositionFixture::standby_view).
    Refresh,
    /// Closes the store and promotes the standby, with recovery; see
    /// [`CompositionFixture::promote`](crate::conformance::CompositionFixture::promote).
    Promote,
    /// Closes the store and opens it again, with recovery.
    Reopen,
    /// Loses everything that is not committed and opens the store again, with recovery.
    Crash,
}

impl From<[u8; 6]> for Op {
    /// Any six bytes are an operation, and smaller bytes are simpler operations, so that failures shrink
    /// well. Adds, removals and marks are more frequent than operations that remove many shapes.
    fn from([kind, a, b, c, d, e]: [u8; 6]) -> Self {
        let spec = ShapeSpec { handle: a, key: b, relations: c, dependencies: d, size: e };
        match kind {
            0..46 => Self::Add(spec),
            46..74 => Self::GetOrAdd(spec),
            74..106 => Self::Remove { handle: a },
            106..130 => Self::Replace { handle: a, relations: b },
            130..144 => Self::MarkStarted { handle: a },
            144..168 => Self::MarkComplete { handle: a },
            168..182 => Self::Touch { handle: a, at: b },
            182..188 => Self::LeastRecentlyUsed { n: a, excluded: b },
            188..194 => Self::ScanDuringRemove { handle: a },
            194..197 => Self::Reset,
            197..209 => Self::Flush,
            209..213 => Self::Refresh,
            213..219 => Self::Pause,
            219..224 => Self::Resume,
            224..231 => Self::InjectFault { kind: a },
            231..237 => Self::PartialFlush { kind: a },
            237..242 => Self::RejectHandle { handle: a, kind: b },
            242..244 => Self::ClearFaults,
            244 => Self::Repair,
            245..248 => Self::Reopen,
            248..250 => Self::Promote,
            250..=255 => Self::Crash,
        }
    }
}

impl Op {
    /// Returns `count` random operations, the same ones for the same seed.
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
