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
    /// Removes a shape, unless it was read since.
    RemoveUnread {
        /// The handle.
        handle: u8,
        /// Microseconds after the last reopen.
        since: u8,
    },
    /// Removes several shapes in one step.
    RemoveAll {
        /// The handles or the relations, one bit each.
        selected: u8,
        /// If odd, `selected` are relations. If bit 1 is set, with dependants.
        kind: u8,
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
    /// Keeps a copy of the database as it is; see
    /// [`CompositionFixture::save_copy`](crate::conformance::CompositionFixture::save_copy).
    SaveCopy {
        /// Selects how the copy is made.
        kind: u8,
    },
    /// Closes the store and opens the latest copy in the place of its database, with recovery; see
    /// [`CompositionFixture::restore`](crate::conformance::CompositionFixture::restore).
    Restore {
        /// Selects how the copy is put in place.
        kind: u8,
    },
    /// Opens the database by fencing, while its owner is alive; see
    /// [`CompositionFixture::fence`](crate::conformance::CompositionFixture::fence).
    Fence,
    /// Opens a new database in the place of that of the live store; see
    /// [`CompositionFixture::recreate`](crate::conformance::CompositionFixture::recreate).
    Recreate {
        /// Selects what happens to the old one.
        kind: u8,
    },
    /// Closes the store, empties its database, and opens it; see
    /// [`CompositionFixture::empty`](crate::conformance::CompositionFixture::empty).
    Empty {
        /// Selects what is emptied.
        kind: u8,
    },
    /// Lets all former owners write, which must have no effect; see
    /// [`CompositionFixture::write_as_former_owner`](crate::conformance::CompositionFixture::write_as_former_owner).
    WriteAsFormerOwner,
}

impl From<[u8; 6]> for Op {
    /// Any six bytes are an operation, and smaller bytes are simpler operations, so that failures shrink
    /// well. Adds, removals and marks are more frequent than operations that remove many shapes.
    fn from([kind, a, b, c, d, e]: [u8; 6]) -> Self {
        let spec = ShapeSpec { handle: a, key: b, relations: c, dependencies: d, size: e };
        match kind {
            0..42 => Self::Add(spec),
            42..68 => Self::GetOrAdd(spec),
            68..92 => Self::Remove { handle: a },
            92..98 => Self::RemoveUnread { handle: a, since: b },
            98..102 => Self::RemoveAll { selected: a & b, kind: c },
            102..120 => Self::Replace { handle: a, relations: b },
            120..134 => Self::MarkStarted { handle: a },
            134..158 => Self::MarkComplete { handle: a },
            158..172 => Self::Touch { handle: a, at: b },
            172..178 => Self::LeastRecentlyUsed { n: a, excluded: b },
            178..184 => Self::ScanDuringRemove { handle: a },
            184..187 => Self::Reset,
            187..199 => Self::Flush,
            199..203 => Self::Refresh,
            203..209 => Self::Pause,
            209..214 => Self::Resume,
            214..221 => Self::InjectFault { kind: a },
            221..227 => Self::PartialFlush { kind: a },
            227..232 => Self::RejectHandle { handle: a, kind: b },
            232..234 => Self::ClearFaults,
            234 => Self::Repair,
            235..238 => Self::Reopen,
            238..240 => Self::Promote,
            240..244 => Self::Crash,
            244..248 => Self::SaveCopy { kind: a },
            248..251 => Self::Restore { kind: a },
            251..253 => Self::Fence,
            253 if b.is_multiple_of(2) => Self::Recreate { kind: a },
            253 => Self::Empty { kind: a },
            254..=255 => Self::WriteAsFormerOwner,
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
