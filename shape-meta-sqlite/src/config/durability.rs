use crate::Mode;

/// The failures that a committed change survives.
///
/// | | the process is killed | power fails, or the kernel crashes |
/// |---|---|---|
/// | [`ProcessCrash`](Self::ProcessCrash) | all commits survive | the database may be damaged |
/// | [`PowerLossConsistent`](Self::PowerLossConsistent) | all commits survive | the database is sound and holds a prefix of the commits: the latest may be lost |
/// | [`PowerLossDurable`](Self::PowerLossDurable) | all commits survive | all commits survive |
///
/// The table assumes a disk whose syncs are honest. In [`Mode::Exclusive`] the two levels for power loss are
/// the same, because a rollback journal is only sound if it is synced at every commit.
///
/// Single changes, as the direct composition makes them, are two to three times slower with
/// `PowerLossDurable` than with `PowerLossConsistent`. Batches of a thousand are about a fifth slower,
/// measured on a noisy machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// Never syncs (`synchronous = OFF`). For data that can be recreated, and for tests.
    ProcessCrash,
    /// Syncs before and after a checkpoint (`synchronous = NORMAL`).
    PowerLossConsistent,
    /// Syncs at every commit (`synchronous = FULL`).
    #[default]
    PowerLossDurable,
}

impl Durability {
    /// Returns the value of the pragma `synchronous`.
    pub(crate) fn synchronous(self, mode: Mode) -> &'static str {
        match (self, mode) {
            (Self::ProcessCrash, _) => "OFF",
            (Self::PowerLossConsistent, Mode::Wal) => "NORMAL",
            (Self::PowerLossConsistent, Mode::Exclusive) | (Self::PowerLossDurable, _) => "FULL",
        }
    }
}
