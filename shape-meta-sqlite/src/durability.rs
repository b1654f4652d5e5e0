use crate::Mode;

/// What a change survives once it is committed.
///
/// | | the process is killed | power fails, or the kernel crashes |
/// |---|---|---|
/// | [`ProcessCrash`](Self::ProcessCrash) | everything committed is there | the file may be damaged |
/// | [`PowerLossConsistent`](Self::PowerLossConsistent) | everything committed is there | the file is sound and holds a prefix of the order: the latest commits may be lost |
/// | [`PowerLossDurable`](Self::PowerLossDurable) | everything committed is there | everything committed is there |
///
/// The table assumes a disk that does not lie about syncs. In [`Mode::Exclusive`] the two modes for power
/// loss are the same, because a rollback journal is only sound if it is synced at every commit.
///
/// Batches of a thousand changes or more cost almost the same in the last two modes; single changes,
/// as the direct composition makes them, cost about two to three times as much in the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// Never sync (`synchronous = OFF`). For data that can be made again, and for tests.
    ProcessCrash,
    /// Sync before and after a checkpoint (`synchronous = NORMAL`).
    PowerLossConsistent,
    /// Sync at every commit (`synchronous = FULL`).
    #[default]
    PowerLossDurable,
}

impl Durability {
    pub(crate) fn synchronous(self, mode: Mode) -> &'static str {
        match (self, mode) {
            (Self::ProcessCrash, _) => "OFF",
            (Self::PowerLossConsistent, Mode::Wal) => "NORMAL",
            (Self::PowerLossConsistent, Mode::Exclusive) | (Self::PowerLossDurable, _) => "FULL",
        }
    }
}
