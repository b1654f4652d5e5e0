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
/// Single changes, as the direct composition makes them, are two to three times slower in the last mode
/// than in the one before; batches of a thousand about a fifth slower, measured on a noisy machine.
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
